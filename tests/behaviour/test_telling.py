"""Every end is told exactly once, by whoever finds it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from resumable_streams import StoreUnavailable, StreamFailed, StreamManager
from resumable_streams.engine import Engine, get_engine
from resumable_streams.identifiers import holding_of
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import (
    StreamSignal,
    process_taken_over,
    stream_acquired,
    stream_failed,
    stream_finalized,
)
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.types import Fate, Holding, StreamKey
from tests.tools.lengthy import takes_time
from tests.tools.processes import die_producing, judge, kill
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure
from tests.tools.waiting import eventually, pass_time

KEY = StreamKey(tenant="default", generation=1, stream_id="chat")
LEASE = 0.6

Connect = Callable[[StreamSignal, Any], None]


@pytest.fixture
@takes_time
def short(configure: Configure) -> None:
    configure(LEASE=LEASE, STORE_TIMEOUT=0.3, SWEEP=0.1)


@pytest.fixture
def connect() -> Iterator[Connect]:
    connected: list[tuple[StreamSignal, Any]] = []

    def connect(signal: StreamSignal, receiver: Any) -> None:
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


async def engine_of(manager: StreamManager) -> Engine:
    """Return the engine of an alias, known to the store and beating."""
    await manager.astatus("any", owner="a")
    engine = get_engine(manager.alias)
    await engine.leases.ready()
    return engine


def codes(ends: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(end["stream_id"], end["error_code"]) for end in ends]


# A process that is dead.


async def test_what_a_killed_process_produced_is_told_though_nobody_reads_it(
    short, manager: StreamManager, elsewhere: StreamManager, hear
):
    ends = hear(stream_finalized)
    await engine_of(elsewhere)
    await manager.astatus("any", owner="a")
    await die_producing(manager, KEY, b"half", lease=0.05)
    await eventually(lambda: ends)
    (end,) = ends
    assert (end["status"], end["error_code"], end["size"]) == ("error", "producer_lost", 4)
    assert (end["alias"], end["owner"], end["stream_id"]) == ("elsewhere", "a", "chat")
    assert end["duration"] > 0
    info = await manager.astatus("chat", owner="a")
    assert info is not None
    assert info.error_code == "producer_lost"


@pytest.mark.lengthy
async def test_of_many_who_find_it_one_tells(
    short, manager: StreamManager, elsewhere: StreamManager, hear
):
    ends, taken_over = hear(stream_finalized), hear(process_taken_over)
    engines = [await engine_of(each) for each in (manager, elsewhere)]
    for number in range(5):
        key = StreamKey(tenant="default", generation=1, stream_id=f"s{number}")
        await die_producing(manager, key, b"x", lease=0.05)
    for engine in engines:
        judge(engine)
    await pass_time(0.1)
    await asyncio.gather(*(engine.takeover.take("dead") for engine in engines for _ in range(3)))
    await eventually(lambda: len(ends) >= 5)
    assert sorted(codes(ends)) == [(f"s{number}", "producer_lost") for number in range(5)]
    await eventually(lambda: taken_over)
    assert [(t["process"], t["held"], t["told"]) for t in taken_over] == [("dead", 5, 5)]


async def test_a_stream_that_had_ended_is_told_as_it_ended(
    short, manager: StreamManager, elsewhere: StreamManager, hear
):
    """The process died between the end and telling it."""
    ends = hear(stream_finalized)
    await engine_of(elsewhere)
    await manager.astatus("any", owner="a")
    info = await die_producing(manager, KEY, b"whole", lease=0.05)
    await get_engine(manager.alias).store.cancel(KEY, epoch=info.epoch)
    await eventually(lambda: ends)
    assert [(end["status"], end["error_code"], end["size"]) for end in ends] == [
        ("cancelled", "", 5)
    ]


async def test_what_was_deleted_under_a_dead_process_is_told_as_gone(
    short, manager: StreamManager, elsewhere: StreamManager, hear
):
    ends = hear(stream_finalized)
    await engine_of(elsewhere)
    await manager.astatus("any", owner="a")
    info = await die_producing(manager, KEY, b"x", lease=0.05)
    assert await manager.adelete("chat", owner="a")
    await eventually(lambda: ends)
    (end,) = ends
    assert (end["error_code"], end["owner"], end["epoch"]) == ("expired", None, info.epoch)


async def test_whoever_dies_telling_is_taken_over_too(
    short, manager: StreamManager, elsewhere: StreamManager, hear
):
    """At least once then; receivers may tell by the epoch."""
    ends = hear(stream_finalized)
    await engine_of(elsewhere)
    await manager.astatus("any", owner="a")
    info = await die_producing(manager, KEY, b"x", lease=0.2)
    table = get_engine(manager.alias).store.processes
    assert await table.move(holding_of(info), holder="dead", by="dead")
    await eventually(lambda: ends)
    assert codes(ends) == [("chat", "producer_lost")]


async def test_an_order_that_nobody_takes_is_told_though_nobody_reads_it(
    redis_manager: StreamManager, configure_redis: Configure, hear
):
    configure_redis(LEASE=LEASE, STORE_TIMEOUT=0.3, SWEEP=0.1)
    ends = hear(stream_finalized)
    await engine_of(redis_manager)
    reader = await redis_manager.aenqueue("chat", "no.such", owner="a", wait=0.2)
    reader.close()
    await eventually(lambda: ends)
    assert codes(ends) == [("chat", "producer_lost")]


# A process that was only silent.


async def test_an_order_that_is_joined_before_it_is_known_to_wait_is_no_orphan(
    short, manager: StreamManager, elsewhere: StreamManager, monkeypatch: pytest.MonkeyPatch
):
    engine, other = await engine_of(manager), await engine_of(elsewhere)
    judge(other)
    park, elected, go_on = engine.store.processes.park, asyncio.Event(), asyncio.Event()

    async def slowly(holder: str, holding: Holding, *, seconds: float) -> None:
        elected.set()
        await go_on.wait()
        await park(holder, holding, seconds=seconds)

    monkeypatch.setattr(engine.store.processes, "park", slowly)
    orders: list[str] = []
    ordering = asyncio.create_task(
        manager.aenqueue("chat", "no.such", owner="a", wait=30, through=orders.append)
    )
    await elected.wait()
    joined = await elsewhere.arun("chat", Tap(), owner="a")
    await eventually(lambda: not other.takeover.lasting.is_busy)
    go_on.set()
    reader = await ordering
    assert joined.info.epoch == reader.info.epoch
    info = await manager.astatus("chat", owner="a")
    assert orders
    assert info is not None
    assert info.is_streaming
    joined.close()
    reader.close()


async def test_a_process_that_was_taken_for_dead_stops_and_tells_nothing(
    short, manager: StreamManager, elsewhere: StreamManager, hear
):
    ends = hear(stream_finalized)
    tap = Tap(b"x")
    reader = await manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    engine = get_engine("default")
    await engine_of(elsewhere)
    process = await kill(engine)
    await eventually(lambda: ends)
    assert codes(ends) == [("chat", "producer_lost")]
    await engine.leases.beat()
    assert engine.leases.process != process
    await tap.closed.wait()
    with pytest.raises(StreamFailed, match="producer_lost"):
        await read_all(reader)
    await eventually(lambda: not engine.leases._producers)
    assert len(ends) == 1
    await read_all(await manager.arun("again", finished([b"y"]), owner="a"))  # under another name
    await eventually(lambda: len(ends) == 2)


async def test_a_process_that_hears_twice_at_once_that_it_was_judged_begins_anew_once(
    short, manager: StreamManager, elsewhere: StreamManager, hear
):
    ends = hear(stream_finalized)
    tap = Tap(b"x")
    reader = await manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    engine = get_engine("default")
    await engine_of(elsewhere)
    await kill(engine)
    await eventually(lambda: ends)
    await asyncio.gather(*(engine.leases.beat() for _ in range(5)))
    table, process = engine.store.processes, engine.leases.process
    await tap.closed.wait()
    await table.leave(process)  # it holds nothing: what was lost stays lost
    assert await table.fates([process]) == [Fate.UNKNOWN]
    await engine.leases.beat()
    assert len(ends) == 1


async def test_a_process_that_is_judged_while_it_starts_a_stream_calls_no_source(
    short, manager: StreamManager, elsewhere: StreamManager, hear, connect: Connect
):
    """A quiet source would never have learnt that its stream had ended."""
    ends, tap = hear(stream_finalized), Tap()
    await engine_of(elsewhere)
    engine = await engine_of(manager)

    async def freeze(**named: Any) -> None:
        await kill(engine)
        await eventually(lambda: ends)
        await engine.leases.beat()

    connect(stream_acquired, freeze)
    with pytest.raises(StoreUnavailable, match="taken for dead"):
        await manager.arun("chat", tap, owner="a")
    assert tap.calls == 0
    assert codes(ends) == [("chat", "producer_lost")]


async def test_a_producer_that_is_interrupted_before_its_first_step_ends_in_writing(
    short, manager: StreamManager, hear, connect: Connect
):
    ends, retiring = hear(stream_finalized), []
    engine = await engine_of(manager)

    async def retire(**named: Any) -> None:
        retiring.append(asyncio.create_task(engine.retire()))

    connect(stream_acquired, retire)
    await manager.arun("chat", Tap(b"x"), owner="a")
    await asyncio.gather(*retiring)
    assert codes(ends) == [("chat", "interrupted")]


async def test_an_outage_kills_nobody(
    redis_manager: StreamManager, configure_redis: Configure, hear, monkeypatch
):
    """Nobody is judged by those whose own heartbeats did not arrive."""
    configure_redis(LEASE=LEASE, STORE_TIMEOUT=3, SWEEP=0.1)
    ends = hear(stream_finalized)
    tap = Tap(b"x")
    reader = await redis_manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    engine, other = get_engine("default"), await engine_of(redis_manager.using("elsewhere"))
    await eventually(lambda: other.leases.can_judge)
    beats = [(each.store.processes, each.store.processes.beat) for each in (other, engine)]

    async def away(*args: Any, **named: Any) -> Any:
        raise StoreUnavailable("default")

    for table, _ in beats:
        monkeypatch.setattr(table, "beat", away)
    await eventually(lambda: other.leases._in_time_since is None)
    await pass_time(1.2 * LEASE)  # every lease is over
    for table, beat in beats:  # whoever could judge comes back first
        monkeypatch.setattr(table, "beat", beat)
    await eventually(lambda: other.leases.can_judge and engine.leases.can_judge)
    tap.end(b"y")
    assert await read_all(reader) == b"y"
    await eventually(lambda: ends)
    assert codes(ends) == [("chat", "")]


async def test_a_store_that_forgot_its_processes_costs_no_stream_and_no_end(
    redis_manager: StreamManager,
    configure_redis: Configure,
    redis_server: Redis,
    key_prefix: str,
    hear,
):
    configure_redis(LEASE=LEASE, STORE_TIMEOUT=0.3, SWEEP=0.1)
    ends = hear(stream_finalized)
    elsewhere = redis_manager.using("elsewhere")
    tap = Tap(b"x")
    reader = await redis_manager.arun("chat", tap, owner="a")
    follower = await elsewhere.arequire_resume("chat", owner="a")
    await read_until(follower, 1)
    other = await engine_of(elsewhere)
    await eventually(lambda: other.leases.can_judge)
    redis_server.delete(*redis_server.keys(f"{KeySpace(key_prefix).shared('')}*"))
    await pass_time(LEASE)
    await eventually(lambda: other.leases.can_judge)
    tap.end(b"y")
    assert await read_all(reader) == b"xy"
    assert await read_all(follower) == b"y"
    await eventually(lambda: ends)
    assert codes(ends) == [("chat", "")]


# An end that is decided once.


class Slow:
    """An async receiver that takes until it is let go, and counts how often it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def hear(self, **named: Any) -> None:
        self.told.append(named["error_code"])
        self.reached.set()
        await self.go_on.wait()


async def drain_while(slow: Slow) -> None:
    """Drain without grace while a receiver is at work; let it go once its producer is cancelled."""
    runtime.grace = 0
    (producing,) = runtime._tasks
    draining = asyncio.ensure_future(runtime.drain())
    await eventually(producing.cancelling)
    slow.go_on.set()
    await draining


async def test_a_drain_that_meets_a_slow_receiver_tells_the_end_once(
    manager: StreamManager, connect: Connect
):
    slow = Slow()
    connect(stream_finalized, slow.hear)
    reader = await manager.arun("chat", finished([b"x"]), owner="a")
    assert await read_all(reader) == b"x"
    await slow.reached.wait()
    await drain_while(slow)
    assert slow.told == [""]


async def test_a_drain_that_meets_a_failure_being_told_leaves_it_that_failure(
    manager: StreamManager, connect: Connect, hear
):
    slow, ends = Slow(), hear(stream_finalized)
    connect(stream_failed, slow.hear)
    reader = await manager.arun("chat", Tap(b"x", ValueError("no")), owner="a")
    with pytest.raises(StreamFailed, match="source_failed"):
        await read_all(reader)
    await slow.reached.wait()
    await drain_while(slow)
    assert slow.told == ["source_failed"]
    assert codes(ends) == [("chat", "source_failed")]
