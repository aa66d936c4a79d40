"""What workers of the tests produce: imported by them under its dotted path."""

import asyncio
from collections.abc import AsyncIterator

from resumable_streams.process.runtime import runtime

__all__ = ["goes_on", "numbers", "paced", "stands_still", "waits_for_the_drain"]


async def numbers(stream_id: str, count: int, start: int = 0) -> AsyncIterator[bytes]:
    """Yield numbers of three digits."""
    for number in range(start, count):
        yield b"%03d" % number
        await asyncio.sleep(0)


async def paced(stream_id: str, count: int) -> AsyncIterator[bytes]:
    """Yield numbers, fifty a second."""
    async for number in numbers(stream_id, count):
        yield number
        await asyncio.sleep(0.02)


async def waits_for_the_drain(stream_id: str, count: int) -> AsyncIterator[bytes]:
    """Yield one number, and the others once the worker has been told to end."""
    yield b"000"
    await runtime.drain_started.wait()
    async for number in numbers(stream_id, count, start=1):
        yield number


async def stands_still(stream_id: str, count: int) -> AsyncIterator[bytes]:
    """Yield half of the numbers, and nothing more, as a model that hangs."""
    async for number in numbers(stream_id, count // 2):
        yield number
    await asyncio.Event().wait()


def goes_on(stream_id: str, count: int, offset: int, items: int) -> AsyncIterator[bytes]:
    """Go on at a byte; one that is in the middle of a number cannot come."""
    return numbers(stream_id, count, start=offset // 3)
