"""What the faults did, as the table of docs/reliability.md."""

from dataclasses import dataclass, field
from pathlib import Path

from .load import Verdict

__all__ = ["Report"]

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"
HEAD = (
    "fault",
    "store",
    "known or over after",
    "readers ended",
    "bytes lost silently",
    "out of order",
    "readers hung",
)

Key = tuple[str, ...]


@dataclass
class Report:
    """Collect what was measured; what is the same on several servers is one row."""

    seconds: dict[Key, list[float]] = field(default_factory=dict)
    servers: dict[Key, list[str]] = field(default_factory=dict)

    def put(
        self, fault: str, store: str, verdict: Verdict, ends: str = "", *, server: str = ""
    ) -> None:
        counts = (verdict.lost, verdict.wrong, verdict.hung)
        figures = ("-" if count is None else str(count) for count in counts)
        key = (fault, store, ends or str(verdict), *figures)
        self.seconds.setdefault(key, []).append(verdict.seconds)
        if server:
            self.servers.setdefault(key, []).append(server)

    def _row(self, key: Key) -> list[str]:
        fault, store, *rest = key
        low, high = (f"{one:.1f}" for one in (min(self.seconds[key]), max(self.seconds[key])))
        where = ", ".join([store, *self.servers.get(key, [])])
        return [fault, where, f"{low} s" if low == high else f"{low} to {high} s", *rest]

    def rows(self) -> list[list[str]]:
        return [self._row(key) for key in self.seconds]

    def lines(self) -> list[str]:
        return _lines(self.rows())

    def write(self, page: Path = PAGE, *, keeps_others: bool = False) -> None:
        """Write the table; with `keeps_others`, the rows of this run among those that are there."""
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        table, _, after = rest.partition(END)
        rows = _merged(_rows_in(table), self.rows()) if keeps_others else self.rows()
        table = "\n".join([BEGIN, *_lines(rows), END])
        page.write_text(before + table + after, encoding="utf-8")


def _lines(rows: list[list[str]]) -> list[str]:
    table = [list(HEAD), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in table
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _rows_in(table: str) -> list[list[str]]:
    """Return the rows of a table as it is written."""
    lines = table.strip().splitlines()[2:]  # after the head and its rule
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def _merged(before: list[list[str]], new: list[list[str]]) -> list[list[str]]:
    """Return rows with the new ones in the place of those about the same fault and store."""
    by_name = {tuple(row[:2]): row for row in new}
    rows = [by_name.pop(tuple(row[:2]), row) for row in before]
    return [*rows, *by_name.values()]
