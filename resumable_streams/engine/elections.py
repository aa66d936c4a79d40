"""Winning a stream: be elected, answer for it, and find a place for it among the live ones.

    acquire    the state is there for a moment: after a death here it evaporates
    hold       the process answers for it; or it waits for a worker, with a deadline
    reserve    it counts as live, and is listed
    confirm    it has its real TTL, and its producer may start

After a death behind the second step, another process takes over the stream and frees its place.
"""

import asyncio
from dataclasses import replace

from ..exceptions import StoreUnavailable, StreamLimitExceeded
from ..identifiers import holding_of
from ..producing.telling import Ending
from ..types import Acquisition, Claim, Holding, StreamInfo, StreamKey, StreamStatus, Terms
from . import Engine

__all__ = ["abandon", "elect", "secure"]

PLACE_SECONDS = 1.0
PLACE_AGAIN_SECONDS = 0.02
RECOUNTED = 100


async def elect(engine: Engine, key: StreamKey, claim: Claim, terms: Terms) -> Acquisition:
    """Acquire; an election whose answer was lost is found again, by its claim."""
    try:
        acquisition = await engine.store.acquire(key, claim, terms)
    except StoreUnavailable as error:
        if error.is_final:
            raise
        acquisition = await engine.store.acquire(key, claim, terms)
    engine.takeover.suspect([acquisition.info])
    return acquisition


async def secure(
    engine: Engine, info: StreamInfo, claim: Claim, terms: Terms, *, wait: float = 0
) -> StreamInfo:
    """Answer for a stream that we were elected for, and count it as live.

    With `wait` nobody does until a worker takes it, for so many seconds. Raises StreamLimitExceeded
    where a quota is reached, and StoreUnavailable; then nothing is left.
    """
    holding = holding_of(info)
    try:
        if wait:
            await engine.store.processes.park(info.holder, holding, seconds=wait)
        elif info.holder != engine.leases.process or not await engine.leases.hold(holding):
            raise StoreUnavailable(engine.settings.alias, "this process was taken for dead")
        await _reserve(engine, holding, terms.ttl)
        if not await engine.store.confirm(holding.key, claim):
            raise StoreUnavailable(engine.settings.alias, "the election took too long")
    except BaseException:
        await abandon(engine, info)
        raise
    return replace(info, ttl=terms.ttl, expires=info.expires - info.ttl + terms.ttl)


async def _reserve(engine: Engine, holding: Holding, ttl: float) -> None:
    """Count a stream as live; wait a moment where a place is about to come free.

    A cancelled or deleted stream keeps its place until its source is closed. Otherwise a visitor
    who starts and cancels could have any number of sources running.
    """
    late = engine.loop.time() + PLACE_SECONDS
    while True:
        others = engine.left_behind[holding.key.tenant, holding.owner_digest]
        try:
            await engine.store.reserve(holding, ttl=ttl, others=others)
            return
        except StreamLimitExceeded as error:
            if not await _has_room_soon(engine, holding, error.limit, error.value - others):
                raise
            if engine.loop.time() > late:
                raise
            await asyncio.sleep(PLACE_AGAIN_SECONDS)


async def _has_room_soon(engine: Engine, holding: Holding, limit: str, most: int) -> bool:
    """Free places whose streams have ended; return whether there is, or will be, room."""
    store = engine.store
    owner = holding.owner_digest if limit == "MAX_STREAMS_PER_OWNER" else None
    counted = await store.live(holding.key.tenant, owner, limit=RECOUNTED)
    outcomes = await store.status([one.key for one in counted])
    found = {info.epoch: info for info in outcomes if isinstance(info, StreamInfo)}
    await engine.takeover.end_orphans([info for info in found.values() if info.is_streaming])
    over, closing = [], 0
    for one in counted:
        info = found.get(one.epoch)
        if info is not None and info.status in (StreamStatus.DONE, StreamStatus.ERROR):
            over.append(one)
        elif info is None or not info.is_streaming:
            closing += 1
    await asyncio.gather(*(store.release(one) for one in over))
    # What was counted when we were refused may be free by now.
    return bool(over or closing) or len(counted) < min(most, RECOUNTED)


async def abandon(engine: Engine, info: StreamInfo, ending: Ending | None = None) -> None:
    """Leave nothing of a stream that we were elected for and that was not started.

    Its end is told if there is one to tell. A store that is away gets it later: we wait for that no
    longer than STORE_TIMEOUT.
    """
    holding = holding_of(info)

    async def leave_nothing() -> None:
        await engine.store.delete(holding.key, epoch=info.epoch)
        if ending is not None:
            await engine.tell(holding, ending, holder=info.holder)
            return
        await engine.store.release(holding)
        await engine.store.processes.drop(info.holder, holding)

    leaving = engine.see_to(leave_nothing, f"abandon {info.stream_id}")
    await asyncio.wait([leaving], timeout=engine.settings.store_timeout)
