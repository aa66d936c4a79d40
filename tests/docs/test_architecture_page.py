"""docs/architecture.md names every module and folder of the tree, every layer, and nothing else."""

import re
import tomllib
from pathlib import Path

import pytest

from .pages import DOCS

ROOT = DOCS.parent
PACKAGE = ROOT / "resumable_streams"
PAGE = (DOCS / "architecture.md").read_text()

PLACES = {
    "resumable_streams/": PACKAGE,
    "redis/": PACKAGE / "stores" / "redis",
    "chat/": PACKAGE / "contrib" / "chat",
    **{f"{name}/": PACKAGE / name for name in ("http", "websocket", "operating", "client")},
    **{f"{name}/": PACKAGE / name for name in ("management", "control")},
    **{f"{name}/": PACKAGE / name for name in ("engine", "producing", "reading", "process")},
    **{f"{name}/": PACKAGE / name for name in ("stores", "admin", "contrib", "formats", "testing")},
}
NOT_ROOMS = {"migrations/", "static/", "templates/", "templatetags/"}
NOT_ROOMS |= {"commands/", "verbs/", "lua/", "contract/"}
"""Folders with many files of one kind, which have a line and no section."""


def section(heading: str) -> str:
    found = re.search(rf"^#+ {re.escape(heading)}$\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def named(heading: str) -> set[str]:
    """Return the names before the colon of each line of a section."""
    lines = re.findall(r"^- (.*?):", section(heading), re.MULTILINE)
    return {name for line in lines for name in re.findall(r"`([\w/]+)`", line)}


def rooms(folder: Path) -> set[str]:
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    inside = {
        f"{path.name}/" for path in folder.iterdir() if path.is_dir() and any(path.rglob("*.*"))
    }
    return modules | inside - {"__pycache__/"}


@pytest.mark.parametrize("heading", PLACES)
def test_every_module_and_folder_has_its_line(heading: str) -> None:
    assert named(heading) == rooms(PLACES[heading])


def test_every_folder_has_its_section() -> None:
    folders = {name for heading in PLACES for name in named(heading) if name.endswith("/")}
    assert folders - NOT_ROOMS == PLACES.keys() - {"resumable_streams/"}


def test_the_layers_are_those_of_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    (block,) = re.findall(r"```text\n(.*?)```", section("The layers"), re.DOTALL)
    assert block.splitlines() == layers


def test_every_folder_of_the_tests_has_its_row() -> None:
    rows = re.findall(r"^\| `tests/(\w+)` \|", section("The tests"), re.MULTILINE)
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert set(rows) == folders - {"__pycache__"}


def test_places_that_the_page_names_exist() -> None:
    names = re.findall(r"`(\w+/[\w/]+)`", PAGE)
    assert names
    for name in names:
        if not name.startswith("tests/"):
            assert (PACKAGE / name).with_suffix(".py").exists() or (PACKAGE / name).is_dir(), name
