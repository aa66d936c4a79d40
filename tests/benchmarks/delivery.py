"""From a source to its readers: how many chunks arrive, and how late."""

import asyncio
import uuid
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from time import process_time

from .contestants import CONTESTANTS, Contestant, connect
from .loads import Load, percentile, record
from .registry import Bench, Target
from .remote import gated, remote_producer

__all__ = ["BENCHES"]

SETTLE_SECONDS = 0.5  # for subscriptions to be confirmed, and reads to block
GRACE_SECONDS = 1.0  # after the last chunk was due; what comes later is not delivered


async def deliver(name: str, load: Load) -> dict[str, float]:
    """Send a load through a contestant; return what its readers saw."""
    contestant = CONTESTANTS[name]()
    ids = [str(uuid.uuid4()) for _ in range(load.streams)]
    latencies = array("q")
    try:
        async with _producer(contestant, ids, load) as start:
            tasks = [
                asyncio.create_task(record(await contestant.read(stream_id), latencies))
                for stream_id in ids
                for _ in range(load.readers)
            ]
            await asyncio.sleep(SETTLE_SECONDS)
            used, commands = process_time(), await _count_commands()
            start()
            _, late = await asyncio.wait(tasks, timeout=load.seconds + GRACE_SECONDS)
            delivered, used = list(latencies), process_time() - used
            connections, commands = await _count_connections(), await _count_commands() - commands
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await contestant.aclose()
    return {
        "delivered, %": 100 * len(delivered) / load.expected,
        "p50, ms": percentile(delivered, 0.5) / 1e6,
        "p99, ms": percentile(delivered, 0.99) / 1e6,
        "CPU of this process, µs a chunk": 1e6 * used / max(1, len(delivered)),
        "commands a chunk": commands / load.expected,
        "connections": connections,
    }


@asynccontextmanager
async def _producer(
    contestant: Contestant, ids: Sequence[str], load: Load
) -> AsyncIterator[Callable[[], None]]:
    if load.remote:
        async with remote_producer(contestant.name, ids, load) as start:
            yield start
        return
    gate = asyncio.Event()
    for number, stream_id in enumerate(ids):
        await contestant.produce(stream_id, gated(gate, load, number))
    yield gate.set


async def _count_connections() -> int:
    async with connect() as redis:
        return len(await redis.client_list()) - 1


async def _count_commands() -> int:
    """Return how many commands the server has carried out, those inside scripts included."""
    async with connect() as redis:
        return int((await redis.info("stats"))["total_commands_processed"])


def _bench(name: str, title: str, load: Load, **targets: Target) -> Bench:
    async def run(contestant: str, scale: float) -> dict[str, float]:
        scaled = replace(
            load,
            streams=max(1, round(load.streams * scale)),
            readers=max(1, round(load.readers * scale)),
            seconds=load.seconds * scale,
        )
        return await deliver(contestant, scaled)

    named = {"p50": "p50, ms", "p99": "p99, ms", "all": "delivered, %", "few": "connections"}
    return Bench(
        name=name,
        title=title,
        run=run,
        targets={named[key]: target for key, target in targets.items()},
    )


AS_BARE = Target("<= 1.0x bare", lambda v: v["ours"] <= v["bare"])
ALL = Target("100 %", lambda v: v["ours"] >= 100)


def _at_most(most: float, unit: str) -> Target:
    return Target(f"<= {most:g}{unit}", lambda v: v["ours"] <= most)


BENCHES = [
    _bench(
        "latency",
        "Latency: 1 stream, 50 chunks/s, 1 reader",
        Load(rate=50, seconds=4),
        p50=AS_BARE,
        all=ALL,
    ),
    _bench(
        "latency-remote",
        "Latency, producer in another process: 1 stream, 50 chunks/s, 1 reader",
        Load(rate=50, seconds=4, remote=True),
        p50=AS_BARE,
        all=ALL,
    ),
    _bench(
        "streams",
        "1,000 streams of 20 chunks/s in one process, 1 reader each",
        Load(streams=1_000, rate=20, seconds=5),
        p99=_at_most(20, " ms"),
        all=ALL,
        few=_at_most(4, ""),
    ),
    _bench(
        "readers",
        "500 readers of 1 stream, 20 chunks/s",
        Load(readers=500, rate=20, seconds=4),
        p50=_at_most(3, " ms"),
        all=ALL,
    ),
    _bench(
        "readers-remote",
        "500 readers of 1 stream, 20 chunks/s, producer in another process",
        Load(readers=500, rate=20, seconds=4, remote=True),
        p50=_at_most(3, " ms"),
        all=ALL,
    ),
]
