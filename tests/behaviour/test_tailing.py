"""Reading what another process produces: by push, over broken connections, by pages."""

import asyncio

from redis import Redis

from resumable_streams import StreamManager
from resumable_streams.engine import get_engine
from resumable_streams.stores.base import MAX_APPEND_BYTES
from resumable_streams.types import Claim, StreamKey, StreamStatus, Terms
from tests.tools.readers import read_all, read_until, settled, waits
from tests.tools.sources import Tap
from tests.tools.streams import Configure
from tests.tools.waiting import pass_time

KEY = StreamKey(tenant="default", generation=1, stream_id="chat")


async def test_another_process_is_pushed_every_byte_without_asking(
    redis_manager: StreamManager, redis_server: Redis
):
    elsewhere = redis_manager.using("elsewhere")
    tap = Tap(b"0")
    reader = await redis_manager.arun("chat", tap, owner="a")
    follower = await elsewhere.arequire_resume("chat", owner="a")
    await read_until(follower, 1)
    await settled(follower)
    before = redis_server.info("commandstats")
    for number in range(1, 100):
        tap.give(b"%d" % (number % 10))
        await read_until(follower, number + 1)
    after = redis_server.info("commandstats")
    asked = {
        name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"]
        for name in ("cmdstat_getrange", "cmdstat_hmget")
        if name in after
    }
    assert asked.get("cmdstat_getrange", 0) == 0
    tap.end()
    await read_all(reader)
    await read_all(follower)


async def test_an_idle_reader_costs_no_commands(
    configure_redis: Configure, redis_manager: StreamManager, redis_server: Redis
):
    configure_redis(LEASE=600)  # the heartbeats of the producer are not what is looked at
    tap = Tap(b"x")
    await redis_manager.arun("chat", tap, owner="a")
    elsewhere = redis_manager.using("elsewhere")
    readers = [await elsewhere.arequire_resume("chat", owner="a") for _ in range(20)]
    for reader in readers:
        await read_until(reader, 1)
    waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
    for reader in readers:
        await settled(reader)
        await waits(reader)
    before = redis_server.info("stats")["total_commands_processed"]
    await pass_time(0.5)
    after = redis_server.info("stats")["total_commands_processed"]
    assert after - before <= 2  # our own INFO, twice at most
    tap.end(b"y")
    assert set(await asyncio.gather(*waiting)) == {b"y"}


async def test_two_connections_serve_any_number_of_streams(
    redis_manager: StreamManager, redis_server: Redis
):
    def connections() -> int:
        return len([c for c in redis_server.client_list() if c["name"] != "suite"])

    elsewhere = redis_manager.using("elsewhere")
    before = connections()
    taps = [Tap(b"x") for _ in range(30)]
    await asyncio.gather(
        *(redis_manager.arun(f"chat-{n}", tap, owner="a") for n, tap in enumerate(taps))
    )
    readers = await asyncio.gather(
        *(elsewhere.arequire_resume(f"chat-{n}", owner="a") for n in range(30))
    )
    await asyncio.gather(*(read_until(reader, 1) for reader in readers))
    assert connections() - before <= 4  # two for each of the two processes
    for tap in taps:
        tap.end()
    await asyncio.gather(*(read_all(reader) for reader in readers))


async def test_twenty_four_broken_push_connections_lose_nothing(
    redis_manager: StreamManager, redis_server: Redis, monkeypatch
):
    monkeypatch.setattr("resumable_streams.stores.redis.feed.MAX_BACKOFF_SECONDS", 0.02)
    tap = Tap()
    await redis_manager.arun("chat", tap, owner="a")
    elsewhere = redis_manager.using("elsewhere")
    readers = [await elsewhere.arequire_resume("chat", owner="a") for _ in range(3)]
    reads = [asyncio.ensure_future(read_all(reader)) for reader in readers]
    body, kills = b"", 0
    while kills < 24:
        for _ in range(5):
            chunk = b"%d," % len(body)
            body += chunk
            tap.give(chunk)
            await asyncio.sleep(0.002)
        kills += redis_server.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    tap.end()
    async with asyncio.timeout(10):
        assert set(await asyncio.gather(*reads)) == {body}


async def test_every_broken_connection_of_the_process_loses_nothing(
    redis_manager: StreamManager, redis_server: Redis, monkeypatch
):
    monkeypatch.setattr("resumable_streams.stores.redis.feed.MAX_BACKOFF_SECONDS", 0.02)
    tap = Tap()
    reader = await redis_manager.arun("chat", tap, owner="a")
    elsewhere = redis_manager.using("elsewhere")
    readers = [reader, *[await elsewhere.arequire_resume("chat", owner="a") for _ in range(3)]]
    reads = [asyncio.ensure_future(read_all(reader)) for reader in readers]
    body = b""
    for _ in range(20):
        for _ in range(5):
            chunk = b"%d," % len(body)
            body += chunk
            tap.give(chunk)
            await asyncio.sleep(0.002)
        for client in redis_server.client_list():
            if client["name"] != "suite":
                redis_server.client_kill_filter(_id=client["id"])
    tap.end()
    async with asyncio.timeout(10):
        assert set(await asyncio.gather(*reads)) == {body}
    assert reader.info.entries == 100


async def test_a_slow_reader_reads_pages_and_the_window_stays_bounded(
    manager: StreamManager, elsewhere: StreamManager
):
    tap = Tap(b"first")
    await manager.arun("chat", tap, owner="a")
    slow = [await each.arequire_resume("chat", owner="a") for each in (manager, elsewhere)]
    for reader in slow:
        await read_until(reader, 5)
    fast = await elsewhere.arequire_resume("chat", owner="a")
    body = b""
    for number in range(40):
        chunk = bytes([number]) * 50_000
        body += chunk
        tap.give(chunk)
        await read_until(fast, 5 + len(body))
        for reader in slow:
            assert reader._tail is not None
            assert len(reader._tail.window._buffer) <= 2 * MAX_APPEND_BYTES
    tap.end()
    for reader in slow:
        assert await read_all(reader) == body


async def test_slow_readers_at_the_same_byte_share_their_pages(
    redis_manager: StreamManager, redis_server: Redis
):
    tap = Tap(b"x" * 1_000_000)
    tap.end()
    await read_all(await redis_manager.arun("chat", tap, owner="a"))
    tap = Tap(*[b"y" * 100_000 for _ in range(10)])
    reader = await redis_manager.arun("live", tap, owner="a")
    await read_until(reader, 1_000_000)
    readers = [await redis_manager.arequire_resume("live", owner="a") for _ in range(50)]
    before = pages_read(redis_server)
    await asyncio.gather(*(read_until(each, 1_000_000) for each in readers))
    assert 0 < pages_read(redis_server) - before < 20


def pages_read(server: Redis) -> int:
    calls: int = server.info("commandstats").get("cmdstat_getrange", {"calls": 0})["calls"]
    return calls


async def test_news_that_is_doubled_late_or_overlapping_changes_nothing(manager, elsewhere):
    reader = None
    await manager.astatus("chat", owner="a")
    store, claim = get_engine("default").store, Claim()
    await store.acquire(KEY, claim, Terms(owner="a", ttl=60, finished_ttl=60, pending=60))
    reader = await elsewhere.arequire_resume("chat", owner="a")
    read = asyncio.ensure_future(read_all(reader))
    body = bytes(range(200))
    for end in range(10, 201, 10):
        await store.append(KEY, claim, max(0, end - 25), body[max(0, end - 25) : end])
        await store.append(KEY, claim, max(0, end - 10), body[max(0, end - 10) : end])
    hub = get_engine("elsewhere").hub
    epoch = reader.info.epoch
    hub.appended(KEY, epoch, 0, body[:50])
    hub.appended(KEY, "another", 0, b"never")
    hub.appended(KEY, epoch, 180, body[180:])
    await store.finalize(KEY, claim, StreamStatus.DONE)
    assert await read == body
