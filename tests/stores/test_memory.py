"""The memory store: the contract on a clock of its own, and what only memory has."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.testing import RecordingListener, StreamStoreContract
from resumable_streams.testing.acts import KEY, TERMS, body, is_gone, look, start
from resumable_streams.testing.listener import listening
from resumable_streams.types import Claim, Role, StreamStatus


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class TestMemoryStore(StreamStoreContract):
    @pytest.fixture(autouse=True)
    def clock(self) -> Clock:
        self._clock = Clock()
        return self._clock

    @pytest.fixture
    async def store(self, key_prefix: str) -> BaseStore:
        return MemoryStore(
            alias="test",
            key_prefix=key_prefix,
            location=None,
            limits=self.limits,
            clock=self._clock,
        )

    @asynccontextmanager
    async def another(self, store: BaseStore) -> AsyncIterator[BaseStore]:
        yield MemoryStore(
            alias="test",
            key_prefix=store.key_prefix,
            location=None,
            limits=self.limits,
            clock=self._clock,
        )

    async def pass_time(self, seconds: float) -> None:
        self._clock.now += seconds


def memory_store(prefix: str, *, location: str | None = None, **options) -> MemoryStore:
    return MemoryStore(
        alias="test",
        key_prefix=prefix,
        location=location,
        limits=StreamStoreContract.limits,
        **options,
    )


@pytest.fixture
def store(key_prefix: str) -> MemoryStore:
    return memory_store(key_prefix)


async def test_stores_of_one_location_and_prefix_share_their_streams(key_prefix: str):
    here = memory_store(key_prefix, location="here")
    await start(here)
    await here.aclose()  # the streams belong to the process
    assert (await look(memory_store(key_prefix, location="here"))).is_streaming
    assert await is_gone(memory_store(key_prefix, location="there"))
    assert await is_gone(memory_store(f"{key_prefix}:b", location="here"))


async def test_nothing_outlives_the_process_and_nothing_needs_a_worker(store: MemoryStore):
    assert not store.outlives_process
    assert store.queue() is None


async def test_whoever_watches_an_expired_stream_is_told_at_the_next_look(key_prefix: str):
    clock = Clock()
    store = memory_store(key_prefix, clock=clock)
    await start(store, ttl=10)
    async with listening(store, KEY) as (heard, _):
        clock.now += 10
        assert await is_gone(store, replace(KEY, stream_id="any"))
        await heard.hear(lambda: heard.disturbances == [KEY])


async def test_a_stream_that_comes_and_goes_leaves_nothing_behind(key_prefix: str):
    clock = Clock()
    store = memory_store(key_prefix, clock=clock)
    for _ in range(500):
        claim = await start(store, ttl=10, finished_ttl=10)
        await store.finalize(KEY, claim, StreamStatus.DONE)
        await store.delete(KEY)
    await start(store, ttl=100, finished_ttl=100)
    clock.now += 40
    assert not await is_gone(store)
    assert len(store._space.deadlines) == 1
    clock.now += 100
    assert await is_gone(store)
    assert not store._space.deadlines


def test_of_many_threads_with_loops_of_their_own_one_is_elected(key_prefix: str):
    ready = threading.Barrier(16)

    def acquire(number: int) -> Role:
        store = memory_store(key_prefix)
        ready.wait()
        return asyncio.run(store.acquire(KEY, Claim(), TERMS)).role

    with ThreadPoolExecutor(16) as threads:
        roles = list(threads.map(acquire, range(16)))
    assert roles.count(Role.PRODUCER) == 1


async def test_appends_of_another_loop_are_heard_on_the_loop_of_the_feed(store: MemoryStore):
    claim = await start(store)
    pieces = [b"piece %d;" % number for number in range(200)]
    heard_in = set()

    class Listener(RecordingListener):
        def appended(self, *news) -> None:
            heard_in.add(threading.current_thread())
            super().appended(*news)

    async def write() -> None:
        size = 0
        for piece in pieces:
            size = await store.append(KEY, claim, size, piece)

    listener = Listener()
    feed = store.open_feed(listener)
    feed.watch(KEY)
    await asyncio.to_thread(asyncio.run, write())
    await listener.hear(lambda: len(listener.appends) == 200)
    assert listener.log(KEY) == await body(store) == b"".join(pieces)
    assert heard_in == {threading.current_thread()}
    await feed.aclose()


async def test_a_feed_whose_loop_is_gone_harms_nobody(store: MemoryStore):
    claim = await start(store)

    async def watch_and_forget() -> None:
        store.open_feed(RecordingListener()).watch(KEY)

    await asyncio.to_thread(asyncio.run, watch_and_forget())
    async with listening(store, KEY) as (heard, _):
        await store.append(KEY, claim, 0, b"abc")
        await heard.hear(lambda: heard.log(KEY) == b"abc")
