"""The formats of this process, by name: ours, those of FORMATS, and what was registered."""

from contextlib import suppress
from functools import cache
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ..conf import SETTING, format_paths
from ..exceptions import InvalidStoreError
from ..types import StreamInfo
from .ag_ui import ag_ui
from .base import Format
from .html import html
from .ndjson import ndjson
from .raw import raw
from .sse import sse
from .ui_message import ui_message

__all__ = ["format_of", "get_format", "load_format", "register"]

BUILT_IN: tuple[Format, ...] = (raw, ndjson, sse, html, ui_message, ag_ui)

_registered: dict[str, Format] = {}


def register(wire_format: Format) -> Format:
    """Make a format known by its name, in place of one that has it; do so before serving.

    For formats that are made in code; a class is better named in FORMATS.
    """
    _registered[wire_format.name] = wire_format
    _known.cache_clear()
    return wire_format


def get_format(name: str) -> Format:
    """Return the format of that name; raise LookupError for one that nobody registered.

    Raises InvalidStoreError if it may be one of FORMATS that cannot be loaded.
    """
    known = _known()
    if name not in known:
        for alias, path in format_paths():
            load_format(alias, path)
        raise LookupError(
            f"No format is called {name!r}. Known are {', '.join(map(repr, known))}; "
            f"the setting FORMATS adds yours."
        )
    return known[name]


def format_of(info: StreamInfo) -> Format:
    """Return the format a stream was acquired with; raw for one that is not known here."""
    return _known().get(info.attrs.get("format", raw.name), raw)


def load_format(alias: str, path: str) -> Format:
    """Return the format at a path of FORMATS; raise InvalidStoreError, with the cause, for none."""
    where = f"FORMATS of the stream alias {alias!r} names {path!r}, which"
    try:
        found: Any = import_string(path)
    except ImportError as error:
        raise InvalidStoreError(f"{where} cannot be imported: {error}. {REMEDY}") from error
    if not (isinstance(found, type) and issubclass(found, Format)):
        raise InvalidStoreError(f"{where} is no class of a format. {REMEDY}")
    name = getattr(found, "name", None)
    if not isinstance(name, str) or not name or not isinstance(found.content_type, str):
        raise InvalidStoreError(f"{where} has no `name` or no `content_type`. {REMEDY}")
    return found()


REMEDY = "Name a subclass of resumable_streams.formats.Format by its dotted path."


@cache
def _known() -> dict[str, Format]:
    known = {each.name: each for each in BUILT_IN}
    for alias, path in format_paths():
        with suppress(InvalidStoreError):  # the system checks tell, and so does who needs it
            configured = load_format(alias, path)
            known[configured.name] = configured
    return known | _registered


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == SETTING:
        _known.cache_clear()


setting_changed.connect(_forget)
