"""Handing a stream over: from the process that ordered it to a worker, and from one to the next.

The taker holds a stream before it owns it; the giver lets go only when it belongs to another. So
there is a holder at every step, and the end of a stream with two holders is told by one.
"""

import asyncio
from dataclasses import replace

from ..exceptions import StoreUnavailable, StreamClaimLost, StreamDoesNotExist, StreamError
from ..identifiers import holding_of
from ..producing.telling import ending_of
from ..stores.processes import new_waiting
from ..types import Claim, ErrorCode, Fate, StreamInfo, StreamKey, StreamStatus
from . import Engine

__all__ = ["end", "give_back", "take_over", "undo"]


async def take_over(engine: Engine, key: StreamKey, held: str, claim: Claim) -> StreamInfo:
    """Take a stream over from the holder of the claim `held`, or from a dead process.

    Raises StreamClaimLost where another process works on it, StreamFinalized, StreamDoesNotExist.
    """
    processes = engine.store.processes
    info = await engine.store.look(key)
    if info is None or info.epoch != claim.epoch:
        raise StreamDoesNotExist
    holding, before = holding_of(info), info.holder
    me, (fate,) = await engine.leases.ready(), await processes.fates([before])
    silent = "" if fate is Fate.LIVING else before
    if not await engine.leases.hold(holding):
        raise StreamClaimLost
    claim = replace(claim, holder=me)
    try:
        info = await engine.store.reclaim(key, held, claim, silent=silent)
    except StoreUnavailable:  # it may be ours: nobody else would end it while we live
        undo(engine, replace(info, holder=me), claim, Claim(token=held, epoch=claim.epoch))
        raise
    except StreamError:
        await processes.drop(me, holding)
        raise
    if before != me:
        await processes.drop(before, holding)
    return info


def undo(engine: Engine, info: StreamInfo, taken: Claim, held: Claim) -> None:
    """Have a stream that we may have taken wait for another process, once the store answers."""

    async def undo() -> None:
        try:
            await give_back(engine, info, taken, held, wait=2 * engine.settings.lease)
        except StoreUnavailable:
            raise
        except StreamError:  # it is another's, it ended before, or it is gone
            await engine.store.processes.drop(info.holder, holding_of(info))

    engine.see_to(undo, f"undo {info.stream_id}")


async def give_back(
    engine: Engine, info: StreamInfo, held: Claim, claim: Claim, *, wait: float
) -> StreamInfo:
    """Have a stream of ours wait for another process; our producer of it writes no more."""
    processes, holding, heir = engine.store.processes, holding_of(info), new_waiting()
    await processes.park(heir, holding, seconds=wait)
    try:
        given = await engine.store.reclaim(holding.key, held.token, replace(claim, holder=heir))
    except StoreUnavailable:  # it may be the heir's, whose deadline passes in any case
        raise
    except StreamError:
        await processes.drop(heir, holding)
        raise
    await processes.drop(info.holder, holding)
    return given


async def end(engine: Engine, info: StreamInfo, claim: Claim, code: ErrorCode) -> None:
    """End a stream that we hold and do not produce with an error, and tell it.

    Waits for a store that is away, even if the caller is cancelled: nobody else would end it while
    we live.
    """
    holding = holding_of(info)

    async def finalize() -> None:
        ended: StreamInfo | None
        try:
            ended = await engine.store.finalize(
                holding.key, claim, StreamStatus.ERROR, error_code=code
            )
        except StoreUnavailable:
            raise
        except StreamError:  # it ended before, or is gone
            found = await engine.store.look(holding.key)
            ended = found if found is not None and found.epoch == info.epoch else None
        await engine.tell(holding, ending_of(ended), holder=info.holder)

    await asyncio.shield(engine.see_to(finalize, f"end {info.stream_id}"))
