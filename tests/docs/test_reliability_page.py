"""The page on reliability names tests that exist, and has a row for every fault."""

import re
from pathlib import Path

from ..acceptance.faults.table import FAULTS
from .pages import DOCS

PAGE = (DOCS / "reliability.md").read_text()
ROOT = Path(__file__).parents[2]


def test_each_proof_that_the_page_names_exists() -> None:
    proofs = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(proofs) > 10
    for path, name in proofs:
        source = (ROOT / path).read_text()
        assert not name or f"def {name}(" in source, f"{path}::{name}"


def test_each_fault_has_a_row_and_nothing_is_lost_or_hangs() -> None:
    table = PAGE.partition("<!-- begin of the table -->")[2].partition("<!-- end")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.split("|")] for line in table.split("\n")[1:-1]
    ]
    for fault in FAULTS:
        assert any(row[1] == fault.name for row in rows), fault.name
    for name in ("bytes lost", "out of order", "readers hung"):
        assert {row[head.index(name)] for row in rows} == {"0"}, name
