"""The knee over HTTP: how many streams one server process delivers before they come late.

uvicorn, the server of Redis and the clients have a process each. Each stream has 20 chunks a
second, and begins at a moment of its own: streams that start together tick together, which batches
them and flatters. *Bare* is a StreamingHttpResponse over the same source, which keeps nothing.

The clients run as `python -m tests.benchmarks.knee`, which reads crowds, one a line, and prints the
figures of each.
"""

import asyncio
import json
import math
import random
import sys
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from time import perf_counter_ns, process_time

from .loads import percentile
from .over_http import Client, ask, cpu, serve
from .registry import Bench, Target

__all__ = ["BENCHES"]

RATE = 20
FIRST, STEP, LAST = 100, 1.5, 3_000  # streams
SECONDS, MIN_SECONDS = 2.5, 0.3
SETTLE_SHARE = 0.2  # of these, before and after
STARTS_A_SECOND = 400
LATE_MS, LOST_MS, MIN_MS = 50.0, 10_000.0, 0.01
DELIVERED = 0.9

Seen = dict[str, float]
FORMATS = ("raw", "sse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """State how many clients ask for which path, and for how long they look."""

    port: int
    path: str
    streams: int
    seconds: float

    @property
    def arriving(self) -> float:
        return self.streams / STARTS_A_SECOND

    @property
    def count(self) -> int:
        """How many chunks a stream has to have, to last as long as anybody looks."""
        return math.ceil(RATE * (self.arriving + (1 + 2 * SETTLE_SHARE) * self.seconds))


async def look(crowd: Crowd) -> Seen:
    """Have a crowd arrive, one client after the other, and look once all are there."""
    latencies = array("q")
    chance = random.Random(crowd.streams)
    clients: list[Client] = []
    for number in range(crowd.streams):
        phase = chance.random() / RATE
        path = f"{crowd.path}?rate={RATE}&count={crowd.count}&phase={phase}"
        clients.append(await ask(crowd.port, path, latencies))
        if number % 10 == 9:
            await asyncio.sleep(10 / STARTS_A_SECOND)
    await asyncio.sleep(crowd.seconds * SETTLE_SHARE)
    seen = await _watch(crowd, latencies)
    await _leave(clients, crowd)
    return seen


async def _watch(crowd: Crowd, latencies: "array[int]") -> dict[str, float]:
    server, own, began = await cpu(crowd.port), process_time(), perf_counter_ns()
    del latencies[:]
    await asyncio.sleep(crowd.seconds)
    found, seconds = list(latencies), (perf_counter_ns() - began) / 1e9
    used = await cpu(crowd.port) - server
    return {
        "delivered": len(found) / (crowd.streams * RATE * seconds),
        "p50": percentile(found, 0.5) / 1e6,
        "p99": percentile(found, 0.99) / 1e6,
        "cpu": 1e6 * used / max(1, len(found)),
        "server": used / seconds,
        "clients": (process_time() - own) / seconds,
    }


async def _leave(clients: Sequence[Client], crowd: Crowd) -> None:
    """Wait for the ends, so that nothing of this crowd runs beside the next one."""
    await asyncio.wait([one.ended for one in clients], timeout=crowd.arriving + 10)


async def climb(
    crowd: Crowd, last: int, look_at: Callable[[Crowd], Awaitable[Seen]]
) -> tuple[float, Seen]:
    """Return at how many streams the p99 passes the limit, and what the first step found.

    The limit is passed between two steps of a ladder, and straight between them on logarithmic
    scales.
    """
    first, below = await look_at(crowd), (0, 0.0)
    seen = first
    while (late := _lateness(seen)) <= LATE_MS and crowd.streams < last:
        below = crowd.streams, late
        crowd = replace(crowd, streams=math.ceil(crowd.streams * STEP))
        seen = await look_at(crowd)
    knee = crowd.streams if late <= LATE_MS or not below[0] else _between(below, crowd, late)
    return knee, first


def _lateness(seen: Seen) -> float:
    """Return the p99 in ms; endless if chunks are missing, as those are later than any."""
    p99 = seen["p99"] if seen["delivered"] > DELIVERED else LOST_MS
    return max(p99, MIN_MS)


def _between(below: tuple[int, float], crowd: Crowd, late: float) -> float:
    streams, p99 = below
    share = math.log(LATE_MS / p99) / math.log(late / p99)
    return float(streams * (crowd.streams / streams) ** share)


@asynccontextmanager
async def spectators() -> AsyncIterator[Callable[[Crowd], Awaitable[Seen]]]:
    """Run the clients in a process of their own, and yield what has a crowd look."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("The clients have no pipes.")

    async def look_at(crowd: Crowd) -> Seen:
        stdin.write(json.dumps(asdict(crowd)).encode() + b"\n")
        seen: Seen = json.loads(await stdout.readline())
        print(f"  {crowd.path} {crowd.streams}: {_line(seen)}", file=sys.stderr, flush=True)
        return seen

    try:
        yield look_at
    finally:
        stdin.close()
        await process.wait()


def _line(seen: Seen) -> str:
    return (
        "p50 {p50:.1f} ms, p99 {p99:.1f} ms, {cpu:.0f} µs a chunk, {delivered:.0%}; "
        "CPU {server:.0%}, clients {clients:.0%}".format(**seen)
    )


async def run(name: str, scale: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for form in FORMATS:
        server = serve("django.core.asgi:get_asgi_application", "--factory")
        async with server as port, spectators() as look_at:
            crowd = Crowd(port=port, path=f"/{name}/{form}/", streams=1, seconds=MIN_SECONDS)
            await look_at(crowd)  # the first request imports half of Django
            crowd = replace(
                crowd,
                streams=max(1, round(FIRST * scale)),
                seconds=max(MIN_SECONDS, SECONDS * scale),
            )
            knee, first = await climb(crowd, round(LAST * scale), look_at)
        found |= {
            f"{form}: streams at p99 {LATE_MS:g} ms": knee,
            f"{form}: CPU, µs a chunk at {FIRST}": first["cpu"],
            f"{form}: p50 at {FIRST}, ms": first["p50"],
        }
    return found


def _targets(form: str) -> dict[str, Target]:
    knee, used = f"{form}: streams at p99 {LATE_MS:g} ms", f"{form}: CPU, µs a chunk at {FIRST}"
    return {
        knee: Target(">= 0.5x bare", lambda v: v["ours"] >= 0.5 * v["bare"]),
        used: Target("<= 2x bare", lambda v: v["ours"] <= 2 * v["bare"]),
    }


BENCHES = [
    Bench(
        name="knee",
        title="The knee over HTTP (uvicorn): streams of 20 chunks/s (bare: nothing is kept)",
        run=run,
        contestants=("ours", "bare"),
        targets=_targets("raw") | _targets("sse"),
        rounds=1,
    )
]

if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(asyncio.run(look(Crowd(**json.loads(line))))), flush=True)
