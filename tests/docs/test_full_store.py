"""The full store of docs/operations.md: a server is filled, and all that the page shows is seen."""

import re
import shlex
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client
from django.urls import include, path
from pytest_django import Settings

from resumable_streams import StreamFailed, StreamManager
from resumable_streams.management.commands.resumable_streams import Command as Operate
from resumable_streams.process.runtime import runtime
from resumable_streams.views import AcquireView
from tests.ledger import open_ledger
from tests.nodes import Node, node
from tests.tools.lengthy import starts_a_process
from tests.tools.streams import REDIS

from .pages import Command, commands, section

PAGE, TITLE = "operations.md", "When the store is full"
OLD, NEW = 60, 90
AGE_MS = 7 * 3_600 * 1_000
VARIES = re.compile(r"[0-9a-f]{8,}|\d[\d,.:]*|\s+")


class Answer(AcquireView):
    def produce(self, request: HttpRequest) -> Any:
        return [b"an answer"]


urlpatterns = [
    path("answer/", Answer.as_view()),
    path("streams/", include("resumable_streams.urls")),
    path("health/", include("resumable_streams.health_urls")),
]
pytestmark = pytest.mark.urls(__name__)


def acme(request: HttpRequest) -> str:
    return "acme"


@pytest.fixture
@starts_a_process
def server(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, "maxmemory-policy noeviction") as running:
        yield running


@pytest.fixture
def site(
    settings: Settings, server: Node, tmp_path: Path, django_db_blocker: Any
) -> Iterator[StreamManager]:
    """Configure a site whose requests are all of one tenant and one owner."""
    settings.RESUMABLE_STREAMS = {
        "default": {
            "BACKEND": REDIS,
            "LOCATION": server.url,
            "KEY_PREFIX": "mysite",
            "STORE_TIMEOUT": 2,
            "OWNER": f"{__name__}.acme",
            "TENANT": f"{__name__}.acme",
        }
    }
    with django_db_blocker.unblock(), open_ledger(tmp_path / "ledger.sqlite3", settings):
        yield StreamManager()
        runtime.call_sync(runtime.aclose)


def fill(site: StreamManager, server: Node) -> None:
    """Store old streams and new ones, then fill the memory in the middle of one more."""
    for number in range(OLD + NEW):
        tenant = "acme" if number % 3 else "umbrella"
        list(site.run(f"chat-{number}", [b"x" * 100_000], owner="acme", tenant=tenant))
        if number == OLD:
            for name in server.client.scan_iter("*:meta"):
                server.client.hincrby(name, "created", -AGE_MS)

    def source() -> Iterator[bytes]:
        yield b"x"
        # The connections have buffers that come and go: full is full without them.
        server.client.config_set("maxmemory", server.client.info("memory")["used_memory"] - 400_000)
        yield b"y"

    with pytest.raises(StreamFailed, match="store_unavailable"):
        list(site.run("running", source, owner="acme", tenant="acme"))


def alike(text: str) -> str:
    """Return a line without what differs from run to run."""
    return VARIES.sub("#", text.strip())


def assert_seen(expected: str, lines: list[str]) -> None:
    """Fail unless the lines of the page are in the output, in order; `...` is any lines."""
    left = iter([alike(line) for line in lines])
    for line in expected.splitlines():
        assert line == "..." or alike(line) in left, f"{line}\n\nis not in\n\n" + "\n".join(lines)


def run(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    _, *arguments = shlex.split(command.line)
    assert arguments[:2] == ["manage.py", "resumable_streams"]
    finds_faults = "\nfault" in command.output
    with pytest.raises(SystemExit) if finds_faults else nullcontext():
        Operate().run_from_argv(arguments)
    assert_seen(command.output, capsys.readouterr().out.splitlines())


def test_the_full_store_of_the_page(
    site: StreamManager,
    server: Node,
    client: Client,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(site, server)
    assert client.post("/answer/").status_code == 503
    assert client.get("/health/ready/").status_code == 200
    assert len(b"".join(client.get("/streams/chat-1/"))) == 100_000
    seen = [f"{record.name}: {record.getMessage()}" for record in caplog.records]
    logged = re.search(r"^```\n(.*?)^```$", section(PAGE, TITLE), re.M | re.S)
    assert logged is not None
    for line in logged[1].splitlines():
        assert alike(line) in map(alike, seen), (line, seen)
    steps = commands(PAGE, TITLE)
    assert len(steps) > 4
    for step in steps:
        run(step, capsys)
    assert client.post("/answer/").status_code == 200
