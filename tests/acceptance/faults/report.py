"""What the faults did, as the table of docs/reliability.md."""

from dataclasses import dataclass, field
from pathlib import Path

from .load import Verdict

__all__ = ["Report"]

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"
HEAD = [
    "fault",
    "store",
    "server",
    "known or over after",
    "readers ended",
    "bytes lost silently",
    "out of order",
    "readers hung",
]


@dataclass
class Report:
    """Collect rows, which are shown, and written to the page."""

    rows: list[list[str]] = field(default_factory=list)

    def put(
        self, fault: str, store: str, verdict: Verdict, ends: str = "", *, server: str = "-"
    ) -> None:
        self.rows.append(
            [
                fault,
                store,
                server,
                f"{verdict.seconds:.1f} s",
                ends or str(verdict),
                *(
                    "-" if n is None else str(n)
                    for n in (verdict.lost, verdict.wrong, verdict.hung)
                ),
            ]
        )

    def lines(self) -> list[str]:
        widths = [max(len(row[at]) for row in [HEAD, *self.rows]) for at in range(len(HEAD))]
        lines = [
            "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
            for row in [HEAD, *self.rows]
        ]
        return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]

    def write(self, page: Path = PAGE) -> None:
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        table = "\n".join([BEGIN, *self.lines(), END])
        page.write_text(before + table + after, encoding="utf-8")
