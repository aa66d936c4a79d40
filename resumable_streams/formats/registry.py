"""The formats of this process, by name."""

from ..types import StreamInfo
from .ag_ui import ag_ui
from .base import Format
from .ndjson import ndjson
from .raw import raw
from .sse import sse
from .ui_message import ui_message

__all__ = ["format_of", "get_format", "register"]

_formats: dict[str, Format] = {}


def register(wire_format: Format) -> Format:
    """Make a format known by its name, in place of one that has it; do so before serving."""
    _formats[wire_format.name] = wire_format
    return wire_format


def get_format(name: str) -> Format:
    """Return the format of that name; raise LookupError for one that nobody registered."""
    if name not in _formats:
        raise LookupError(
            f"No format is called {name!r}. Known are {', '.join(map(repr, sorted(_formats)))}; "
            f"`formats.register` adds one of yours."
        )
    return _formats[name]


def format_of(info: StreamInfo) -> Format:
    """Return the format a stream was acquired with; raw for one that is not known here."""
    return _formats.get(info.attrs.get("format", raw.name), raw)


for _format in (raw, ndjson, sse, ui_message, ag_ui):
    register(_format)
