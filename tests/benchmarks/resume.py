"""Coming back late: everything from the first byte on."""

import uuid
from itertools import repeat
from statistics import median
from time import perf_counter

from .contestants import CONTESTANTS, Bare, Contestant
from .loads import CHUNK_BYTES, chunk
from .registry import Bench, Target

__all__ = ["BENCHES"]

CHUNKS = 50_000
TIMES = 5


async def _read(contestant: Contestant, stream_id: str) -> int:
    if isinstance(contestant, Bare):
        return await contestant.read_range(stream_id)
    size = 0
    async for data in await contestant.read(stream_id):
        size += len(data)
    return size // CHUNK_BYTES


async def run(name: str, scale: float) -> dict[str, float]:
    contestant, stream_id, count = CONTESTANTS[name](), str(uuid.uuid4()), round(CHUNKS * scale)
    taken = []
    try:
        await contestant.fill(stream_id, repeat(chunk(), count))
        for _ in range(TIMES):
            started = perf_counter()
            found = await _read(contestant, stream_id)
            taken.append(perf_counter() - started)
            if found != count:
                raise RuntimeError(f"{name} gave back {found} chunks of {count}.")
    finally:
        await contestant.aclose()
    return {"ms": median(taken) * 1e3}


BENCHES = [
    Bench(
        name="resume",
        title="Resume of a stream of 50,000 chunks (bare: one XRANGE)",
        run=run,
        targets={"ms": Target("<= 10 ms", lambda v: v["ours"] <= 10)},
    )
]
