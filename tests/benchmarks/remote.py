"""A producer in a process of its own.

    python -m tests.benchmarks.remote '{"contestant": …, "ids": […], "load": {…}}'

It starts the streams, says `ready`, waits for a line, and then lets their sources run.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict

import django

from .loads import Load, paced

__all__ = ["gated", "remote_producer"]


async def gated(gate: asyncio.Event, load: Load, number: int) -> AsyncIterator[bytes]:
    """Yield the chunks of stream `number` of a load, once the gate is open."""
    await gate.wait()
    phase = number / load.streams / load.rate  # so that not all are due at once
    chunks = paced(rate=load.rate, count=load.count, phase=phase, size=load.chunk_bytes)
    async for chunk in chunks:
        yield chunk


@asynccontextmanager
async def remote_producer(
    contestant: str, ids: Sequence[str], load: Load
) -> AsyncIterator[Callable[[], None]]:
    """Have another process produce; yield what opens its gate, end it afterwards."""
    task = json.dumps({"contestant": contestant, "ids": ids, "load": asdict(load)})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", __name__, task),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("The producer has no pipes.")
    try:
        async with asyncio.timeout(30):
            if await process.stdout.readline() != b"ready\n":
                raise RuntimeError("The producer did not start.")
        stdin = process.stdin
        yield lambda: stdin.write(b"go\n")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _produce(contestant: str, ids: Sequence[str], load: Load) -> None:
    from .contestants import CONTESTANTS

    producer, gate = CONTESTANTS[contestant](), asyncio.Event()
    ends = [
        await producer.produce(stream_id, gated(gate, load, number))
        for number, stream_id in enumerate(ids)
    ]
    print("ready", flush=True)
    if await asyncio.to_thread(sys.stdin.readline):
        gate.set()
        await asyncio.gather(*ends)
    await producer.aclose()


if __name__ == "__main__":
    django.setup()
    task = json.loads(sys.argv[1])
    asyncio.run(_produce(task["contestant"], task["ids"], Load(**task["load"])))
