"""The rows: what is measured for whom, how often, and what we want the figures to be."""

import asyncio
import gc
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from .contestants import CONTESTANTS

__all__ = ["Bench", "Figure", "Target", "measure", "table"]

COLUMNS = ("ours", "bare", "peer")
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Target:
    """State what we want of one figure, in words and in code; it gets the medians by name."""

    words: str
    holds: Callable[[Values], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Measure one kind of work for one contestant at a time: figures by their names.

    `run` gets the name of the contestant and the scale of the run: 1, or less for a quick look.
    """

    name: str
    title: str
    run: Callable[[str, float], Awaitable[Values]]
    targets: Mapping[str, Target] = field(default_factory=dict)
    contestants: Sequence[str] = COLUMNS
    rounds: int | None = None  # where one round is long, and says enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Hold the medians of one figure over the rounds."""

    bench: str
    title: str
    what: str
    medians: Values
    target: Target | None

    @property
    def is_met(self) -> bool | None:
        """Whether the target holds; None without one, or where what it compares with is missing."""
        try:
            return None if self.target is None else self.target.holds(self.medians)
        except KeyError:
            return None

    def ratio(self, other: str) -> float:
        divisor = self.medians.get(other, 0.0)
        return self.medians.get("ours", math.nan) / divisor if divisor else math.nan

    def as_dict(self) -> dict[str, object]:
        return {
            "bench": self.bench,
            "title": self.title,
            "figure": self.what,
            **{name: _finite(self.medians.get(name)) for name in COLUMNS},
            "ours/bare": _finite(self.ratio("bare")),
            "ours/peer": _finite(self.ratio("peer")),
            "target": self.target and self.target.words,
            "met": self.is_met,
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def measure(bench: Bench, names: Sequence[str], *, rounds: int, scale: float) -> list[Figure]:
    """Run a bench for those contestants in turn, round after round."""
    takes_part = [name for name in bench.contestants if name in names and name in CONTESTANTS]
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(min(rounds, bench.rounds or rounds)):
        for contestant in takes_part:
            gc.collect()
            for what, value in asyncio.run(_run(bench, contestant, scale)).items():
                found.setdefault(what, {}).setdefault(contestant, []).append(value)
    return [
        Figure(
            bench=bench.name,
            title=bench.title,
            what=what,
            medians={name: median(values) for name, values in by_contestant.items()},
            target=bench.targets.get(what),
        )
        for what, by_contestant in found.items()
    ]


async def _run(bench: Bench, contestant: str, scale: float) -> Values:
    return await bench.run(contestant, scale)


def table(figures: Sequence[Figure]) -> str:
    """Lay the figures out as plain text."""
    head = ["", "ours", "bare", "peer", "ours/bare", "ours/peer", "target", ""]
    lines, title = [head], ""
    for figure in figures:
        if figure.title != title:
            title = figure.title
            lines += [[""], [title]]
        lines.append(
            [
                f"  {figure.what}",
                *(_number(figure.medians.get(name)) for name in COLUMNS),
                *(_number(figure.ratio(name)) for name in COLUMNS[1:]),
                figure.target.words if figure.target else "",
                {True: "met", False: "MISSED", None: ""}[figure.is_met],
            ]
        )
    widths = [max(len(line[at]) for line in lines if len(line) > 1) for at in range(len(head))]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    if len(cells) == 1:
        return cells[0]
    aligned = [
        cell.rjust(width) if 0 < at < 6 else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
