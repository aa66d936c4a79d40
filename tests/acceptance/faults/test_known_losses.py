"""Losses that were found by the fault suite and the model check, one test each."""

import asyncio
import signal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from redis import Redis

from resumable_streams import StreamFailed, streams
from resumable_streams.engine import get_engine
from resumable_streams.process.runtime import runtime
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.types import StreamKey

from ...nodes import node
from ...proxy import proxy_to
from ...tools.processes import kill
from ...tools.readers import read_all, read_until
from ...tools.sources import Tap
from ...tools.streams import Configure
from ...tools.waiting import eventually, pass_time

KEY = StreamKey(tenant="default", generation=1, stream_id="chat")


async def test_readers_wait_one_round_trip_for_an_end_and_telling_it_takes_two_more(
    configure: Configure, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(redis_url)
    tap = Tap(b"x")
    reader = await streams.arun("chat", tap, owner="me")
    await read_until(reader, 1)
    store: Any = get_engine("default").store
    run, scripts = store._eval, []

    async def running(name: str, *args: Any, **named: Any) -> Any:
        scripts.append(name)
        return await run(name, *args, **named)

    monkeypatch.setattr(store, "_eval", running)
    tap.end()
    await read_all(reader)
    await eventually(lambda: "told" in scripts)
    assert [name for name in scripts if name != "beat"] == ["finalize", "move", "told"]


async def test_a_log_evicted_after_its_last_byte_is_not_called_done(
    configure: Configure, redis_url: str, redis_server: Redis, key_prefix: str
) -> None:
    configure(redis_url)
    tap = Tap(b"0123456789")
    reader = await streams.arun("chat", tap, owner="me")
    await read_until(reader, 10)
    redis_server.delete(KeySpace(key_prefix).log(KEY))
    tap.end()
    with pytest.raises(StreamFailed) as failure:
        await read_all(reader)
    assert failure.value.code == "data_lost"


async def test_bytes_lost_just_before_a_failure_of_the_source_are_sent_again(
    configure: Configure, redis_url: str, redis_server: Redis, key_prefix: str
) -> None:
    configure(redis_url)
    tap = Tap(b"0123456789")
    reader = await streams.arun("chat", tap, owner="me")
    await read_until(reader, 10)
    keys = KeySpace(key_prefix)
    redis_server.set(keys.log(KEY), b"0123")
    redis_server.hset(keys.meta(KEY), "size", 4)
    tap.give(RuntimeError("no more"))
    with pytest.raises(StreamFailed):
        await read_all(reader)
    again = await streams.arequire_resume("chat", owner="me")
    assert await read_until(again, 10) == b"0123456789"
    with pytest.raises(StreamFailed) as failure:
        await anext(again)
    assert failure.value.code == "source_failed"


async def test_a_whole_stream_is_done_though_its_source_was_closed_by_a_drain(
    configure: Configure, redis_url: str
) -> None:
    """The source has said its last word; that its closing takes long does not interrupt it."""
    configure(redis_url, DRAIN_TIMEOUT=0)
    closing, interrupted, released = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class SlowToClose:
        rest: ClassVar = [b"whole"]

        def __aiter__(self) -> "SlowToClose":
            return self

        async def __anext__(self) -> bytes:
            if not self.rest:
                raise StopAsyncIteration
            return self.rest.pop()

        async def aclose(self) -> None:
            closing.set()
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    interrupted.set()

    await read_until(await streams.arun("chat", SlowToClose(), owner="me"), 5)
    await closing.wait()
    draining = asyncio.create_task(runtime.drain())
    await interrupted.wait()  # its grace is over
    released.set()
    await draining
    info = await get_engine("default").store.look(KEY)
    assert info is not None
    assert (info.status, info.size) == ("done", 5)


async def test_readers_are_told_in_batches_while_the_push_connection_cannot_be_made(
    configure: Configure,
    redis_url: str,
    redis_server: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resumable_streams.stores.redis.feed.MISSED_SECONDS", 0.2)
    monkeypatch.setattr("resumable_streams.stores.redis.feed.MAX_BACKOFF_SECONDS", 0.1)
    port = redis_server.connection_pool.connection_kwargs["port"]
    async with proxy_to(port) as proxy:
        configure(redis_url, elsewhere=proxy.location, LEASE=60, SWEEP=60)
        tap = Tap(b"a")
        await streams.arun("chat", tap, owner="me")
        reader = await streams.using("elsewhere").arequire_resume("chat", owner="me")
        await read_until(reader, 1)
        proxy.refused = b"SUBSCRIBE"
        proxy.cut()
        await proxy.refused_one.wait()
        async with asyncio.timeout(20):
            tap.give(b"b")
            await read_until(reader, 2)
            tap.end(b"c")
            assert await read_all(reader) == b"c"
        assert reader.info.status == "done"
        await runtime.aclose()  # before the proxy


async def test_a_lost_producer_is_reported_though_the_push_connection_cannot_be_made(
    configure: Configure, redis_url: str, redis_server: Redis
) -> None:
    lease, sweep = 1.0, 0.2
    port = redis_server.connection_pool.connection_kwargs["port"]
    async with proxy_to(port) as proxy:
        configure(redis_url, elsewhere=proxy.location, LEASE=lease, SWEEP=sweep)
        tap = Tap(b"a")
        await streams.arun("chat", tap, owner="me")
        reader = await streams.using("elsewhere").arequire_resume("chat", owner="me")
        await read_until(reader, 1)
        proxy.refused = b"SUBSCRIBE"
        proxy.cut()
        await kill(get_engine("default"))
        with pytest.raises(StreamFailed) as failure:
            async with asyncio.timeout(10):
                await anext(reader)
        assert failure.value.code == "producer_lost"
        await runtime.aclose()  # before the proxy


async def test_a_quiet_producer_outlasts_a_store_that_is_away_for_almost_store_timeout(
    configure: Configure, tmp_path: Path
) -> None:
    """Whenever that begins: at the worst moment its lease is as old as it gets."""
    with node(tmp_path) as server:
        configure(server.url, LEASE=3, STORE_TIMEOUT=2)
        taps = [Tap(b"x") for _ in range(20)]
        readers = []
        for number, tap in enumerate(taps):
            readers.append(await streams.arun(f"s{number}", tap, owner="me"))
            await pass_time(0.08)
        server.process.send_signal(signal.SIGSTOP)
        await pass_time(1.3)
        server.process.send_signal(signal.SIGCONT)
        await pass_time(0.5)
        for tap in taps:
            tap.end(b"y")
        assert [await read_all(reader) for reader in readers] == [b"xy"] * len(taps)
        await runtime.aclose()
