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

    def lines(self) -> list[str]:
        rows = [list(HEAD), *map(self._row, self.seconds)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
            for row in rows
        ]
        return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]

    def write(self, page: Path = PAGE) -> None:
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        table = "\n".join([BEGIN, *self.lines(), END])
        page.write_text(before + table + after, encoding="utf-8")
