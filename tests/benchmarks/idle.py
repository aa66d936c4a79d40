"""Readers that wait: what they cost the server, and this process.

The streams are produced, silently, in another process. What counts are the commands on the
connections of this one, from when the readers wait until a lease and a sweep have passed.
"""

import asyncio
import gc
import tracemalloc
import uuid
from array import array

from .contestants import CONTESTANTS, connect
from .loads import Load, record
from .registry import Bench, Target
from .remote import remote_producer

__all__ = ["BENCHES"]

READERS = 1_000
SECONDS = 21.0  # more than the default LEASE and SWEEP
SETTLE_SECONDS = 1.0


async def _commands() -> dict[str, int]:
    """Return how many commands each connection has carried."""
    async with connect() as redis:
        own = str(await redis.client_id())
        clients = await redis.client_list()
    return {client["id"]: int(client["tot-cmds"]) for client in clients if client["id"] != own}


async def run(name: str, scale: float) -> dict[str, float]:
    load = Load(streams=max(1, round(READERS * scale)), rate=1, seconds=1, remote=True)
    ids = [str(uuid.uuid4()) for _ in range(load.streams)]
    contestant = CONTESTANTS[name]()
    try:
        async with remote_producer(name, ids, load):
            theirs = (await _commands()).keys()
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
            before = await _commands()
            await asyncio.sleep(SECONDS * scale)
            after = await _commands()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        tracemalloc.stop()
        await contestant.aclose()
    mine = after.keys() - theirs
    return {
        "commands/s": sum(after[one] - before.get(one, 0) for one in mine) / (SECONDS * scale),
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
            "commands/s": Target("0", lambda v: v["ours"] < 1),
            "KiB a reader": Target("<= 6", lambda v: v["ours"] <= 6),
        },
    )
]
