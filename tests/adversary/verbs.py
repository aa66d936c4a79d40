"""Every verb whose caller may leave in the middle, and what may have come of it then.

Cancelled, a verb has happened or not: what is there is as before or as after.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from resumable_streams import StreamDoesNotExist, StreamLimitExceeded, StreamManager
from resumable_streams import signals as s
from resumable_streams.control import retire, revoke, rotate
from resumable_streams.control.saved import in_database, namespace_model
from resumable_streams.engine import Engine, get_engine
from resumable_streams.operating.bulk import Progress, StreamBatches, purge, shorten
from resumable_streams.operating.bulk import cancel as cancel_each
from resumable_streams.operating.selection import Selection
from resumable_streams.types import ErrorCode, StreamInfo, StreamStatus
from resumable_streams.workers import run_order

from ..tools.cancelling import Cut, Outcome
from ..tools.processes import die_producing, forget, judge
from ..tools.readers import read_all
from ..tools.sources import Tap
from ..tools.waiting import eventually
from .interrupted import PLACES, Refusal, Stream, World

__all__ = ["IDS", "OWNERS", "VERBS", "Step"]

IDS = ("a", "b")
OWNERS = ("ada", "eve")
BODY = b"some bytes"
SLOT = "chat:42"
LEASE = 30.0


async def produce(stream_id: str) -> AsyncIterator[bytes]:
    """Be what an order names."""
    yield BODY
    await asyncio.sleep(0)
    yield BODY


PATH = f"{produce.__module__}.{produce.__qualname__}"


@dataclass(frozen=True, slots=True)
class Step:
    """One verb on one stream, in the name of somebody, in one of two processes."""

    verb: str
    stream_id: str
    owner: str
    alias: str
    cut: Cut

    @property
    def streams(self) -> StreamManager:
        return StreamManager(self.alias)

    @property
    def engine(self) -> Engine:
        return get_engine(self.alias)

    async def take(self, world: World) -> None:
        """Do it, and hold the world to what may have come of it."""
        await VERBS[self.verb](self, world)
        await world.settle()


Verb = Callable[[Step, World], Awaitable[None]]
VERBS: dict[str, Verb] = {}


def verb(function: Verb) -> Verb:
    VERBS[function.__name__] = function
    return function


async def call(step: Step, world: World, work: Any) -> Outcome[Any]:
    return await world.call(step.verb, work, step.cut)


def whose(step: Step, world: World) -> dict[str, Any]:
    return {"owner": step.owner, "tenant": world.tenant}


def is_theirs(step: Step, stream: Stream | None) -> bool:
    return stream is not None and stream.info.owner == step.owner


# Elections.


@verb
async def run(step: Step, world: World) -> None:
    before, tap = await reached(step, world), Tap()
    places = PLACES - sum(one.is_live and one.dead is None for one in world.streams)
    work = step.streams.arun(step.stream_id, tap, **whose(step, world))
    outcome = await call(step, world, work)
    info = await world.look(step.stream_id)
    if before is not None and (is_theirs(step, before) or isinstance(outcome.error, Exception)):
        check_joined(step, before, info, outcome, tap)
    elif info is None:
        assert outcome.is_cancelled or (
            isinstance(outcome.error, StreamLimitExceeded) and places <= 0
        ), outcome
        assert not tap.calls
    elif before is None or info.epoch != before.info.epoch:
        assert places > 0
        world.streams.append(Stream(info, tap))
        await eventually(tap.opened.is_set)


async def reached(step: Step, world: World) -> Stream | None:
    """Return the stream that an id leads to; one's own that is revoked is in nobody's way."""
    found = await world.find(step.stream_id)
    is_in_nobodys_way = is_theirs(step, found) and found and await world.is_barred(found)
    return None if is_in_nobodys_way else found


def check_joined(
    step: Step, before: Stream, info: StreamInfo | None, outcome: Outcome[Any], tap: Tap
) -> None:
    """Hold a `run` to it that the stream was there before, and is somebody's."""
    assert info is not None
    assert info.epoch == before.info.epoch
    assert not tap.calls
    if is_theirs(step, before):
        outcome.result()
    else:
        assert outcome.is_cancelled or isinstance(outcome.error, StreamDoesNotExist)


@verb
async def run_in_slot(step: Step, world: World) -> None:
    """Replace the live stream of a slot; whoever leaves, one stream of the slot runs at most."""
    if await reached(step, world) is not None:
        return
    tap = Tap()
    work = step.streams.arun(
        step.stream_id, tap, **whose(step, world), slot=SLOT, on_busy="replace"
    )
    outcome = await call(step, world, work)
    info = await world.look(step.stream_id)
    if info is not None:
        world.streams.append(Stream(info, tap))
        await eventually(tap.opened.is_set)
    else:
        assert outcome.is_cancelled or isinstance(outcome.error, StreamLimitExceeded), outcome
    infos = [await world.look(stream_id) for stream_id in IDS]
    mine = [one for one in infos if one and (one.owner, one.slot) == (step.owner, SLOT)]
    assert sum(one.is_streaming for one in mine) <= 1
    active = await step.streams.aactive(SLOT, **whose(step, world))
    is_live = info is not None and info.is_streaming
    assert not is_live or (active is not None and active.stream_id == step.stream_id)


@verb
async def run_refused(step: Step, world: World) -> None:
    """A receiver refuses the stream: nothing is left of it."""
    before, tap = await reached(step, world), Tap()
    world.is_refusing = True
    work = step.streams.arun(step.stream_id, tap, **whose(step, world))
    outcome = await call(step, world, work)
    world.is_refusing = False
    after = await world.look(step.stream_id)
    assert (after and after.epoch) == (before and before.info.epoch)
    assert not tap.calls
    if before is None and not isinstance(outcome.error, StreamLimitExceeded):
        assert outcome.is_cancelled or isinstance(outcome.error, Refusal), outcome


@verb
async def enqueue(step: Step, world: World) -> None:
    before, orders = await reached(step, world), list[str]()
    work = step.streams.aenqueue(
        step.stream_id, PATH, **whose(step, world), wait=60, through=orders.append
    )
    outcome = await call(step, world, work)
    info = await world.look(step.stream_id)
    if before is not None:
        assert info is not None
        assert info.epoch == before.info.epoch
        assert not orders
    elif info is not None:
        (order,) = orders
        world.streams.append(Stream(info, order=order))
    else:
        assert not orders
        assert outcome.is_cancelled or isinstance(outcome.error, StreamLimitExceeded)


@verb
async def order_is_run(step: Step, world: World) -> None:
    """The order is carried out, or waits as before, or ended in writing."""
    stream = next((one for one in world.streams if one.order and one.is_live), None)
    if stream is None:
        return
    assert stream.order is not None
    outcome = await call(step, world, run_order(step.alias, stream.order))
    await eventually(lambda: is_nobodys_or_over(stream))
    info = await get_engine("default").store.look(stream.info.key)
    assert info is not None
    if info.status is StreamStatus.DONE:
        assert info.size == len(2 * BODY)
    elif info.status is StreamStatus.CANCELLED:
        assert await world.is_barred(stream)
    else:  # not taken, so that the next worker can, or ended in writing
        assert outcome.is_cancelled
        assert info.is_streaming or info.error_code == ErrorCode.INTERRUPTED


async def is_nobodys_or_over(stream: Stream) -> bool:
    info = await get_engine("default").store.look(stream.info.key)
    return info is None or not info.is_streaming or info.holder == stream.info.holder


# Production.


@verb
async def give(step: Step, world: World) -> None:
    stream = await world.find(step.stream_id)
    if stream is not None and stream.is_produced:
        await write(stream)


async def write(stream: Stream) -> None:
    before = stream.info.size
    stream.tap.give(BODY)
    await eventually(lambda: has_grown(stream, before))


async def has_grown(stream: Stream, before: int) -> bool:
    info = await get_engine("default").store.look(stream.info.key)
    return info is None or info.size > before or not info.is_streaming


@verb
async def end(step: Step, world: World) -> None:
    stream = await world.find(step.stream_id)
    if stream is not None and stream.is_produced:
        stream.tap.end()
        await eventually(lambda: has_ended(stream))


async def has_ended(stream: Stream) -> bool:
    info = await get_engine("default").store.look(stream.info.key)
    return info is None or not info.is_streaming


async def open_to(step: Step, world: World) -> Stream | None:
    """Return the stream that an id leads to, if no control ends it."""
    found = await world.find(step.stream_id)
    return None if found is None or await world.is_barred(found) else found


# Reading.


@verb
async def resume(step: Step, world: World) -> None:
    """Who was cut off while he read has lost nothing, and holds nothing once he has closed."""
    stream = await open_to(step, world)
    outcome = await call(step, world, step.streams.aresume(step.stream_id, **whose(step, world)))
    reader = outcome.result()
    assert (reader is not None) <= is_theirs(step, stream)


@verb
async def read(step: Step, world: World) -> None:
    stream = await open_to(step, world)
    reader = await step.streams.aresume(step.stream_id, **whose(step, world), live=False)
    assert (reader is not None) is is_theirs(step, stream)
    if reader is None or stream is None:
        return
    failed = stream.info.status is StreamStatus.ERROR
    first = await call(step, world, anext(reader, b""))
    if not failed:
        data = (first.result() or b"") + await read_all(reader)
        assert data == BODY * (stream.info.size // len(BODY))
    reader.close()


@verb
async def read_live(step: Step, world: World) -> None:
    stream = await open_to(step, world)
    reader = await step.streams.aresume(step.stream_id, **whose(step, world))
    if reader is None or stream is None or not stream.is_produced:
        return
    first = await call(step, world, first_of(reader, stream))
    data = first.result() or b""
    await write(stream)
    size = reader.offset
    while reader.offset < stream.info.size + len(BODY):
        data += await anext(reader)
    assert data.startswith(BODY)
    assert len(data) + size - len(first.result() or b"") == reader.offset
    reader.close()


async def first_of(reader: Any, stream: Stream) -> bytes:
    if not stream.info.size:
        stream.tap.give(BODY)
    data: bytes = await anext(reader)
    return data


@verb
async def status(step: Step, world: World) -> None:
    stream = await open_to(step, world)
    outcome = await call(step, world, step.streams.astatus(step.stream_id, **whose(step, world)))
    assert (outcome.result() is not None) <= is_theirs(step, stream)


@verb
async def sign(step: Step, world: World) -> None:
    stream = await open_to(step, world)
    outcome = await call(step, world, step.streams.asign(step.stream_id, **whose(step, world)))
    assert outcome.is_cancelled or isinstance(outcome.value, str) is is_theirs(step, stream)


# Ends.


@verb
async def cancel(step: Step, world: World) -> None:
    stream = await open_to(step, world)
    was_live, heard = stream is not None and stream.is_live, told(world, stream, s.stream_cancelled)
    outcome = await call(step, world, step.streams.acancel(step.stream_id, **whose(step, world)))
    outcome.result()
    info = await world.look(step.stream_id)
    if stream is None or info is None or not is_theirs(step, stream):
        return
    assert not info.is_streaming or outcome.is_cancelled
    if was_live and not info.is_streaming:
        assert info.status is StreamStatus.CANCELLED
        assert told(world, stream, s.stream_cancelled) == heard + 1


@verb
async def delete(step: Step, world: World) -> None:
    stream = await open_to(step, world)
    info = await world.look(step.stream_id)
    before = info and info.epoch
    outcome = await call(step, world, step.streams.adelete(step.stream_id, **whose(step, world)))
    outcome.result()
    info = await world.look(step.stream_id)
    if stream is None or not is_theirs(step, stream):
        assert (info and info.epoch) == before
    else:
        assert outcome.is_cancelled or info is None
        assert told(world, stream, s.stream_deleted) == int(info is None)


def told(world: World, stream: Stream | None, signal: s.StreamSignal) -> int:
    return 0 if stream is None else world.told[signal][stream.info.epoch]


# What governs many streams at once.


@verb
async def revoke_owner(step: Step, world: World) -> None:
    outcome = await call(step, world, revoke(step.alias, world.tenant, step.owner))
    outcome.result()
    if not outcome.is_cancelled:
        assert not await step.streams.astatus(step.stream_id, **whose(step, world))


@verb
async def rotate_tenant(step: Step, world: World) -> None:
    before = await world.generation()
    outcome = await call(step, world, rotate("default", world.tenant))
    after = await world.generation()
    assert after in ((before, before + 1) if outcome.is_cancelled else (outcome.result(),))
    assert after == 1 or after == (await row(world)).generation


@verb
async def retire_tenant(step: Step, world: World) -> None:
    ttl = {"ada": 3_600.0, "eve": 7_200.0}[step.owner]
    before = (await step.engine.store.get_control(world.tenant, "ada")).ttl
    outcome = await call(step, world, retire("default", world.tenant, ttl=ttl))
    outcome.result()
    after = (await step.engine.store.get_control(world.tenant, "ada")).ttl
    assert after in ((before, ttl) if outcome.is_cancelled else (ttl,))
    assert after is None or (await row(world)).ttl == after


async def row(world: World) -> Any:
    rows = namespace_model().objects
    return await in_database(lambda: rows.get(alias="default", tenant=world.tenant))


def chosen(step: Step, world: World) -> StreamBatches:
    return StreamBatches(step.engine.store, Selection(tenant=world.tenant, owner=step.owner))


@verb
async def purge_owner(step: Step, world: World) -> None:
    outcome = await call(step, world, purge(chosen(step, world), Progress()))
    outcome.result()
    found = await world.find(step.stream_id)
    assert outcome.is_cancelled or not is_theirs(step, found)


@verb
async def cancel_owner(step: Step, world: World) -> None:
    outcome = await call(step, world, cancel_each(chosen(step, world), Progress()))
    outcome.result()
    found = await world.find(step.stream_id)
    if found is not None and is_theirs(step, found):
        assert outcome.is_cancelled or not found.is_live


@verb
async def shorten_owner(step: Step, world: World) -> None:
    (await call(step, world, shorten(chosen(step, world), Progress(), ttl=3_600))).result()


@verb
async def enforce(step: Step, world: World) -> None:
    (await call(step, world, step.engine.enforce_control(step.engine.hub.tails))).result()


# Processes.


@verb
async def die(step: Step, world: World) -> None:
    """A process is elected, writes, and is no more; nothing is cancelled here."""
    if await world.find(step.stream_id) is None and step.engine.leases._is_known:
        name = f"dead-{len(world.streams)}"
        key = await world.key(step.stream_id)
        info = await die_producing(
            step.streams, key, BODY, lease=LEASE, process=name, owner=step.owner
        )
        world.streams.append(Stream(info, dead=name))


@verb
async def take_over(step: Step, world: World) -> None:
    """Whoever takes over may be cancelled: the next one finishes it, and nothing is told twice."""
    stream = next((one for one in world.streams if one.dead and not one.is_lost), None)
    if stream is None or stream.dead is None:
        return
    for work in (call(step, world, step.engine.takeover.take(stream.dead)), finish(stream)):
        world.pass_deadlines(stream.dead)
        await work


async def finish(stream: Stream) -> None:
    assert stream.dead is not None
    await get_engine("elsewhere").leases.ready()
    await get_engine("elsewhere").takeover.take(stream.dead)


@verb
async def end_orphan(step: Step, world: World) -> None:
    """The store lost what a dead process held: whoever finds the stream ends it, and tells."""
    dead = [one for one in world.streams if one.dead and one.is_live and not one.is_lost]
    for stream in dead:
        await forget(step.engine.store, stream.dead or "")
        stream.is_lost = True
    infos = [one.info for one in world.streams if one.is_lost]
    await step.engine.leases.ready()
    judge(step.engine)
    await call(step, world, step.engine.takeover.end_orphans(infos))
    judge(get_engine("elsewhere"))
    await finish_orphans(infos)


async def finish_orphans(infos: list[StreamInfo]) -> None:
    """Have those who find it later, and with an older look at it, do the same."""
    await get_engine("elsewhere").leases.ready()
    for alias in ("elsewhere", "default"):
        judge(get_engine(alias))
    both = (get_engine(alias).takeover.end_orphans(infos) for alias in ("elsewhere", "default"))
    await asyncio.gather(*both)


@verb
async def beat(step: Step, world: World) -> None:
    (await call(step, world, step.engine.leases.beat())).result()


@verb
async def settle_in(step: Step, world: World) -> None:
    """A process announces itself, or finds that it has."""
    (await call(step, world, step.engine.leases.ready())).result()
