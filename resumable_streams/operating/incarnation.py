"""One incarnation of a stream, as an operator means it.

It is found where it was acquired, whatever has been revoked or rotated since, and what somebody has
acquired under the same id since is another one.
"""

from typing import Any

from ..engine import Engine, get_engine
from ..signals import StreamSignal, stream_cancelled, stream_deleted
from ..types import StreamInfo

__all__ = ["cancel_incarnation", "delete_incarnation"]


async def cancel_incarnation(
    alias: str, info: StreamInfo, *, request: Any = None
) -> StreamInfo | None:
    """End the incarnation that `info` is of as cancelled, if it runs; return its state then.

    None: it is gone. What was written stays. Receivers are told as by `streams.cancel`; what they
    raise is logged.
    """
    engine, key = get_engine(alias), info.key
    ended = await engine.store.cancel(key, epoch=info.epoch)
    if ended is None:
        return None
    await _notify(stream_cancelled, engine, info, request)
    return ended


async def delete_incarnation(alias: str, info: StreamInfo, *, request: Any = None) -> bool:
    """Remove the incarnation that `info` is of; return whether it was still there.

    Its readers and its producer end. Receivers are told as by `streams.delete`; what they raise is
    logged.
    """
    engine, key = get_engine(alias), info.key
    if not await engine.store.delete(key, epoch=info.epoch):
        return False
    if (
        not info.is_streaming
    ):  # readers of what had ended watch nothing any more: they hear of it here
        await engine.store.announce(info.tenant)
    await _notify(stream_deleted, engine, info, request)
    return True


async def _notify(signal: StreamSignal, engine: Engine, info: StreamInfo, request: Any) -> None:
    if signal.receivers:
        await signal.notify(
            type(engine.store),
            hook_errors="log",
            alias=engine.settings.alias,
            tenant=info.tenant,
            generation=info.generation,
            stream_id=info.stream_id,
            owner=info.owner,
            epoch=info.epoch,
            request=request,
        )
