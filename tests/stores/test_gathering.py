"""Appends that gather under load, and what never waits: all else, and the first of a stream."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.stores.redis import RedisStore
from resumable_streams.stores.redis import connection as connection_module
from resumable_streams.stores.redis.connection import (
    MOST_GATHERED,
    Command,
    CommandConnection,
    Deferred,
)
from resumable_streams.stores.redis.tick import Tick
from resumable_streams.testing.acts import KEY, look, start
from resumable_streams.types import StreamStatus
from tests.stores.test_connection import connection_to
from tests.stores.test_redis import redis_store
from tests.tools.waiting import eventually

HOURS = 7_200.0


class Busy(Tick):
    """The tick of a loop under load, hours long, so that no test waits it out."""

    def due_in(self, quiet: float) -> float:
        return HOURS


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "Tick", Busy)


@pytest.fixture
async def connection(busy: None, redis_url: str) -> AsyncIterator[CommandConnection]:
    opened = connection_to(redis_url)
    await opened.execute("PING")
    yield opened
    await opened.aclose()


def held(connection: CommandConnection, number: int) -> "asyncio.Task[object]":
    return asyncio.create_task(connection.execute("ECHO", number, may_wait=True))


async def until_sent(connection: CommandConnection, *, number: int) -> None:
    """Return once so many commands wait: for the tick, or for their answers."""
    session = connection._session
    assert session is not None
    await eventually(lambda: len(session._waiting) >= number)


async def test_what_waits_leaves_with_what_does_not(connection: CommandConnection) -> None:
    waiting = [held(connection, number) for number in range(3)]
    await until_sent(connection, number=3)
    await connection.execute("PING")
    assert [await one for one in waiting] == [b"0", b"1", b"2"]


async def test_enough_of_them_leave_at_once(connection: CommandConnection) -> None:
    waiting = [held(connection, number) for number in range(MOST_GATHERED)]
    assert await waiting[-1] == str(MOST_GATHERED - 1).encode()
    await asyncio.gather(*waiting)


async def test_the_tick_ends_the_wait(
    connection: CommandConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Busy, "due_in", lambda tick, quiet: 0.001)
    assert await held(connection, 1) == b"1"


async def test_a_connection_that_ends_fails_what_waits(connection: CommandConnection) -> None:
    waiting = held(connection, 1)
    await until_sent(connection, number=1)
    await connection.aclose()
    with pytest.raises(StoreUnavailable):
        await waiting
    session = connection._session
    assert session is None or session._alarm is None


class Echo(Deferred):
    """A command that is made as it leaves, unless its text has gone by then."""

    def __init__(self, text: bytes | None) -> None:
        self.text = text
        self.answer: object = None

    def command(self) -> Command | None:
        return None if self.text is None else ("ECHO", self.text)

    def done(self) -> bool:
        return False

    def set_result(self, result: object, /) -> None:
        self.answer = result

    def set_exception(self, exception: Exception, /) -> None:
        self.answer = type(exception)


async def test_a_deferred_command_is_made_as_it_leaves(connection: CommandConnection) -> None:
    changed, given_up = Echo(b"early"), Echo(b"early")
    assert connection.defer(changed)
    assert connection.defer(given_up)
    changed.text, given_up.text = b"late", None
    await connection.execute("PING")
    await connection.execute("PING")  # the answers of those that were deferred came before this one
    assert (changed.answer, given_up.answer) == (b"late", None)


async def test_enough_of_these_leave_at_once(connection: CommandConnection) -> None:
    deferred = [Echo(b"%d" % number) for number in range(MOST_GATHERED)]
    assert all(map(connection.defer, deferred))
    await eventually(lambda: deferred[-1].answer == str(MOST_GATHERED - 1).encode())
    assert all(one.answer for one in deferred)


async def test_a_deferred_command_hears_that_the_connection_has_ended(
    connection: CommandConnection,
) -> None:
    deferred = Echo(b"never")
    assert connection.defer(deferred)
    await connection.aclose()
    assert deferred.answer is ConnectionError
    assert not connection.defer(deferred)


@pytest.fixture
async def store(busy: None, redis_url: str, key_prefix: str) -> AsyncIterator[RedisStore]:
    async with redis_store(redis_url, key_prefix) as opened:
        yield opened


async def test_the_first_bytes_of_a_stream_leave_at_once(store: RedisStore) -> None:
    assert await store.append(KEY, await start(store), 0, b"one") == 3


async def test_the_end_takes_what_waits_along_in_order(store: RedisStore) -> None:
    claim = await start(store)
    size = await store.append(KEY, claim, 0, b"one")
    waiting = asyncio.create_task(store.append(KEY, claim, size, b" two"))
    await until_sent(*await store._nodes.connections(), number=1)
    info = await store.finalize(KEY, claim, StreamStatus.DONE, size=size)
    assert (await waiting, info.size) == (7, 7)


async def test_a_heartbeat_takes_it_along(store: RedisStore) -> None:
    claim = await start(store)
    size = await store.append(KEY, claim, 0, b"one")
    waiting = asyncio.create_task(store.append(KEY, claim, size, b" two"))
    await until_sent(*await store._nodes.connections(), number=1)
    await store.processes.beat("ours", lease=30, position="")
    assert await waiting == 7


async def test_an_append_that_is_cancelled_while_it_waits_is_skipped_when_it_is_sent_again(
    store: RedisStore,
) -> None:
    claim = await start(store)
    size = await store.append(KEY, claim, 0, b"one")
    waiting = asyncio.create_task(store.append(KEY, claim, size, b" two"))
    await until_sent(*await store._nodes.connections(), number=1)
    waiting.cancel()
    again = asyncio.create_task(store.append(KEY, claim, size, b" two"))
    await until_sent(*await store._nodes.connections(), number=2)
    assert (await look(store)).size == 7
    assert await again == 7
