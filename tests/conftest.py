"""What every test has: a real server, a key prefix of its own, and a clean end.

A test fails when package code blocks a running event loop, when a task is still pending on the
test's loop after its fixtures were torn down, and, where it uses the server, when it leaves a
connection open.
"""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from blockbuster import BlockBuster, blockbuster_ctx
from django.db import connections
from redis import Redis

from example_project.private_redis import private_server
from resumable_streams.stores.outages import forget_outages
from tests.postgres import Postgres, postgres
from tests.tools.lengthy import starts_a_process, uses_the_server
from tests.tools.waiting import until

pytest_plugins = [
    "resumable_streams.testing.plugin",
    "tests.tools.quick",
    "tests.tools.streams",
]

AGAIN_SECONDS = 1.0
GRACE = float(os.environ.get("SUITE_GRACE", "10"))  # seconds for what was closed to be gone


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes longest, so that two workers end together."""
    items.sort(key=lambda item: {"acceptance", "soak"}.isdisjoint(item.path.parts))


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Iterator[Any]:
    """Fail a test that is over its time again and again: a task may have swallowed the first."""
    result = yield
    if settings.method == "signal":
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, AGAIN_SECONDS)
    return result


@pytest.fixture(scope="session")
@starts_a_process
def redis_server() -> Iterator[Redis]:
    """Start the suite's own server; yield a client for looking at it. No server, no green run."""
    with private_server() as url, Redis.from_url(url, client_name="suite") as client:
        client.ping()
        yield client


@pytest.fixture(scope="session")
def redis_url(redis_server: Redis) -> str:
    """Name the suite's own server."""
    where = redis_server.connection_pool.connection_kwargs
    return f"redis://{where['host']}:{where['port']}/{where['db']}"


@pytest.fixture(scope="session")
@starts_a_process
def postgres_server() -> Iterator[Postgres]:
    """Start the suite's own PostgreSQL."""
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest, django_db_modify_db_settings_parallel_suffix: None
) -> None:
    """Say where the suite's database is, if that is on a server (`DATABASE=postgresql`)."""
    default = connections.settings["default"]
    if default["ENGINE"].endswith("postgresql"):
        server: Postgres = request.getfixturevalue("postgres_server")
        default["HOST"] = os.environ["DATABASE_HOST"] = server.host  # also for processes we start


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Close what tests opened in the thread of asgiref that all of them share."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture(autouse=True)
def tells_every_outage() -> None:
    """Have an outage logged in every test: the log keeps quiet about one for a minute."""
    forget_outages()


@pytest.fixture
def key_prefix() -> str:
    """Make a key prefix that no other test has, so that nobody needs to flush the server."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture(scope="session", autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Turn a blocking call of the package inside any running loop into an error."""
    with blockbuster_ctx(scanned_modules=["resumable_streams"]) as guard:
        for function in guard.functions.values():
            # The client of a cache asks for the version of redis-py, once a process.
            function.can_block_in("redis/utils.py", {"get_lib_version"})
            # A provider's client that a source makes reads certificates, and its own version.
            function.can_block_in("httpx/_transports/default.py", {"__init__"})
            function.can_block_in("httpx2/_transports/default.py", {"__init__"})
        yield guard


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest) -> None:
    """Choose the guards of a test; set up before its other fixtures, they look after those."""
    has_loop = request.node.get_closest_marker("asyncio")
    if has_loop:
        request.getfixturevalue("leaves_no_task")
    if uses_the_server(request.node):
        request.getfixturevalue("leaves_no_connection")
    request.getfixturevalue("closes_runtime" if has_loop else "closes_sync_runtime")


@pytest.fixture
async def leaves_no_task() -> AsyncIterator[None]:
    """Fail when a task of the test outlives its fixtures."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=GRACE)
    if left:
        pytest.fail("tasks left pending: " + ", ".join(sorted(map(repr, left))))


@pytest.fixture
def leaves_no_connection(redis_server: Redis) -> Iterator[None]:
    """Fail when the server has a client that it did not have before the test."""
    before = _connections(redis_server).keys()

    def left() -> list[dict[str, str]]:
        return [one for key, one in _connections(redis_server).items() if key not in before]

    yield
    with suppress(AssertionError):
        until(lambda: not left(), seconds=GRACE)
    if connections := left():
        pytest.fail("connections left open: " + ", ".join(map(str, connections)))


def _connections(server: Redis) -> dict[str, dict[str, str]]:
    clients: list[dict[str, str]] = server.client_list()
    return {client["id"]: client for client in clients if client["name"] != "suite"}
