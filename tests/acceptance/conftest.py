"""Sites of one or two server processes, with a store, a database and recordings of their own."""

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from .servers import Server, migrate, serve
from .table import Table

Serve = Callable[..., Server]
Environment = dict[str, str]

SETTINGS = "tests.acceptance.site_settings"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate once for all sites: each gets a copy."""
    path = tmp_path_factory.mktemp("database") / "empty.sqlite3"
    migrate({"DJANGO_SETTINGS_MODULE": SETTINGS, "DEMO_DB": str(path)})
    return path


@pytest.fixture(scope="session")
def servers_table() -> Iterator[Table]:
    """Collect what the tests find out about servers; written at the end, if asked for."""
    table = Table()
    yield table
    table.write()


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an answer as a provider sends it: one JSON event a line, with text of many scripts."""
    words = ["Streams", " überleben", " 再読み込み", " 🙂", ' "quoted"', "\\n", " end."] * 40
    lines = [
        json.dumps(
            {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": word}}]},
            ensure_ascii=number % 2 == 0,
        )
        for number, word in enumerate(words)
    ]
    path = tmp_path_factory.mktemp("recording") / "recording.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def expected(recording: Path) -> bytes:
    """Say what /api/raw has to answer with, byte for byte."""
    events = [f"data: {line}\n\n".encode() for line in recording.read_text("utf-8").splitlines()]
    return b"".join(events) + b"data: [DONE]\n\n"


@pytest.fixture(scope="session")
def new_site(recording: Path, empty_database: Path) -> Callable[[Path, str], Environment]:
    """Return a function that makes a site, with a database and a key prefix of its own."""

    def new_site(folder: Path, key_prefix: str) -> Environment:
        return {
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "DEMO_DB": str(shutil.copy(empty_database, folder / "site.sqlite3")),
            "DEMO_MODEL": f"recording:{recording}",
            "DEMO_RATE": "0",
            "DEMO_DEBUG": "0",
            "KEY_PREFIX": key_prefix,
        }

    return new_site


@contextmanager
def running(environment: Environment, folder: Path) -> Iterator[Serve]:
    """Yield what starts server processes of a site, and returns them; end them all."""
    with ExitStack() as servers:

        def start(kind: str = "daphne", **more: str) -> Server:
            log = folder / f"server-{len(list(folder.glob('server-*')))}.log"
            return servers.enter_context(serve({**environment, **more}, log, kind))

        yield start


@pytest.fixture
def site_environment(
    tmp_path: Path, key_prefix: str, new_site: Callable[[Path, str], Environment]
) -> Environment:
    """Make the environment of the site's processes."""
    return new_site(tmp_path, key_prefix)


@pytest.fixture
def site(tmp_path: Path, site_environment: Environment) -> Iterator[Serve]:
    """Start server processes of one site: the same database, and the same store if it is Redis."""
    with running(site_environment, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def lasting_site(
    tmp_path_factory: pytest.TempPathFactory, new_site: Callable[[Path, str], Environment]
) -> Environment:
    """Make a site that the tests of a module share."""
    return new_site(tmp_path_factory.mktemp("site"), f"test-{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, lasting_site: Environment) -> Iterator[Serve]:
    """Start servers of the shared site that go on until the last test of the module."""
    with running(lasting_site, tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture
def passing(tmp_path: Path, lasting_site: Environment) -> Iterator[Serve]:
    """Start servers of the shared site that end with the test, if not before."""
    with running(lasting_site, tmp_path) as start:
        yield start
