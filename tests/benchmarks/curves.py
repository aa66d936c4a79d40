"""Cost curves: how the cost of a stream grows with streams, readers, chunks and its log.

Each curve measures ours alone at growing sizes, in one process with its server beside it, and fits
a straight line to each figure on logarithmic scales: its slope is the exponent. 1 is linear.
"""

import asyncio
import math
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import getloadavg
from pathlib import Path
from time import perf_counter_ns, thread_time

from resumable_streams import streams

from .contestants import OWNER, Ours, connect
from .delivery import deliver
from .loads import Load, percentile
from .plots import Points, exponent, plot

__all__ = ["CURVES", "Curve", "draw", "table"]

RATE = 20
SECONDS = 20.0
RESUMES = 100
FILL_BYTES = 262_144
MIN_DELIVERED = 90

P50, DELIVERED = "p50, ms", "delivered, %"
CPU, COMMANDS = "CPU, ms for the chunks of a second", "commands for them"
CPU_RESUME, COMMANDS_RESUME, SENT_RESUME = (
    "CPU, ms a resume",
    "commands a resume",
    "bytes a resume",
)

Values = Mapping[str, float]
Size = int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One thing that grows, and the figures that are measured at each size of it."""

    name: str
    title: str
    unit: str
    sizes: Sequence[Size]
    measure: Callable[[Size, float], Awaitable[Values]]
    reach: int = 1

    def sizes_at(self, scale: float) -> Sequence[Size]:
        """Return the sizes of a run of that scale: at least two, as a curve has a slope.

        A run of scale 0.1 takes a tenth of the largest size, times `reach`: sizes that take one
        stream only are cheap.
        """
        most = max(self.sizes) * min(1, self.reach * scale)
        return [size for size in self.sizes if size <= most or size in self.sizes[:2]]


async def _deliver(load: Load) -> Values:
    seen = await deliver("ours", load)
    if seen[DELIVERED] < MIN_DELIVERED:  # the rest would be divided by chunks that never came
        return {DELIVERED: seen[DELIVERED]}
    chunks = load.rate * load.streams * load.readers  # a second
    return {
        P50: seen["p50, ms"],
        DELIVERED: seen["delivered, %"],
        CPU: seen["CPU of this process, µs a chunk"] * chunks / 1e3,
        COMMANDS: seen["commands a chunk"] * chunks,
    }


async def _streams(size: Size, scale: float) -> Values:
    return await _deliver(Load(streams=size, rate=RATE, seconds=SECONDS * scale))


async def _readers(size: Size, scale: float) -> Values:
    return await _deliver(Load(readers=size, rate=RATE, seconds=SECONDS * scale))


async def _chunks(size: Size, scale: float) -> Values:
    return await _deliver(Load(rate=RATE, seconds=SECONDS * scale, chunk_bytes=size))


async def _logs(size: Size, scale: float) -> Values:
    """Resume at the last byte of a finished log, again and again."""
    ours, stream_id = Ours(), str(uuid.uuid4())
    try:
        await ours.fill(stream_id, _pieces(size))
        await _resume(stream_id, size)  # the first one loads the scripts
        taken, used, count = [], 0.0, max(5, round(RESUMES * scale))
        before = await _served()
        for _ in range(count):
            began, used_before = perf_counter_ns(), thread_time()
            await _resume(stream_id, size)
            taken.append(perf_counter_ns() - began)
            used += thread_time() - used_before
        commands, sent = (
            (now - then) / count for now, then in zip(await _served(), before, strict=True)
        )
    finally:
        await ours.aclose()
    return {
        P50: percentile(taken, 0.5) / 1e6,
        CPU_RESUME: 1e3 * used / count,
        COMMANDS_RESUME: commands,
        SENT_RESUME: sent,
    }


async def _resume(stream_id: str, size: Size) -> None:
    reader = await streams.arequire_resume(stream_id, owner=OWNER, offset=size - 1)
    _ = [data async for data in reader]


async def _served() -> tuple[int, int]:
    """Return how many commands the server has carried out, and how many bytes it has sent."""
    async with connect() as redis:
        stats = await redis.info("stats")
    return stats["total_commands_processed"], stats["total_net_output_bytes"]


def _pieces(size: Size) -> Iterable[bytes]:
    for begin in range(0, size, FILL_BYTES):
        yield b"x" * min(FILL_BYTES, size - begin)


CURVES = [
    Curve(
        name="streams",
        title="Streams of 20 chunks/s, 1 reader each",
        unit="streams",
        sizes=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000),
        measure=_streams,
    ),
    Curve(
        name="readers",
        title="Readers of 1 stream of 20 chunks/s",
        unit="readers",
        sizes=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000),
        measure=_readers,
    ),
    Curve(
        name="chunks",
        title="1 stream of 20 chunks/s, by the size of a chunk",
        unit="bytes a chunk",
        sizes=(32, 256, 2_048, 16_384, 131_072, 1_048_576),
        measure=_chunks,
        reach=100,
    ),
    Curve(
        name="logs",
        title="Resume at the last byte, by the size of the log",
        unit="bytes of the log",
        sizes=(1_024, 16_384, 262_144, 4_194_304, 16_777_216),
        measure=_logs,
        reach=100,
    ),
]
"""Chunks of 32 bytes are the shortest: they carry the time at which they were made."""


async def _measure(curve: Curve, size: Size, scale: float) -> Values:
    return await curve.measure(size, scale)


def _walk(curve: Curve, scale: float) -> dict[str, Points]:
    """Measure one curve, from the smallest size on; leave out what is nothing, such as no time."""
    found: dict[str, dict[float, float]] = {}
    for size in curve.sizes_at(scale):
        print(f"{curve.name} {size:,} …", file=sys.stderr, flush=True)
        for name, value in asyncio.run(_measure(curve, size, scale)).items():
            if math.isfinite(value) and value > 0:
                found.setdefault(name, {})[size] = value
    return dict(found)


def _row(curve: Curve, name: str, points: Points) -> str:
    first, last = min(points), max(points)
    cells = (
        curve.title,
        name,
        f"{points[first]:.3g} at {first:,}",
        f"{points[last]:.3g} at {last:,}",
        f"{exponent(points):.2f}",
    )
    return f"| {' | '.join(cells)} |"


def table(found: Mapping[str, Mapping[str, Points]]) -> str:
    """Lay the curves out as a table of Markdown, with the plots below."""
    curves = {curve.name: curve for curve in CURVES}
    rows = [
        _row(curves[name], figure, points)
        for name, figures in found.items()
        for figure, points in figures.items()
    ]
    head = ["| | figure | smallest | largest | exponent |", "|---|---|---|---|---|"]
    plots = [f"![{curves[name].title}]({name}.svg)" for name in found]
    return "\n".join([*head, *rows, "", *plots, ""])


def draw(names: Sequence[str], folder: Path, *, scale: float, place: str) -> None:
    """Measure curves, and write a plot of each and one table to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found, load = {}, getloadavg()[0]
    for curve in CURVES:
        if not names or curve.name in names:
            found[curve.name] = _walk(curve, scale)
            svg = plot(curve.title, curve.unit, found[curve.name])
            (folder / f"{curve.name}.svg").write_text(svg)
    beside = f"Load of the machine: {load:.1f} before, {getloadavg()[0]:.1f} after."
    page = f"# Cost curves\n\n{place}, at scale {scale:g}. {beside}\n\n{table(found)}"
    (folder / "README.md").write_text(page)
