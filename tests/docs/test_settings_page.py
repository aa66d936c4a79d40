"""docs/settings.md names every setting, limit, option and check, with its true default."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resumable_streams import checks, conf
from resumable_streams.conf import LIMIT_RULES, RULES, AliasSettings
from resumable_streams.stores import memory
from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.stores.redis import checks as redis_checks
from resumable_streams.types import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
README = (Path(__file__).parents[2] / "README.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]


def row(*start: str) -> list[str]:
    """Return the one row that begins with these cells."""
    wanted = [f"`{text}`" for text in start]
    (found,) = (cells for cells in ROWS if cells[: len(wanted)] == wanted)
    return found


def default_in(cell: str) -> Any:
    return ast.literal_eval(cell.strip("`"))


@pytest.mark.parametrize("name", [name for name in RULES if name != "LIMITS"])
def test_every_setting_has_its_row_with_its_default(name: str):
    fields = {field.name: field for field in dataclasses.fields(AliasSettings)}
    default = getattr(AliasSettings(alias="default"), fields[name.lower()].name)
    assert default_in(row(name)[2]) == default


@pytest.mark.parametrize("name", LIMIT_RULES)
def test_every_limit_has_its_row_with_its_default(name: str):
    assert default_in(row(name)[2]) == getattr(Limits(), name.lower())
    assert "`LIMITS`" in PAGE


def test_no_row_is_about_a_setting_that_is_not_there():
    named = {cells[0].strip("`") for cells in ROWS if re.fullmatch(r"`[A-Z_]{3,}`", cells[0])}
    assert named == {*RULES, *LIMIT_RULES} - {"LIMITS"}


@pytest.mark.parametrize("store", [RedisStore, MemoryStore])
def test_every_option_of_a_backend_has_its_row_with_its_default(store: Callable[..., BaseStore]):
    keywords = dict(inspect.signature(store).parameters)
    for name in ("alias", "key_prefix", "location", "limits", "cache_alias"):
        keywords.pop(name, None)
    for name, parameter in keywords.items():
        cell = row(store.__name__, name)[2]
        if name != "clock":
            assert default_in(cell) == parameter.default


def test_every_check_has_its_row():
    sources = "".join(map(inspect.getsource, (checks, conf, memory, redis_checks)))
    given = set(re.findall(r'"(?:resumable_streams\.)?([EWI]\d{3})"', sources))
    rows = {cells[0].strip("`") for cells in ROWS if re.fullmatch(r"`[EWI]\d{3}`", cells[0])}
    assert rows == given


def test_checks_of_the_rows_are_checks():
    known = {cells[0].strip("`") for cells in ROWS}
    assert set(re.findall(r"\b[EWI]\d{3}\b", PAGE)) <= known
