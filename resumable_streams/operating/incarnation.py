"""One incarnation of a stream, as an operator means it.

It is found in the generation it was acquired in, even if it was revoked or rotated away since. A
stream acquired later under the same id is another one.
"""

from typing import Any

from ..engine import get_engine
from ..signals import stream_cancelled, stream_deleted
from ..types import StreamInfo

__all__ = ["cancel_incarnation", "delete_incarnation"]


async def cancel_incarnation(
    alias: str, info: StreamInfo, *, request: Any = None
) -> StreamInfo | None:
    """End the incarnation that `info` is of as cancelled, if it runs; return its state then.

    None: it is gone. Stored bytes stay. Receivers are told as by `streams.cancel`; what they
    raise is logged.
    """
    engine, key = get_engine(alias), info.key
    ended = await engine.store.cancel(key, epoch=info.epoch)
    if ended is None:
        return None
    await engine.notify(
        stream_cancelled, key, info.owner, hook_errors="log", epoch=info.epoch, request=request
    )
    return ended


async def delete_incarnation(alias: str, info: StreamInfo, *, request: Any = None) -> bool:
    """Remove the incarnation that `info` is of; return whether it was still there.

    Its readers and its producer end. Receivers are told as by `streams.delete`; what they raise is
    logged.
    """
    engine, key = get_engine(alias), info.key
    if not await engine.store.delete(key, epoch=info.epoch):
        return False
    if not info.is_streaming:  # its readers watch nothing any more: they hear of it here
        await engine.store.announce(info.tenant)
    await engine.notify(
        stream_deleted, key, info.owner, hook_errors="log", epoch=info.epoch, request=request
    )
    return True
