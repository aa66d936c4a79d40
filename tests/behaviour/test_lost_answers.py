"""The store does what it is asked, and its answer is lost, where only the asker can go on.

Whatever it was, the stream ends or goes on, in writing, and its end is told once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from resumable_streams import StoreUnavailable, StreamFailed, StreamInfo, StreamManager
from resumable_streams.control import revoke
from resumable_streams.engine import Engine, get_engine
from resumable_streams.signals import stream_failed, stream_finalized
from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.types import StreamKey
from resumable_streams.workers import Worker
from tests.tools.lengthy import takes_time
from tests.tools.processes import die_producing, forget, judge
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap
from tests.tools.streams import Configure
from tests.tools.waiting import eventually

HERE = __name__
KEY = StreamKey(tenant="default", generation=1, stream_id="chat")
SHORT = {"LEASE": 0.6, "STORE_TIMEOUT": 0.3, "SWEEP": 0.1}

Verb = Callable[..., Awaitable[Any]]


@pytest.fixture
@takes_time
def short(configure: Configure) -> None:
    configure(**SHORT)


@pytest.fixture
@takes_time
def short_redis(configure_redis: Configure) -> None:
    configure_redis(**SHORT)


def lose_answers(store: BaseStore, verb: str, times: int) -> None:
    """Have a verb do what it is asked, and lose so many answers."""
    real: Verb = getattr(store, verb)
    lost = iter(range(times))

    async def losing(*args: Any, **named: Any) -> Any:
        answer = await real(*args, **named)
        if next(lost, None) is not None:
            raise StoreUnavailable("default")
        return answer

    setattr(store, verb, losing)


def take_away(engine: Engine) -> Callable[[], None]:
    """Have the store fail whatever it is asked; return what brings it back."""
    away = [True]
    verbs = [(engine.store, verb) for verb in ("status", "read", "append", "finalize", "reap")]
    for owner, verb in [*verbs, (engine.store.processes, "beat")]:
        _fail_while(away, owner, verb)
    return away.clear


def _fail_while(away: list[bool], owner: Any, verb: str) -> None:
    real: Verb = getattr(owner, verb)

    async def failing(*args: Any, **named: Any) -> Any:
        if away:
            raise StoreUnavailable("default")
        return await real(*args, **named)

    setattr(owner, verb, failing)


async def state(alias: str = "default") -> StreamInfo:
    info = await get_engine(alias).store.look(KEY)
    assert info is not None
    return info


async def silent(stream_id: str) -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def whole(stream_id: str) -> AsyncIterator[bytes]:
    yield b"whole"


async def test_a_quiet_source_that_outlives_a_long_outage_ends_in_writing(
    short: None, manager: StreamManager, hear
):
    """Its readers were told that the store is away; it came back before the producer had ended."""
    ends, failures, tap = hear(stream_finalized), hear(stream_failed), Tap(b"x")
    reader = await manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    come_back = take_away(get_engine("default"))
    with pytest.raises(StoreUnavailable):
        await anext(reader)
    come_back()
    await eventually(lambda: ends)
    info = await state()
    assert (info.status, info.error_code) == ("error", "store_unavailable")
    assert [end["error_code"] for end in ends] == ["store_unavailable"]
    assert [failure["error_code"] for failure in failures] == ["store_unavailable"]


async def test_a_revoked_stream_ends_though_its_cancelling_failed(
    short: None, manager: StreamManager, hear
):
    ends, tap = hear(stream_finalized), Tap(b"x")
    reader = await manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)

    async def cancel(*args: Any, **named: Any) -> None:
        raise StoreUnavailable("default")

    get_engine("default").store.cancel = cancel  # type: ignore[method-assign]
    await revoke("default", "default", "a")
    with pytest.raises(StreamFailed, match="expired"):
        await anext(reader)
    await eventually(lambda: ends)
    info = await state()
    assert (info.status, info.error_code) == ("error", "expired")
    assert [end["error_code"] for end in ends] == ["expired"]


async def test_an_end_whose_answer_is_lost_is_told_as_it_was_written(
    short: None, manager: StreamManager, hear
):
    ends, failures, tap = hear(stream_finalized), hear(stream_failed), Tap(b"x")
    await read_until(await manager.arun("chat", tap, owner="a"), 1)
    lose_answers(get_engine("default").store, "finalize", 1_000)
    tap.end()
    await eventually(lambda: ends)
    assert (await state()).status == "done"
    assert [(end["status"], end["error_code"]) for end in ends] == [("done", "")]
    assert failures == []


async def test_an_orphan_whose_end_was_not_answered_for_longer_than_a_lease_is_told(
    short: None, manager: StreamManager, hear
):
    ends = hear(stream_finalized)
    await manager.astatus("chat", owner="a")
    engine = get_engine("default")
    await engine.leases.ready()
    await die_producing(manager, KEY, b"half", lease=60)
    await forget(engine.store, "dead")
    lose_answers(engine.store, "reap", 10)
    judge(engine)
    assert await engine.takeover.end_orphans([await state()]) == 0
    assert not ends
    await eventually(lambda: ends)
    assert [end["error_code"] for end in ends] == ["producer_lost"]


@pytest.mark.parametrize("times", [1, 2])
async def test_an_order_whose_taking_over_was_not_answered_is_produced(
    short_redis: None, redis_manager: StreamManager, hear, times: int
):
    """The worker may have the claim without knowing: it lives, so nobody takes that from it."""
    ends = hear(stream_finalized)
    reader = await redis_manager.aenqueue("chat", f"{HERE}.whole", owner="a", wait=30)
    await redis_manager.using("elsewhere").astatus("chat", owner="a")
    lose_answers(get_engine("elsewhere").store, "reclaim", times)
    worker = Worker("elsewhere", name="w1")
    working = asyncio.create_task(worker.run())
    assert await read_all(reader) == b"whole"
    await eventually(lambda: ends)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert [end["status"] for end in ends] == ["done"]


async def test_an_order_whose_giving_back_was_not_answered_ends(
    short_redis: None, redis_manager: StreamManager, hear
):
    """It waits for nobody who knows of it: its time to wait ends it, and that is told."""
    ends = hear(stream_finalized)
    reader = await redis_manager.aenqueue("chat", f"{HERE}.silent", owner="a", wait=1)
    await redis_manager.using("elsewhere").astatus("chat", owner="a")
    engine, worker = get_engine("elsewhere"), Worker("elsewhere", name="w1")
    working = asyncio.create_task(worker.run())
    await eventually(lambda: worker.counts.produced)
    lose_answers(engine.store, "reclaim", 1)
    queue = engine.store.queue("w1")
    assert queue is not None
    await worker._hand_over(engine, queue)
    assert (await state()).is_streaming
    with pytest.raises(StreamFailed, match="producer_lost"):
        await read_all(reader)
    await eventually(lambda: ends)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert [end["error_code"] for end in ends] == ["producer_lost"]


def lose_answer_of_script(store: BaseStore, script: str) -> None:
    """Have the store run a script, and lose the first answer."""
    assert isinstance(store, RedisStore)
    real, lost = store._run, [True]

    async def running(name: str, *args: Any, **named: Any) -> Any:
        answer = await real(name, *args, **named)
        if name == script and lost:
            lost.clear()
            raise StoreUnavailable("default")
        return answer

    store._run = running  # type: ignore[method-assign]


async def quiet_producer(manager: StreamManager) -> BaseStore:
    """Start a stream whose source is quiet; return the store of another process."""
    await read_until(await manager.arun("chat", Tap(b"x"), owner="a"), 1)
    await manager.using("elsewhere").astatus("chat", owner="a")
    return get_engine("elsewhere").store


@pytest.mark.parametrize("verb", ["cancel", "delete"])
async def test_a_quiet_producer_hears_of_its_end_though_who_ended_it_got_no_answer(
    redis_manager: StreamManager, hear, verb: str
):
    ends = hear(stream_finalized)
    lose_answer_of_script(await quiet_producer(redis_manager), verb)
    with pytest.raises(StoreUnavailable):
        await getattr(redis_manager.using("elsewhere"), f"a{verb}")("chat", owner="a")
    await eventually(lambda: ends)


async def test_a_cancel_that_is_repeated_is_announced_again(
    redis_manager: StreamManager, hear, monkeypatch
):
    """The first one was neither answered nor announced."""
    monkeypatch.setattr("resumable_streams.stores.redis.store.ANNOUNCE_SECONDS", 0)
    ends = hear(stream_finalized)
    store = await quiet_producer(redis_manager)
    lose_answer_of_script(store, "cancel")
    announce, failed = store.announce, asyncio.Event()

    async def fail(about: str | StreamKey) -> None:
        failed.set()
        raise StoreUnavailable("default")

    store.announce = fail  # type: ignore[method-assign]
    elsewhere = redis_manager.using("elsewhere")
    with pytest.raises(StoreUnavailable):
        await elsewhere.acancel("chat", owner="a")
    await failed.wait()
    store.announce = announce  # type: ignore[method-assign]
    assert not ends
    await elsewhere.acancel("chat", owner="a")
    await eventually(lambda: ends)
    assert [end["status"] for end in ends] == ["cancelled"]


async def test_an_order_that_the_queue_did_not_take_is_told_as_that(
    redis_manager: StreamManager, hear
):
    ends = hear(stream_finalized)
    await redis_manager.astatus("chat", owner="a")
    store = get_engine("default").store
    assert isinstance(store, RedisStore)
    real = store._eval

    async def failing(name: str, *args: Any, **named: Any) -> Any:
        if name == "put":
            raise StoreUnavailable("default")
        return await real(name, *args, **named)

    store._eval = failing  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await redis_manager.aenqueue("chat", f"{HERE}.whole", owner="a")
    await eventually(lambda: ends)
    assert [end["error_code"] for end in ends] == ["store_unavailable"]
