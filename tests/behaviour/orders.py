"""What workers of the tests produce: imported by them under its dotted path."""

import asyncio
from collections.abc import AsyncIterator

__all__ = ["paced", "paced_again"]


async def paced(stream_id: str, count: int, start: int = 0) -> AsyncIterator[bytes]:
    """Yield numbers of three digits, fifty a second."""
    for number in range(start, count):
        yield b"%03d" % number
        await asyncio.sleep(0.02)


def paced_again(stream_id: str, count: int, offset: int) -> AsyncIterator[bytes]:
    """Go on at a byte; one that is in the middle of a number cannot come."""
    return paced(stream_id, count, start=offset // 3)
