"""Readers that wait: what they cost the server, and this process.

The streams are produced, silently, in another process. What counts are the commands that this one
sends, from when the readers wait until a lease and a sweep have passed. What a script does on the
server is not sent: it is work of one round trip, whose number does not depend on the readers.
"""

import asyncio
import gc
import tracemalloc
import uuid
from array import array
from collections import Counter
from contextlib import suppress

from .contestants import CONTESTANTS, connect
from .loads import Load, record
from .registry import Bench, Target
from .remote import remote_producer

__all__ = ["BENCHES"]

READERS = 1_000
SECONDS = 21.0  # more than the default LEASE and SWEEP
SETTLE_SECONDS = 1.0


async def _connections() -> set[str]:
    """Return the addresses of all connections but the one that asks."""
    async with connect() as redis:
        own = str(await redis.client_id())
        return {one["addr"] for one in await redis.client_list() if one["id"] != own}


async def _sent(seconds: float) -> Counter[str]:
    """Return how many commands come on each connection in that time."""
    sent: Counter[str] = Counter()
    async with connect() as redis, redis.monitor() as monitor:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for command in monitor.listen():
                    if command["client_type"] == "tcp":  # and not by a script
                        sent[f"{command['client_address']}:{command['client_port']}"] += 1
    return sent


async def run(name: str, scale: float) -> dict[str, float]:
    load = Load(streams=max(1, round(READERS * scale)), rate=1, seconds=1, remote=True)
    ids = [str(uuid.uuid4()) for _ in range(load.streams)]
    contestant = CONTESTANTS[name]()
    try:
        async with remote_producer(name, ids, load):
            theirs = await _connections()
            gc.collect()
            tracemalloc.start()
            tasks = [
                asyncio.create_task(record(await contestant.read(stream_id), array("q")))
                for stream_id in ids
            ]
            await asyncio.sleep(SETTLE_SECONDS)
            gc.collect()
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            mine = await _connections() - theirs
            sent = await _sent(SECONDS * scale)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        tracemalloc.stop()
        await contestant.aclose()
    return {
        "commands/s": sum(sent[one] for one in mine) / (SECONDS * scale),
        "KiB a reader": size / 1024 / load.streams,
        "connections": len(mine),
    }


BENCHES = [
    Bench(
        name="idle",
        title="1,000 idle readers, each of a stream of its own",
        run=run,
        rounds=1,
        targets={
            "commands/s": Target("<= 2", lambda v: v["ours"] <= 2),
            "KiB a reader": Target("<= 6", lambda v: v["ours"] <= 6),
        },
    )
]
