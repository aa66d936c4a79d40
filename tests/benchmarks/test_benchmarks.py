"""The benchmarks run: what nobody starts for a month must not be found broken then."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .curves import CURVES
from .plots import exponent
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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_curves_are_drawn_with_their_exponents(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "curves", "--scale", "0.0001"]
    command += ["--folder", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    names = {curve.name for curve in CURVES}
    assert {file.stem for file in tmp_path.glob("*.svg")} == names
    assert all(ElementTree.parse(file) for file in tmp_path.glob("*.svg"))
    page = (tmp_path / "README.md").read_text()
    rows = re.findall(r"^\| .* at .* \|$", page, re.MULTILINE)
    assert len(rows) >= 2 * len(names)
    assert all(math.isfinite(float(row.split("|")[-2])) for row in rows)


def test_the_exponent_of_a_curve_is_its_slope() -> None:
    sizes = (1, 10, 100, 1_000)
    assert exponent({size: 3 * size for size in sizes}) == pytest.approx(1)
    assert exponent(dict.fromkeys(sizes, 7)) == pytest.approx(0)
    assert exponent({size: 0.1 * size**2 for size in sizes}) == pytest.approx(2)


def test_an_unknown_row_is_refused_by_name() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "speed"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "No such row: speed." in ran.stderr
