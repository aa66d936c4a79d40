"""What is sent: chunks of one size that carry the time at which the source yielded them.

The clock is CLOCK_MONOTONIC, which all processes of a machine share. A chunk is stamped when the
source gets to run, not when it was due: what an overloaded process never sends shows in the share
that was delivered in time.
"""

import asyncio
import re
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from math import ceil
from time import perf_counter_ns

__all__ = ["CHUNK_BYTES", "Load", "chunk", "fast", "paced", "percentile", "record", "stamps"]

CHUNK_BYTES = 64
_FORM = b"T%019d"
_FORM_BYTES = 20
_STAMP = re.compile(rb"T(\d{19})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Say how many streams, readers of each and chunks a second (of each), for how long.

    Chunks of less than 21 bytes have no room for their time.
    """

    streams: int = 1
    readers: int = 1
    rate: float
    seconds: float
    remote: bool = False
    chunk_bytes: int = CHUNK_BYTES

    @property
    def count(self) -> int:
        return max(1, ceil(self.rate * self.seconds))

    @property
    def expected(self) -> int:
        return self.count * self.streams * self.readers


def chunk(size: int = CHUNK_BYTES) -> bytes:
    """Return a chunk stamped with this moment."""
    return _FORM % perf_counter_ns() + b"." * (size - _FORM_BYTES - 1) + b"\n"


def stamps(data: bytes) -> list[bytes]:
    """Return the stamps of the whole chunks in `data`, whatever is between them."""
    return _STAMP.findall(data)


async def paced(
    *, rate: float, count: int, phase: float = 0.0, size: int = CHUNK_BYTES
) -> AsyncIterator[bytes]:
    """Yield a chunk when it is due, or as soon as possible after that."""
    loop = asyncio.get_running_loop()
    start = loop.time() + phase
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        yield chunk(size)


async def fast(*, until: int) -> AsyncIterator[bytes]:
    """Yield chunks without a pause until that moment of `perf_counter_ns`."""
    one = chunk()
    while perf_counter_ns() < until:
        yield one


async def record(chunks: AsyncIterator[bytes], latencies: "array[int]") -> None:
    """Read to the end, noting how old each chunk was when it came, in nanoseconds."""
    async for data in chunks:
        now = perf_counter_ns()
        latencies.extend([now - int(stamp) for stamp in stamps(data)])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values is; nan if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
