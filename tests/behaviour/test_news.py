"""What was done is in force without a push, too: heartbeats bring what was announced meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis import Redis

from resumable_streams import StreamFailed, StreamManager, StreamReader
from resumable_streams.control import revoke
from resumable_streams.engine import get_engine
from resumable_streams.operating.bulk import Progress, StreamBatches, purge
from resumable_streams.operating.selection import Selection
from resumable_streams.stores.redis.keys import KeySpace
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap
from tests.tools.streams import Configure

TENANT = "default"


async def rotates(manager: StreamManager) -> None:
    await get_engine("default").store.set_control(TENANT, generation=2)


async def revokes(manager: StreamManager) -> None:
    await revoke("default", TENANT, "a")


async def purges(manager: StreamManager) -> None:
    await purge(StreamBatches(get_engine("default").store, Selection(tenant=TENANT)), Progress())


async def deletes(manager: StreamManager) -> None:
    await manager.adelete("chat", owner="a")


async def cancels(manager: StreamManager) -> None:
    await manager.acancel("chat", owner="a")


ACTS = pytest.mark.parametrize("act", [rotates, revokes, purges, deletes, cancels])
Act = Callable[[StreamManager], Awaitable[None]]


@pytest.fixture
async def deaf(
    redis_manager: StreamManager, configure_redis: Configure
) -> tuple[StreamReader, Tap]:
    """Produce a stream in a process whose push connection is gone for good, and read it there."""
    configure_redis(LEASE=0.9, STORE_TIMEOUT=0.5, SWEEP=60)
    await redis_manager.astatus("chat", owner="a")
    tap, elsewhere = Tap(b"x"), redis_manager.using("elsewhere")
    reader = await elsewhere.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    await get_engine("elsewhere").hub._feed.aclose()
    return reader, tap


async def end_of(reader: StreamReader) -> str:
    async with asyncio.timeout(10):
        try:
            await read_all(reader)
        except StreamFailed as failure:
            return failure.code
    return str(reader.info.status)


@ACTS
async def test_what_ends_a_stream_ends_it_without_a_push(
    redis_manager: StreamManager, deaf: tuple[StreamReader, Tap], act: Act
):
    reader, tap = deaf
    await act(redis_manager)
    assert await end_of(reader) == ("cancelled" if act is cancels else "expired")
    await tap.closed.wait()


@pytest.mark.parametrize("act", [revokes, cancels])
async def test_more_news_than_a_heartbeat_takes_means_to_look_at_everything(
    redis_manager: StreamManager,
    deaf: tuple[StreamReader, Tap],
    redis_server: Redis,
    key_prefix: str,
    act: Act,
):
    reader, tap = deaf
    await act(redis_manager)
    pipe = redis_server.pipeline()
    for _ in range(2_000):
        pipe.xadd(KeySpace(key_prefix).shared("news"), {"hint": "@another"})
    pipe.execute()
    assert await end_of(reader) == ("cancelled" if act is cancels else "expired")
    await tap.closed.wait()


async def test_a_news_stream_that_a_failover_undid_means_to_look_at_everything(
    redis_manager: StreamManager,
    deaf: tuple[StreamReader, Tap],
    redis_server: Redis,
    key_prefix: str,
):
    reader, tap = deaf
    await redis_manager.acancel("chat", owner="a")
    redis_server.delete(KeySpace(key_prefix).shared("news"))
    await get_engine("default").store.announce("another")
    leases = get_engine("elsewhere").leases
    leases._position = "9999999999999-0"  # of a past that is no more
    assert await end_of(reader) == "cancelled"
    await tap.closed.wait()


async def test_a_rotation_that_is_repeated_is_announced_again(
    redis_manager: StreamManager, deaf: tuple[StreamReader, Tap], redis_server: Redis, key_prefix
):
    """The first answer may have been lost, and what it announced with it."""
    await redis_manager.astatus("chat", owner="a")
    news = KeySpace(key_prefix).shared("news")
    store, counts = get_engine("default").store, []
    for _ in range(2):
        await store.set_control("acme", generation=3)
        counts.append(redis_server.xlen(news))
    assert counts[1] == counts[0] + 1
    deaf[1].end()
    await read_all(deaf[0])
