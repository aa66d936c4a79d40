"""Curves on logarithmic scales, as SVG; and the exponent of each."""

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["Points", "exponent", "plot"]

Points = Mapping[float, float]
"""What was measured at each size; all of it above 0."""

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 36, 46
COLORS = ("#0b6fa4", "#b5451b", "#3a7d2c", "#6b4ba1")


def exponent(points: Points) -> float:
    """Return the slope of the line that fits best on logarithmic scales; nan for one point."""
    xs, ys = [math.log(x) for x in points], [math.log(y) for y in points.values()]
    if len(xs) < 2:
        return math.nan
    middle, height = sum(xs) / len(xs), sum(ys) / len(ys)
    rise = sum((x - middle) * (y - height) for x, y in zip(xs, ys, strict=True))
    return rise / sum((x - middle) ** 2 for x in xs)


class _Axis:
    """A logarithmic axis, from the power of ten below all values to the one above."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._first = math.floor(math.log10(min(values)))
        self._last = max(math.ceil(math.log10(max(values))), self._first + 1)
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._first) / (self._last - self._first)
        return self._start + share * (self._end - self._start)

    @property
    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self._first, self._last + 1)]


def plot(title: str, unit: str, curves: Mapping[str, Points]) -> str:
    """Draw curves over one axis of sizes, each with its name and exponent; return the SVG."""
    sizes = [x for points in curves.values() for x in points]
    values = [y for points in curves.values() for y in points.values()]
    across = _Axis(sizes, LEFT, WIDTH - RIGHT)
    up = _Axis(values, HEIGHT - BOTTOM, TOP)
    parts = [
        _text(LEFT, 20, title, size=14),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, unit, anchor="middle"),
        *_grid(across, up),
    ]
    for number, (name, points) in enumerate(curves.items()):
        parts += _curve(name, points, across, up, COLORS[number % len(COLORS)])
    style = 'font-family="sans-serif" font-size="11"'
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    back = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', back, *parts, "</svg>", ""]
    return "\n".join(lines)


def _grid(across: _Axis, up: _Axis) -> list[str]:
    parts = []
    for tick in across.ticks:
        x = across.at(tick)
        parts += [
            _line((x, TOP), (x, HEIGHT - BOTTOM)),
            _text(x, HEIGHT - BOTTOM + 16, _short(tick), anchor="middle"),
        ]
    for tick in up.ticks:
        y = up.at(tick)
        parts += [
            _line((LEFT, y), (WIDTH - RIGHT, y)),
            _text(LEFT - 6, y + 4, _short(tick), anchor="end"),
        ]
    return parts


def _curve(name: str, points: Points, across: _Axis, up: _Axis, color: str) -> list[str]:
    places = [(across.at(x), up.at(y)) for x, y in points.items()]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{color}"/>' for x, y in places]
    x, y = places[-1]
    slope = exponent(points)
    words = name if math.isnan(slope) else f"{name} (^{slope:.2f})"
    return [
        f'<polyline points="{way}" fill="none" stroke="{color}" stroke-width="1.5"/>',
        *dots,
        _text(x + 6, y + 4, words, color=color),
    ]


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, color: str = "#222"
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{color}"'
    return f"<text {place}>{escape(text)}</text>"


def _short(value: float) -> str:
    """Return a power of ten in few letters: 0.01, 10, 10k, 1M."""
    for least, letter in ((1e6, "M"), (1e3, "k")):
        if value >= least:
            return f"{value / least:g}{letter}"
    return f"{value:g}"
