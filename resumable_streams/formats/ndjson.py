"""Lines of JSON."""

from collections.abc import Mapping
from typing import Any, ClassVar

from ..types import StreamInfo
from .items import ItemEncoder
from .json_line import json_line
from .raw import Raw

__all__ = ["NDJSON", "ndjson"]


class NDJSON(Raw):
    """The log as it is, which is lines of JSON. A body starts and ends as one of `raw` does.

    Its position is a byte, as in `raw`: a client goes on after the last line that it has whole.
    """

    name = "ndjson"
    content_type = "application/x-ndjson"
    has_lines = True

    def item_encoder(self, info: StreamInfo) -> ItemEncoder:
        return _LineWriter()


class _LineWriter(ItemEncoder):
    """A mapping as a line, and text as a line with one JSON string."""

    remedy: ClassVar[str] = "Yield a mapping for a line of JSON, or str for a line with one string."

    def text(self, text: str) -> bytes:
        return json_line(text) + b"\n" if text else b""

    def part(self, part: Mapping[str, Any], item: Any) -> bytes:
        return json_line(part) + b"\n"


ndjson = NDJSON()
