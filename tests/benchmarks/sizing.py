"""What a stream, a reader and a process take of the server: memory, connections, commands.

CLIENT LIST counts the commands of a connection, those inside scripts included.
"""

import asyncio
import uuid
from array import array
from collections.abc import Mapping
from typing import Any

from django.conf import settings as django_settings

from .contestants import Ours, connect
from .loads import CHUNK_BYTES, Load, record
from .registry import Bench
from .remote import remote_producer

__all__ = ["BENCHES"]

SIZES = (10_000, 100_000)
STREAMS = 1_000
SECONDS = 31.0  # more than the default LEASE and SWEEP
SETTLE_SECONDS = 1.0

settings: Any = django_settings

Commands = Mapping[str, int]
"""How many commands each connection has carried, by its id."""


async def _bytes_of_a_stream(ours: Ours, size: int, *, chunk: int) -> int:
    """Append a stream in chunks of this size; return what MEMORY USAGE says of its keys."""
    stream_id = str(uuid.uuid4())
    append = await ours.appender(stream_id)
    for begin in range(0, size, chunk):
        await append(b"x" * min(chunk, size - begin))
    pattern = f"{settings.KEY_PREFIX}:ours:*{{{stream_id}}}*"
    async with connect() as redis:
        return sum(
            [
                await redis.memory_usage(name, samples=0)
                async for name in redis.scan_iter(match=pattern, count=1_000)
            ]
        )


async def _keys() -> int:
    async with connect() as redis:
        return int(await redis.dbsize())


async def _commands() -> Commands:
    async with connect() as redis:
        own = str(await redis.client_id())
        clients = await redis.client_list()
    return {client["id"]: int(client["tot-cmds"]) for client in clients if client["id"] != own}


async def _traffic(seconds: float, *, others: Commands | None = None) -> tuple[int, float]:
    """Return the connections that were not there before, and their commands a second."""
    await asyncio.sleep(SETTLE_SECONDS)
    before = await _commands()
    await asyncio.sleep(seconds)
    after = await _commands()
    ours = after.keys() - (others or {}).keys()
    return len(ours), sum(after[one] - before.get(one, 0) for one in ours) / seconds


async def run(name: str, scale: float) -> dict[str, float]:
    figures: dict[str, float] = {}
    count, seconds = max(1, round(STREAMS * scale)), SECONDS * scale
    ours = Ours()
    try:
        for size in SIZES:
            for chunk in (CHUNK_BYTES, size):
                what = f"bytes, a stream of {size:,} in chunks of {chunk:,}"
                figures[what] = await _bytes_of_a_stream(ours, size, chunk=chunk)
        mine = await _commands()
        _note(figures, "a process at rest", await _traffic(seconds))
        ids = [str(uuid.uuid4()) for _ in range(count)]
        load = Load(streams=count, rate=1, seconds=1, remote=True)
        async with remote_producer("ours", ids, load) as end:
            traffic = await _traffic(seconds, others=mine)
            _note(figures, f"a process with {count:,} silent streams", traffic)
            theirs, keys = (await _commands()).keys() - mine.keys(), await _keys()
            tasks = [asyncio.create_task(record(await ours.read(one), array("q"))) for one in ids]
            traffic = await _traffic(seconds, others=dict.fromkeys(theirs, 0))
            _note(figures, f"a process with {count:,} waiting readers", traffic)
            figures[f"more keys, {count:,} waiting readers"] = await _keys() - keys
            end()  # nothing of a killed process is left to the next row
            await asyncio.gather(*tasks)
    finally:
        await ours.aclose()
    return figures


def _note(figures: dict[str, float], whose: str, traffic: tuple[int, float]) -> None:
    figures[f"connections, {whose}"], figures[f"commands/s, {whose}"] = traffic


BENCHES = [
    Bench(
        name="sizing",
        title="What a stream, a reader and a process take of the server",
        run=run,
        rounds=1,
        contestants=("ours",),
    )
]
