"""The same over real servers, with much of what a project may have around the streams at once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.acceptance.servers import launch, migrate
from tests.tools.lengthy import starts_a_process
from tests.tools.serving import PLAIN

from .site import ADDRESSES
from .sites import prefix_of
from .visit import BIG, Site, visit

SERVERS = {
    "uvicorn": "-m uvicorn --port {port} --log-level warning tests.setups.application:asgi",
    "daphne": "-m daphne -b 127.0.0.1 -p {port} tests.setups.application:asgi",
    "runserver": "manage.py runserver --noreload 127.0.0.1:{port}",
}
NAMES = ("as Django starts it", "everything", "sessions in files", "below a path")
AROUND = ("LoginRequiredMixin", "dispatch over mixin: headers", "function: permission_required")

Serve = Callable[..., Callable[..., Site]]


@pytest.fixture(scope="module")
@starts_a_process
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate once for all sites: each gets a copy."""
    path = tmp_path_factory.mktemp("setups") / "empty.sqlite3"
    migrate(environment(NAMES[0], path))
    return path


def environment(name: str, database: Path) -> dict[str, str]:
    settings = "tests.setups.settings"
    return {"DJANGO_SETTINGS_MODULE": settings, "SITE": name, "SITE_DATABASE": str(database)}


@pytest.fixture
@starts_a_process
def serve(empty: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start a server of a site; return what makes that site, asked in one way or another."""
    with ExitStack() as running:

        def start(kind: str, name: str, prefix: str = "") -> Callable[..., Site]:
            database = tmp_path / "site.sqlite3"
            database.write_bytes(empty.read_bytes())
            server = running.enter_context(
                launch(SERVERS[kind], environment(name, database), tmp_path / "log")
            )
            base = f"{server.url}{prefix}/"
            return lambda **more: Site(
                open=lambda: httpx.AsyncClient(verify=PLAIN, base_url=base, timeout=30), **more
            )

        yield start


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", SERVERS)
async def test_users_and_visitors_stream(serve: Serve, kind: str, name: str):
    # Under WSGI the path below which a site is has been taken off by the proxy.
    site = serve(kind, name, "" if kind == "runserver" else prefix_of(name))
    await visit(site(upload=BIG))
    await visit(site(has_users=False))


@pytest.mark.parametrize("kind", SERVERS)
async def test_what_goes_around_views_does_so_on_a_server(serve: Serve, kind: str):
    site = serve(kind, "everything")
    for name in AROUND:
        await visit(site(start=ADDRESSES[name]))
