"""Sources that a test holds in its hand."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from resumable_streams.process.runtime import runtime

__all__ = ["Tap", "finished", "produced"]


class Tap:
    """A source that yields what it is given, when it is given; `calls` counts its users."""

    def __init__(self, *chunks: object):
        self.calls = 0
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self._chunks: asyncio.Queue[object] = asyncio.Queue()
        self.give(*chunks)

    def __call__(self) -> AsyncIterator[bytes]:
        self.calls += 1
        return self._flow()

    async def _flow(self) -> AsyncIterator[bytes]:
        self.opened.set()
        try:
            while (chunk := await self._chunks.get()) is not None:
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk  # type: ignore[misc]
        finally:
            self.closed.set()

    def give(self, *chunks: object) -> None:
        """Yield these; an exception is raised instead."""
        for chunk in chunks:
            self._chunks.put_nowait(chunk)

    def end(self, *chunks: object) -> None:
        """Yield these, then end."""
        self.give(*chunks, None)


async def finished(chunks: Iterable[bytes | str]) -> AsyncIterator[bytes | str]:
    """Yield chunks one loop turn apart, then end."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


async def produced() -> None:
    """Return once every producer of this process has ended."""
    await asyncio.gather(*runtime._tasks)
