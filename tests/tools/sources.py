"""Sources that a test holds in its hand."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from resumable_streams.process.runtime import runtime
from resumable_streams.testing import ScriptedSource

__all__ = ["Tap", "finished", "produced"]


class Tap(ScriptedSource):
    """A source that yields what it is given, when it is given, until it is told to end."""

    def __init__(self, *chunks: object):
        super().__init__(*chunks, is_held=True)


async def finished(chunks: Iterable[bytes | str]) -> AsyncIterator[bytes | str]:
    """Yield chunks one loop turn apart, then end."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


async def produced() -> None:
    """Return once every producer of this process has ended."""
    await asyncio.gather(*runtime._tasks)
