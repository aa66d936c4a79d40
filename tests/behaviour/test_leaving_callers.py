"""Callers who leave in the middle: what they asked for is done as a whole, and told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import pytest

from resumable_streams import StreamManager
from resumable_streams.control import revoke
from resumable_streams.engine import get_engine
from resumable_streams.signals import stream_cancelled, stream_deleted, stream_finalized
from resumable_streams.types import StreamInfo, StreamKey, StreamStatus
from resumable_streams.workers import run_order

from ..tools.cancelling import DEEP, Cut, Outcome, at_every_await, cut
from ..tools.processes import die_producing, forget, judge
from ..tools.sources import Tap
from ..tools.waiting import eventually, pass_time

pytestmark = pytest.mark.lengthy

Hear = Callable[..., list[dict[str, Any]]]
ACTS = {"cancel": stream_cancelled, "delete": stream_deleted}


async def produce(stream_id: str) -> AsyncIterator[bytes]:
    yield b"abc"
    await asyncio.sleep(0)


PATH = f"{produce.__module__}.{produce.__qualname__}"


async def at_rest(alias: str = "default") -> None:
    await eventually(lambda: not get_engine(alias).lasting.is_busy)


@pytest.mark.parametrize("act", ACTS)
async def test_what_was_done_is_told_though_nobody_waits_for_it(
    manager: StreamManager, hear: Hear, act: str
):
    """A client that disconnects must not be able to end streams past the audit log."""
    heard = hear(ACTS[act])

    async def attempt(where: Cut) -> Outcome[Any]:
        tap = Tap()
        reader = await manager.arun(None, tap, owner="ada")
        outcome = await cut(getattr(manager, "a" + act)(reader.stream_id, owner="ada"), where)
        await at_rest()
        info = await manager.astatus(reader.stream_id, owner="ada")
        told = [one for one in heard if one["stream_id"] == reader.stream_id]
        assert len(told) == int(info is None or not info.is_streaming), where
        tap.end()
        return outcome

    await at_every_await(attempt)


async def test_a_revocation_that_is_in_force_reaches_every_process(
    manager: StreamManager, elsewhere: StreamManager
):
    async def attempt(where: Cut) -> Outcome[Any]:
        tap = Tap()
        reader = await elsewhere.arun(None, tap, owner="ada")
        outcome = await cut(revoke("default", "default", "ada"), where)
        if await manager.astatus(reader.stream_id, owner="ada") is None:
            await eventually(tap.closed.is_set)
        tap.end()
        return outcome

    await at_every_await(attempt)


async def test_an_order_is_carried_out_or_waits_or_ends_and_is_never_nobodys(
    manager: StreamManager,
):
    async def attempt(where: Cut) -> Outcome[Any]:
        orders: list[str] = []
        reader = await manager.aenqueue(None, PATH, owner="ada", through=orders.append)
        outcome = await cut(run_order("default", orders[0]), where)
        await at_rest()

        async def is_over_or_waits() -> bool:
            info = await manager.astatus(reader.stream_id, owner="ada")
            assert info is not None
            return not info.is_streaming or info.holder == reader.info.holder

        await eventually(is_over_or_waits)
        info = await manager.astatus(reader.stream_id, owner="ada")
        assert info is not None
        if info.is_streaming:
            assert await run_order("default", orders[0])
        else:
            assert info.status is StreamStatus.DONE or info.error_code == "interrupted"
        return outcome

    await at_every_await(attempt, DEEP)


async def orphan(manager: StreamManager, name: str) -> StreamInfo:
    """Leave a stream of which the store does not know any more who held it."""
    key = StreamKey(tenant="default", generation=1, stream_id=name)
    info = await die_producing(manager, key, b"abc", lease=60, process=name)
    await forget(get_engine("default").store, name)
    for engine in map(get_engine, ("default", "elsewhere")):
        await engine.leases.ready()
        judge(engine)
    return info


async def test_whoever_finds_an_orphan_again_by_an_older_look_does_not_tell_it_again(
    manager: StreamManager, hear: Hear
):
    told = hear(stream_finalized)
    info = await orphan(manager, "lost")
    engines = [get_engine(alias) for alias in ("default", "elsewhere")]
    for _ in range(2):
        await asyncio.gather(*(one.takeover.end_orphans([info]) for one in engines * 2))
    assert [one["epoch"] for one in told] == [info.epoch]


async def test_an_orphan_is_told_once_whoever_leaves_meanwhile(manager: StreamManager, hear: Hear):
    told, takeover = hear(stream_finalized), get_engine("default").takeover
    names = (f"lost-{number}" for number in count())

    async def attempt(where: Cut) -> Outcome[Any]:
        info = await orphan(manager, next(names))
        outcome = await cut(takeover.end_orphans([info]), where)
        await eventually(lambda: not takeover.lasting.is_busy)
        await get_engine("elsewhere").takeover.end_orphans([info])
        assert [one["epoch"] for one in told].count(info.epoch) == 1, where
        return outcome

    await at_every_await(attempt, DEEP)


async def test_what_a_dead_process_held_is_told_once_whoever_leaves_meanwhile(
    manager: StreamManager, hear: Hear
):
    """Of an end that is one's own to tell, and is not told, nobody hears while one lives."""
    told, engine = hear(stream_finalized), get_engine("default")
    names = (f"dead-{number}" for number in count())
    await engine.leases.ready()

    async def attempt(where: Cut) -> Outcome[Any]:
        name = next(names)
        key = StreamKey(tenant="default", generation=1, stream_id=name)
        info = await die_producing(manager, key, b"abc", lease=0.001, process=name)
        await pass_time(0.002)
        outcome = await cut(engine.takeover.take(name), where)
        await eventually(lambda: not engine.takeover.lasting.is_busy)
        if not (await engine.store.look(key)).is_streaming:  # type: ignore[union-attr]
            assert [one["epoch"] for one in told].count(info.epoch) == 1, where
        return outcome

    await at_every_await(attempt, DEEP)
