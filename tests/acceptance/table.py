"""What the tests found out about each server, as the table of docs/servers.md."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from .servers import COMMANDS, ROOT, WSGI_COMMANDS

__all__ = ["BEHAVIOURS", "Table"]

PAGE = ROOT / "docs" / "servers.md"
BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"
SERVERS = [*COMMANDS, *WSGI_COMMANDS]
BEHAVIOURS = [
    "chunk by chunk",
    "short answers finish",
    "long ones are interrupted",
    "readers are sent elsewhere",
    "a cut raw body looks cut",
    "a client that left is noticed",
    "a stalled reader holds",
    "3 servers restarted under 100 clients",
]


@dataclass
class Table:
    """Collect cells; `write` replaces the table of the page, where the environment asks for it."""

    cells: dict[tuple[str, str], str] = field(default_factory=dict)

    def put(self, server: str, behaviour: str, cell: str) -> None:
        if server not in SERVERS or behaviour not in BEHAVIOURS:
            raise ValueError(f"{server}, {behaviour}")
        self.cells[server, behaviour] = cell

    def lines(self) -> list[str]:
        known = {server for server, _ in self.cells}
        servers = [server for server in SERVERS if server in known]
        rows = [["server", *BEHAVIOURS]]
        rows += [[s, *(self.cells.get((s, b), "-") for b in BEHAVIOURS)] for s in servers]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return [lines[0], "|" + "---|" * (len(BEHAVIOURS) + 1), *lines[1:]]

    def write(self, page: Path = PAGE) -> None:
        if not (self.cells and os.environ.get("WRITE_SERVERS_TABLE")):
            return
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        table = "\n".join([BEGIN, *self.lines(), END])
        page.write_text(before + table + after, encoding="utf-8")
