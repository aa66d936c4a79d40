"""docs/api.md runs, and has every verb and every public name; verbs on all pages exist."""

import ast
import inspect
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

import resumable_streams
from resumable_streams import StreamManager

from .pages import DOCS

PAGE = (DOCS / "api.md").read_text()
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
VERBS = {
    name: verb
    for name, verb in inspect.getmembers(StreamManager, inspect.isfunction)
    if not name.startswith("_") and name not in ("tenant", "using")
}


async def test_the_code_runs(settings: Settings, key_prefix: str) -> None:
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix}}
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    compiled = compile(code, "api.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running: Coroutine[Any, Any, None] = eval(compiled, {})
    await running


def test_every_verb_has_a_row_with_its_sync_twin() -> None:
    rows = dict(re.findall(r"^\| `(a\w+)\(.*?`\s*\| `(\w+)` \|", PAGE, re.MULTILINE))
    asynchronous = {name for name, verb in VERBS.items() if inspect.iscoroutinefunction(verb)}
    assert rows == {name: name.removeprefix("a") for name in asynchronous}
    assert set(rows.values()) == VERBS.keys() - asynchronous


def test_every_public_name_is_on_the_page() -> None:
    words = set(re.findall(r"\w+", PAGE))
    assert set(resumable_streams.__all__) - words == {"Owner", "StreamManager"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_verbs_on_a_page_exist_and_are_awaited_if_async(page: Path) -> None:
    calls = re.findall(r"(await )?\bstreams\.(\w+)\((?:\s|None|stream_id|reader)", page.read_text())
    for awaited, name in calls:
        assert inspect.iscoroutinefunction(VERBS[name]) == bool(awaited), name
