"""A server of one's own to maltreat, of each kind that this machine has, and a site on it."""

import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from resumable_streams.process.runtime import runtime
from resumable_streams.stores.redis import RedisStore
from resumable_streams.streams import StreamManager
from resumable_streams.testing import StreamStoreContract
from tests.ledger import open_ledger
from tests.nodes import Node, binaries, node
from tests.tools.lengthy import starts_a_process
from tests.tools.streams import REDIS

from . import IS_FULL
from .report import Report, Tried

Run = Callable[..., tuple[int, str]]

collected = Report()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        collected.put(report.nodeid, dict(report.user_properties))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Show the table; put it into the page if all is well and the environment asks for that."""
    if IS_FULL and collected.tried:
        terminalreporter.write_line("\n".join(["", *collected.lines()]))
        if exitstatus == pytest.ExitCode.OK and os.environ.get("WRITE_ATTACK_TABLE"):
            collected.write()


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Tried:
    """Return what notes how often a test has tried what."""

    def note(times: int, what: str, outcomes: Mapping[str, int]) -> None:
        record_property("tried", (times, what))
        record_property("outcomes", dict(outcomes))

    return note


@pytest.fixture(scope="package", params=binaries())
@starts_a_process
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("attacked")
    with node(folder, binary=binaries()[request.param]) as running:
        yield running


@pytest.fixture
def location(server: Node) -> str:
    """Name the server; a test may name it by another user, or through something."""
    return server.url


@pytest.fixture
async def store(location: str, key_prefix: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(
        alias="test", key_prefix=key_prefix, location=location, limits=StreamStoreContract.limits
    )
    yield opened
    await opened.aclose()


@pytest.fixture
def site(
    settings: Settings, location: str, key_prefix: str, tmp_path, django_db_blocker
) -> Iterator[StreamManager]:
    """Configure a site on the server, with a database; for tests that are not coroutines."""
    settings.RESUMABLE_STREAMS = {"default": entry(location, key_prefix)}
    with django_db_blocker.unblock(), open_ledger(tmp_path / "ledger.sqlite3", settings):
        yield StreamManager()
        if runtime.resources:
            runtime.call_sync(runtime.aclose)


def entry(location: str, key_prefix: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of an alias that is not patient."""
    return {
        "BACKEND": REDIS,
        "LOCATION": location,
        "KEY_PREFIX": key_prefix,
        "LEASE": 2,
        "SWEEP": 0.2,
        "STORE_TIMEOUT": 1,
        "TTL": 60,
        **changes,
    }


@pytest.fixture
def run() -> Run:
    """Return a function that runs a verb and returns its exit code and all that it prints."""

    def run(verb: str, *arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        try:
            with suppress(SystemExit):
                call_command("resumable_streams", verb, *arguments, stdout=out, stderr=out)
        except CommandError as error:
            return error.returncode, f"{out.getvalue()}\n{error}"
        return 0, out.getvalue()

    return run


def outcome(printed: str) -> dict[str, Any]:
    """Return what a verb printed with `--json`."""
    found: dict[str, Any] = json.loads(printed.strip().splitlines()[0])
    return found
