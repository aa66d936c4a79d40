"""The table of `docs/reliability.md`: whole, or row by row."""

from collections import Counter
from pathlib import Path

from tests.acceptance.faults.load import Verdict
from tests.acceptance.faults.report import BEGIN, END, Report


def measured(*faults: str, seconds: float) -> Report:
    report = Report()
    for fault in faults:
        report.put(fault, "Redis", Verdict(seconds, 0, 0, 0, Counter({"done": 2})))
    return report


def rows(page: Path) -> list[tuple[str, str]]:
    lines = page.read_text().splitlines()[4:-2]
    cells = [[cell.strip() for cell in line.split("|")[1:]] for line in lines]
    return [(cell[0], cell[2]) for cell in cells]


def test_rows_that_were_measured_again_replace_theirs(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{BEGIN}\n{END}\nAfter.\n")
    measured("cut", "kill", seconds=1).write(page)
    measured("kill", "a long new one", seconds=2).write(page, keeps_others=True)
    assert rows(page) == [("cut", "1.0 s"), ("kill", "2.0 s"), ("a long new one", "2.0 s")]
    measured("kill", seconds=3).write(page)
    assert rows(page) == [("kill", "3.0 s")]
    assert page.read_text().startswith("Before.\n")
    assert page.read_text().endswith("After.\n")
