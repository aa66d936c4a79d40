"""The page on reliability names tests that exist, and has a row for every fault."""

import re
from pathlib import Path

from ..acceptance.faults.table import FAULTS as STORE_FAULTS
from ..acceptance.faults.test_servers import FAULTS as SITE_FAULTS
from ..acceptance.servers import COMMANDS
from .pages import DOCS

PAGE = (DOCS / "reliability.md").read_text()
ROOT = Path(__file__).parents[2]


def table() -> list[dict[str, str]]:
    text = PAGE.partition("<!-- begin of the table -->\n")[2].partition("\n<!-- end")[0]
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.split("\n")]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_each_proof_that_the_page_names_exists() -> None:
    proofs = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(proofs) > 10
    for path, name in proofs:
        source = (ROOT / path).read_text()
        assert not name or f"def {name}(" in source, f"{path}::{name}"


def test_nothing_was_lost_and_nobody_hung() -> None:
    for name in ("bytes lost silently", "out of order", "readers hung"):
        assert {row[name] for row in table()} <= {"0", "-"}, name


def test_each_fault_of_the_store_has_a_row_with_an_end_that_it_may_have() -> None:
    ends = {(row["fault"], row["store"]): row["readers ended"] for row in table()}
    for fault in STORE_FAULTS:
        row = ends[fault.name, f"Redis, {fault.shape}"]
        assert {end.partition(" ")[2] for end in row.split(", ")} <= fault.ends, fault.name


def test_each_fault_of_a_site_has_a_row_with_each_server() -> None:
    rows = {row["fault"]: row["store"] for row in table() if "uvicorn" in row["store"]}
    assert set(rows) >= {fault.name for fault in SITE_FAULTS}
    for fault, where in rows.items():
        assert set(where.split(", ")) == {"Redis", "single", *COMMANDS}, fault
