"""The code on a page of the documentation: files of a project, and commands with their output.

A block that begins with `# path/to/file.py` is that file. Blocks of one file add up; the first one
replaces what `startproject` made, but for `settings.py` and `urls.py`, which are added to. A block
of `console` is commands (after `$ `), each followed by what it prints.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "Command", "commands", "section", "write_files"]

DOCS = Path(__file__).parents[2] / "docs"
ADDED_TO = ("settings.py", "urls.py")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w/]+\.py)\n")


@dataclass(frozen=True)
class Command:
    """A command line, and the output that the page says it has."""

    line: str
    output: str


def section(page: str, title: str) -> str:
    """Return a section of a page, up to the next title of its level."""
    _, _, rest = (DOCS / page).read_text().partition(f"\n## {title}\n")
    assert rest, f"{page} has no section {title!r}"
    return rest.partition("\n## ")[0]


def _blocks(page: str, language: str, title: str = "") -> Iterator[str]:
    for found, text in _BLOCK.findall(section(page, title) if title else (DOCS / page).read_text()):
        if found == language:
            yield text


def write_files(page: str, project: Path) -> list[str]:
    """Write the files of a page into a project; return their paths in the order of the page."""
    written: list[str] = []
    for text in _blocks(page, "python"):
        match = _FILE.match(text)
        if match is None:
            continue
        path = project / match[1]
        adds = path.name in ADDED_TO or match[1] in written
        before = path.read_text() + "\n\n" if adds else ""
        path.write_text(before + text[match.end() :])
        written.append(match[1])
    return written


def commands(page: str, title: str = "") -> list[Command]:
    """Return the commands of a page or of one section, in its order."""
    found: list[Command] = []
    for text in _blocks(page, "console", title):
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append(Command(line, output.strip()))
    return found
