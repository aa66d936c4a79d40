"""The benchmarks run: what nobody starts for a month must not be found broken then."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .rows import ROWS

QUICK = ["--only", "ours", "--rounds", "1", "--scale", "0.01"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_row_gives_figures_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.benchmarks", *QUICK, "--json", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(file.read_text())["figures"]
    assert {figure["bench"] for figure in figures} == set(ROWS)
    assert [figure for figure in figures if figure["ours"] is None] == []


def test_an_unknown_row_is_refused_by_name() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "speed"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "No such row: speed." in ran.stderr
