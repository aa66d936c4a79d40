"""How streams end when it is not their source that ends them."""

import asyncio
import logging
import threading
from dataclasses import dataclass

import pytest

from resumable_streams import ShuttingDown, StreamFailed, StreamManager, StreamStatus
from resumable_streams.engine import get_engine
from resumable_streams.process.runtime import runtime
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.types import Fate, StreamKey
from tests.tools.processes import die_producing, kill, successor_of
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure
from tests.tools.waiting import pass_time, within


async def failure_of(reader) -> str:
    with pytest.raises(StreamFailed) as failure:
        async with asyncio.timeout(10):
            await read_all(reader)
    return failure.value.code


# Cancel and delete.


async def test_cancelling_elsewhere_stops_the_producer_within_a_second(
    manager: StreamManager, elsewhere: StreamManager
):
    tap = Tap(b"so far")
    reader = await manager.arun("chat", tap, owner="a")
    follower = await elsewhere.arequire_resume("chat", owner="a")
    await read_until(reader, 6)
    async with within(1):
        info = await elsewhere.acancel("chat", owner="a")
        await tap.closed.wait()
        assert await read_all(reader) == b""
        assert await read_all(follower) == b"so far"
    assert info is not None
    assert {info.status, reader.info.status, follower.info.status} == {StreamStatus.CANCELLED}
    later = await manager.arequire_resume("chat", owner="a")
    assert await read_all(later) == b"so far"
    again = await manager.acancel("chat", owner="a")
    assert again is not None
    assert again.status is StreamStatus.CANCELLED


async def test_cancelling_an_ended_stream_leaves_it_as_it_ended(manager: StreamManager):
    await read_all(await manager.arun("chat", finished([b"x"]), owner="a"))
    info = await manager.acancel("chat", owner="a")
    assert info is not None
    assert info.status is StreamStatus.DONE


async def test_a_fast_source_can_be_cancelled(manager: StreamManager):
    async def endless():
        while True:
            yield b"x" * 100

    reader = await manager.arun("chat", endless, owner="a")
    await read_until(reader, 1000)
    async with within(1):
        await manager.acancel("chat", owner="a")
        await read_all(reader)
    assert reader.info.status is StreamStatus.CANCELLED
    assert reader.offset == reader.info.size


async def test_deleting_stops_the_producer_and_expires_the_readers(
    manager: StreamManager, elsewhere: StreamManager
):
    for side in (manager, elsewhere):
        tap = Tap(b"so far")
        readers = [await manager.arun("chat", tap, owner="a")]
        readers += [await each.arequire_resume("chat", owner="a") for each in (manager, elsewhere)]
        for reader in readers:
            await read_until(reader, 6)
        assert await side.adelete("chat", owner="a")
        assert {await failure_of(reader) for reader in readers} == {"expired"}
        async with within(1):
            await tap.closed.wait()
        assert await manager.astatus("chat", owner="a") is None
        assert await side.adelete("chat", owner="a") is False


async def test_readers_of_a_finished_stream_that_is_deleted_meanwhile_expire(
    manager: StreamManager,
):
    body = b"x" * 600_000  # more than a page
    await read_all(await manager.arun("chat", finished([body]), owner="a"))
    reader = await manager.arequire_resume("chat", owner="a")
    await anext(reader)
    await manager.adelete("chat", owner="a")
    assert await failure_of(reader) == "expired"


# Leases.


@pytest.mark.lengthy
async def test_whoever_reads_a_stream_of_a_dead_producer_learns_that_it_is_lost(
    configure: Configure, manager: StreamManager, elsewhere: StreamManager
):
    configure(LEASE=0.5, SWEEP=0.2)
    await manager.astatus("chat", owner="a")
    key = StreamKey(tenant="default", generation=1, stream_id="chat")
    await die_producing(manager, key, b"half", lease=0.5)
    started = asyncio.get_running_loop().time()
    attached = [await each.arequire_resume("chat", owner="a") for each in (manager, elsewhere)]
    for reader in attached:
        assert await anext(reader) == b"half"
    assert {await failure_of(reader) for reader in attached} == {"producer_lost"}
    assert asyncio.get_running_loop().time() - started < 5  # and not the 15 + 5 of the defaults
    later = await manager.arequire_resume("chat", owner="a")
    assert await anext(later) == b"half"
    assert await failure_of(later) == "producer_lost"
    joined = await manager.arun("chat", finished([b"never"]), owner="a")
    assert await anext(joined) == b"half"


@pytest.mark.lengthy
async def test_a_quiet_producer_keeps_its_lease(
    configure: Configure, manager: StreamManager, elsewhere: StreamManager
):
    configure(LEASE=1, SWEEP=0.1)
    tap = Tap(b"a")
    reader = await manager.arun("chat", tap, owner="a")
    follower = await elsewhere.arequire_resume("chat", owner="a")
    await read_until(follower, 1)
    await pass_time(1.5)  # longer than a lease
    tap.end(b"b")
    assert await read_all(reader) == b"ab"
    assert await read_all(follower) == b"b"


@pytest.mark.lengthy
async def test_a_producer_that_lost_its_lease_stops_and_writes_nothing(
    configure: Configure, manager: StreamManager, elsewhere: StreamManager
):
    configure(LEASE=0.6, SWEEP=0.1)
    tap = Tap(b"a")
    reader = await manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    engine = get_engine("default")
    process = await kill(engine)  # as if the loop had been blocked
    follower = await elsewhere.arequire_resume("chat", owner="a")
    await read_until(follower, 1)
    assert await failure_of(follower) == "producer_lost"
    assert await engine.store.processes.fates([process]) != [Fate.LIVING]
    tap.give(b"zombie")
    assert await failure_of(reader) == "producer_lost"
    async with within(1):
        await tap.closed.wait()
    info = await manager.astatus("chat", owner="a")
    assert info is not None
    assert info.size == 1


@pytest.mark.lengthy
async def test_a_quiet_producer_that_was_replaced_stops_and_its_readers_follow_the_new_one(
    configure: Configure, manager: StreamManager
):
    configure(LEASE=1.5, STORE_TIMEOUT=0.3, TTL=2)
    tap = Tap(b"a")
    reader = await manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    engine = get_engine("default")
    (producer,) = engine.leases._producers
    claim = successor_of(producer.claim, engine.leases.process)
    await engine.store.reclaim(producer.holding.key, producer.claim.token, claim)
    async with asyncio.timeout(10):
        await tap.closed.wait()
        await engine.store.append(producer.holding.key, claim, 1, b"b")
        assert await anext(reader) == b"b"


# Drain.


async def drain_within(grace: float) -> None:
    usual, runtime.grace = runtime.grace, grace
    try:
        await runtime.drain()
    finally:
        runtime.grace = usual


@pytest.mark.lengthy
async def test_a_drain_lets_short_producers_finish_and_interrupts_long_ones(
    manager: StreamManager, elsewhere: StreamManager
):
    short, long = Tap(b"a"), Tap(b"a")
    readers = []
    for stream_id, tap in (("short", short), ("long", long)):
        readers.append(await manager.arun(stream_id, tap, owner="a"))
        readers.append(await elsewhere.arequire_resume(stream_id, owner="a"))
    for reader in readers:
        await read_until(reader, 1)
    waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
    drain = asyncio.ensure_future(drain_within(1))
    for read in waiting:
        with pytest.raises(ShuttingDown):
            await read
    with pytest.raises(ShuttingDown):
        await manager.arun("new", Tap(), owner="a")
    with pytest.raises(ShuttingDown):
        await anext(await manager.arequire_resume("short", owner="a"))
    short.end(b"b")
    await drain
    assert long.closed.is_set()
    ends = [await manager.astatus(name, owner="a") for name in ("short", "long", "new")]
    assert [end and (end.status, end.error_code, end.size) for end in ends] == [
        ("done", "", 2),
        ("error", "interrupted", 1),
        None,
    ]
    async with within(1):
        await runtime.drain()  # nothing left to wait for


@pytest.mark.lengthy
async def test_a_drain_does_not_wait_for_a_source_that_hangs(
    memory_manager: StreamManager, monkeypatch
):
    monkeypatch.setattr("resumable_streams.producing.producer.CLOSE_SECONDS", 0.1)
    monkeypatch.setattr("resumable_streams.process.runtime.INTERRUPT_SECONDS", 0.5)
    forever, closed = threading.Event(), threading.Event()

    def stuck():
        yield b"x"
        forever.wait(20)
        closed.set()

    reader = await memory_manager.arun("chat", stuck, owner="a")
    await read_until(reader, 1)
    try:
        async with asyncio.timeout(10):
            await drain_within(0.1)
        info = await memory_manager.astatus("chat", owner="a")
        assert info is not None
        assert info.error_code == "interrupted"
    finally:
        forever.set()
        await asyncio.to_thread(closed.wait, 2)


@dataclass
class Gate:
    reached: asyncio.Event
    open: asyncio.Event


class GatedStore(MemoryStore):
    """A store whose elections are answered when the test says so."""

    gate: Gate

    async def acquire(self, key, claim, terms):
        acquisition = await super().acquire(key, claim, terms)
        self.gate.reached.set()
        await self.gate.open.wait()
        return acquisition


async def test_an_election_that_a_drain_overtakes_leaves_nothing(
    configure_memory: Configure, memory_manager: StreamManager
):
    configure_memory(BACKEND=f"{__name__}.GatedStore")
    GatedStore.gate = Gate(asyncio.Event(), asyncio.Event())
    tap = Tap()
    caller = asyncio.ensure_future(memory_manager.arun("chat", tap, owner="a"))
    await GatedStore.gate.reached.wait()
    await drain_within(0)
    GatedStore.gate.open.set()
    with pytest.raises(ShuttingDown):
        await caller
    assert tap.calls == 0
    assert await memory_manager.astatus("chat", owner="a") is None


async def test_a_run_cancelled_during_its_election_still_produces(
    configure_memory: Configure, memory_manager: StreamManager
):
    configure_memory(BACKEND=f"{__name__}.GatedStore")
    GatedStore.gate = Gate(asyncio.Event(), asyncio.Event())
    tap = Tap()
    tap.end(b"whole")
    caller = asyncio.ensure_future(memory_manager.arun("chat", tap, owner="a"))
    await GatedStore.gate.reached.wait()
    caller.cancel()
    await asyncio.wait([caller])
    GatedStore.gate.open.set()
    await tap.closed.wait()
    assert await read_all(await memory_manager.arequire_resume("chat", owner="a")) == b"whole"


async def test_the_process_ends_quietly(manager: StreamManager, caplog):
    await manager.arun("chat", Tap(b"x"), owner="a")
    reader = await manager.arequire_resume("chat", owner="a")
    await read_until(reader, 1)
    with caplog.at_level(logging.INFO):
        await runtime.aclose()
    faults = [record for record in caplog.records if record.name != "resumable_streams.audit"]
    assert [fault.message for fault in faults if fault.levelno > logging.INFO] == []
    assert not runtime.is_draining
