"""docs/javascript.md against client.js and its types: size, names, states, statuses."""

import gzip
import re

from .pages import DOCS, section

FRONTEND = DOCS.parent / "example_project" / "frontend"
STATIC = DOCS.parent / "resumable_streams" / "static" / "resumable_streams"
CODE = (STATIC / "client.js").read_text()
TYPES = (STATIC / "client.d.ts").read_text()
EXPORTED = re.compile(r"^export (?:async )?(?:function|const|class) (\w+)", re.MULTILINE)


def test_the_client_is_small() -> None:
    assert len(gzip.compress((STATIC / "client.js").read_bytes(), mtime=0)) < 5_000


def test_each_export_has_types() -> None:
    assert set(EXPORTED.findall(CODE)) == set(EXPORTED.findall(TYPES)) - {"interface"}


def test_the_table_of_states_has_each() -> None:
    states = re.findall(r"^export type StreamState = (.*);$", TYPES, re.MULTILINE)[0]
    told = re.findall(r"^\| `(\w+)` \|", section("javascript.md", "States"), re.MULTILINE)
    assert told == re.findall(r'"(\w+)"', states)


def test_the_table_of_items_has_each() -> None:
    shapes = re.findall(r"^  as\?: (.*);$", TYPES, re.MULTILINE)[0]
    told = re.findall(r'^\| `"(\w+)"`', section("javascript.md", "Follow a stream"), re.MULTILINE)
    assert told == re.findall(r'"(\w+)"', shapes)


def test_the_numbers_are_those_of_the_code() -> None:
    text = section("javascript.md", "How it goes on")
    assert "silence: 45_000, firstPause: 500, longestPause: 10_000" in CODE
    assert "from 0.5 s to 10 s" in text
    assert "After 45 s" in text
    assert "/408|425|429|50[234]/" in CODE
    assert "Only 408, 425, 429, 502, 503 and 504 are tried again" in text


def test_the_hook_is_that_of_the_example() -> None:
    hook = (FRONTEND / "src" / "useResumableStream.ts").read_text()
    assert f"```ts\n{hook}```" in section("javascript.md", "In React")
