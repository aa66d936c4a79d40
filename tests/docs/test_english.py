"""The English of the pages and of the docstrings: a count that may not grow, and patterns to avoid.

A free relative is a clause that stands for a thing without naming it: "what was written stays",
"whoever reads", "ask who may". Plain English names the thing: "written bytes stay", "a reader". The
count is of words, so it is rough, and rather too high: each `what`, `whatever` and `whoever`, an
indirect question too, and each `who` without a noun right before it ("a reader who" is none).
Headings, questions, code, links' targets and the tables that runs write are left out.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pages import DOCS

ROOT = DOCS.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted(DOCS.glob("*.md"))
MODULES = sorted((ROOT / "resumable_streams").rglob("*.py"))
PER_THOUSAND_WORDS = 3

LEFT_OUT = re.compile(
    r"^```.*?^```$"  # code
    r"|<!-- begin of the table -->.*?<!-- end of the table -->"
    r"|^#+ .*?$"  # headings
    r"|^[-|0-9. ]*\[[^\]]*\]\([^)]*\)"  # links to headings and pages, with their names
    r"|^\|[^\n]*\|\n(?=\|[-|]+\|$)"  # the heads of tables
    r"|\]\([^)]*\)"
    r"|`[^`]*`",
    re.MULTILINE | re.DOTALL,
)
QUESTION = re.compile(r"[^.:|?]*\?")
BEFORE_WHO = [
    "for",
    "to",
    "of",
    "by",
    "from",
    "with",
    "and",
    "or",
    "but",
    "than",
    "that",
    "if",
    "as",
    "is",
    "are",
    "was",
    "not",
]
FREE_RELATIVE = re.compile(
    r"\b(?:what|whatever|whoever)\b"
    rf"|(?:^|[.,:;(|-] ?|\b(?:{'|'.join(BEFORE_WHO)})\s+)who\b",
    re.IGNORECASE | re.MULTILINE,
)

DIALECT = re.compile(
    r"^Be |(?<!there )\bis none\b|\b(?:stop|start)(?:ped|s|ing)? to \w", re.MULTILINE
)

IMPERATIVE = re.compile(
    "(Act|Answer|Ask|Bar|Bound|Build|Cancel|Carry|Count|Cut|Delete|Do|Draw|End|Give|Hand|Hold"
    "|Iterate|Keep|Know|Let|Look|Mean|Name|Pass|Produce|Prove|Push|Put|Read|Receive|Refuse|Return"
    "|Run|Say|Send|Speak|Start|State|Take|Tell|Turn|Watch|Whoever|Who|Write) "
)


def prose(text: str) -> str:
    """Return the sentences of a page."""
    return QUESTION.sub(" ", LEFT_OUT.sub(" ", text))


def free_relatives(text: str) -> list[str]:
    """Return each free relative, with the words around it."""
    return [
        " ".join(text[max(0, match.start() - 30) : match.end() + 30].split())
        for match in FREE_RELATIVE.finditer(text)
    ]


def docstrings(module: Path) -> Iterator[str]:
    """Yield the docstrings of a module: of itself, its classes, functions and attributes."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield inspect.cleandoc(str(node.value.value))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_few_free_relatives(page: Path) -> None:
    text = prose(page.read_text())
    found = free_relatives(text)
    assert len(found) * 1000 < PER_THOUSAND_WORDS * max(len(text.split()), 1000), found


def test_the_docstrings_of_modules_have_few_free_relatives() -> None:
    texts = [ast.get_docstring(ast.parse(module.read_text())) or "" for module in MODULES]
    text = prose("\n\n".join(texts))
    found = free_relatives(text)
    assert len(found) * 1000 < PER_THOUSAND_WORDS * len(text.split()), found


def test_a_free_relative_is_found_and_a_relative_with_its_noun_is_not() -> None:
    dialect = "Who reads is told what happened. A stream is for who has it, whatever it holds."
    assert len(free_relatives(prose(dialect))) == 4
    plain = "# What is where\n\nA reader who left is told. Where does it end, and for whom? `what`"
    assert free_relatives(prose(plain)) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_docstring_is_plain_english(module: Path) -> None:
    assert [text for text in docstrings(module) if DIALECT.search(text)] == []


def test_the_docstring_of_a_class_is_a_noun_phrase() -> None:
    docstrings_of_classes = {
        f"{module.name}: {node.name}": ast.get_docstring(node) or ""
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert len(docstrings_of_classes) > 100
    assert [name for name, text in docstrings_of_classes.items() if IMPERATIVE.match(text)] == []


def test_a_page_is_plain_english() -> None:
    faults = {page.name: DIALECT.findall(LEFT_OUT.sub(" ", page.read_text())) for page in PAGES}
    assert not {page: found for page, found in faults.items() if found}


@pytest.mark.parametrize(
    "dialect", ["Be the owner.", "The key is none.", "It stopped to count.", "Start to read it."]
)
def test_dialect_is_found(dialect: str) -> None:
    assert DIALECT.search(dialect) or DIALECT.search(dialect.lower())
