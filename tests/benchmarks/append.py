"""Into the store: how many chunks a second."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from time import perf_counter, perf_counter_ns

from .contestants import CONTESTANTS, Contestant
from .loads import chunk, fast
from .registry import Bench, Target

__all__ = ["BENCHES"]

SECONDS = 1.0


async def _coalesced(contestant: Contestant, seconds: float) -> float:
    """Run a source that never waits; return the chunks a second, until the last is stored."""
    count = 0
    until = perf_counter_ns() + int(seconds * 1e9)

    async def source():
        nonlocal count
        async for one in fast(until=until):
            count += 1
            yield one

    started = perf_counter()
    await (await contestant.produce(str(uuid.uuid4()), source()))
    return count / (perf_counter() - started)


async def _one_by_one(contestant: Contestant, seconds: float, streams: int) -> float:
    """Append to each stream again when the last append was acknowledged."""
    appends = [await contestant.appender(str(uuid.uuid4())) for _ in range(streams)]
    one, until = chunk(), perf_counter() + seconds

    async def fill(append: Callable[[bytes], Awaitable[object]]) -> int:
        count = 0
        while perf_counter() < until:
            await append(one)
            count += 1
        return count

    started = perf_counter()
    counts = await asyncio.gather(*map(fill, appends))
    return sum(counts) / (perf_counter() - started)


async def run(name: str, scale: float) -> dict[str, float]:
    contestant = CONTESTANTS[name]()
    try:
        return {
            "chunks/s, a source that never waits": await _coalesced(contestant, SECONDS * scale),
            "chunks/s, each awaited, 1 stream": await _one_by_one(contestant, SECONDS * scale, 1),
            "chunks/s, each awaited, 64 streams": await _one_by_one(
                contestant, SECONDS * scale, 64
            ),
        }
    finally:
        await contestant.aclose()


AT_LEAST_BARE = Target(">= bare", lambda v: v["ours"] >= v["bare"])

BENCHES = [
    Bench(
        name="append",
        title="Append",
        run=run,
        targets={
            "chunks/s, a source that never waits": Target(
                ">= 100x peer", lambda v: v["ours"] >= 100 * v["peer"]
            ),
            "chunks/s, each awaited, 1 stream": AT_LEAST_BARE,
            "chunks/s, each awaited, 64 streams": AT_LEAST_BARE,
        },
    )
]
