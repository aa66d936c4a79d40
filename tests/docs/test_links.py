"""The pages as a whole: links lead somewhere, the index is complete, names of the package exist."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from .pages import DOCS

ROOT = DOCS.parent
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
PAGES += sorted(DOCS.glob("*.md"))

LINK = re.compile(r"\]\((?!https?:|mailto:)([\w./-]*)(?:#([\w-]+))?\)")
DOTTED = re.compile(
    r"\bfrom (resumable_streams[\w.]*) import ([\w, ]+)|`(resumable_streams\.\w+\.[\w.]+)\b"
)


def headings(page: Path) -> set[str]:
    lines = [line for line in page.read_text().splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in headings(linked), (target, anchor)


def test_the_index_has_a_line_for_each_page() -> None:
    text = (DOCS / "README.md").read_text()
    assert set(re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.md)\) \|", text, re.MULTILINE)) == {
        page.name for page in DOCS.glob("*.md")
    } - {"README.md"}


@pytest.mark.timeout(180)  # the packages of providers take long to import
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_the_package_exist(page: Path) -> None:
    for source, names, path in DOTTED.findall(page.read_text()):
        where, found = (source, names) if source else path.rpartition(".")[::2]
        for name in re.findall(r"\w+", found):
            is_module = hasattr(module := import_module(where), "__path__") and find_spec(
                f"{where}.{name}"
            )
            assert is_module or hasattr(module, name), (where, name)
