"""The streams that a change of control makes unreachable: a count, for the operator."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..types import StreamInfo
from .bulk import Progress, StreamBatches

__all__ = ["Affected", "count_affected"]


@dataclass(slots=True, kw_only=True)
class Affected:
    """The number of streams that become unreachable, and of those that were seen running."""

    streams: int = 0
    running: int = 0
    is_complete: bool = False


async def count_affected(
    batches: StreamBatches,
    progress: Progress,
    affected: Affected,
    is_affected: Callable[[StreamInfo], Awaitable[bool]],
) -> None:
    """Count the streams for which `is_affected` holds; an interruption leaves a part of the count.

    Readers are not counted: each process knows its own, and the store knows none.
    """
    async for batch in batches.batches(with_state=True, once=True):
        found = [one.info for one in batch if one.info and await is_affected(one.info)]
        affected.streams += len(found)
        affected.running += sum(info.is_streaming for info in found)
        progress.add(len(batch), 0)
    affected.is_complete = True
