"""Where a reader goes on: what a request says about it, and what of that is there. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .exceptions import InvalidOffset
from .sse import EventId
from .types import StreamInfo, StreamStatus

__all__ = ["ByteRange", "Position", "Span", "parse_position", "plan_range"]

MAX_OFFSET = 2**53 - 1  # what JavaScript and Lua count exactly; no log is that long
VERY_LARGE = 10**11  # a last byte from here on asks for what is yet to come (RFC 8673)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Hold one range of RFC 9110: from `first` to `last`, or, without `first`, the last bytes."""

    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """State which bytes a 206 carries; `length` None: the end of the body is not the end of it."""

    first: int
    last: int
    total: int | None
    length: int | None

    @property
    def content_range(self) -> str:
        return f"bytes {self.first}-{self.last}/{'*' if self.total is None else self.total}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """State where a reader wants to go on. At most one of the first three is set."""

    event_id: EventId | None = None
    offset: int | None = None
    byte_range: ByteRange | None = None
    live: bool = True


def parse_position(query: Mapping[str, str], headers: Mapping[str, str]) -> Position:
    """Return the position that a request names; raise InvalidOffset for one that is malformed.

    `Last-Event-ID` comes first: EventSource reconnects to its first address, `?offset=` and all.
    """
    event_id, offset = _parse_event_id(headers), _parse_offset(query)
    byte_range = None if "If-Range" in headers else _parse_range(headers.get("Range", ""))
    live = _parse_live(query)
    if event_id is not None:
        return Position(event_id=event_id, live=live)
    if offset is not None:
        return Position(offset=offset, live=live)
    return Position(byte_range=byte_range, live=live)


def _parse_event_id(headers: Mapping[str, str]) -> EventId | None:
    text = headers.get("Last-Event-ID", "")
    event_id = EventId.parse(text)
    if text and event_id is None:
        raise InvalidOffset
    return event_id


def _parse_offset(query: Mapping[str, str]) -> int | None:
    text = query.get("offset")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]+", text):
        raise InvalidOffset
    return _number(text)


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return min(int(significant or "0"), MAX_OFFSET) if len(significant) < 20 else MAX_OFFSET


def _parse_live(query: Mapping[str, str]) -> bool:
    text = query.get("live", "1")
    if text not in ("0", "1"):
        raise InvalidOffset
    return text == "1"


def _parse_range(text: str) -> ByteRange | None:
    """Return the one byte range asked for; None for a unit or a set of ranges we may ignore."""
    unit, _, ranges = text.partition("=")
    if unit.strip().lower() != "bytes" or "," in ranges:
        return None
    match = re.fullmatch(r"([0-9]*)-([0-9]*)", ranges.strip())
    if match is None or match[0] == "-":
        raise InvalidOffset
    first, last = (_number(digits) if digits else None for digits in match.groups())
    if first is not None and last is not None and last < first:
        raise InvalidOffset
    return ByteRange(first, last)


def plan_range(wanted: ByteRange, info: StreamInfo) -> Span | None:
    """Return what answers a range of the stream as it is now; None to ignore the range.

    Raises InvalidOffset where nothing of it is there (416). An open range of a live stream is
    ignored, as its end is not known; a very large last byte says that the client knows that.
    """
    size, live = info.size, info.is_streaming
    if wanted.first is None:
        return None if live else _plan_suffix(wanted.last or 0, info)
    if live and wanted.last is None:
        return None
    if live and wanted.last is not None and wanted.last >= VERY_LARGE:
        if wanted.first > size:
            raise InvalidOffset(size)
        return Span(wanted.first, wanted.last, total=None, length=None)
    if wanted.first >= size:
        raise InvalidOffset(size)
    last = size - 1 if wanted.last is None else min(wanted.last, size - 1)
    return _span(wanted.first, last, info)


def _plan_suffix(length: int, info: StreamInfo) -> Span:
    if not length or not info.size:
        raise InvalidOffset(info.size)
    return _span(max(0, info.size - length), info.size - 1, info)


def _span(first: int, last: int, info: StreamInfo) -> Span:
    # Of a failed stream the whole is not known, and its last byte is followed by the cut.
    failed = info.status is StreamStatus.ERROR
    cut = failed and last == info.size - 1
    total = None if failed or info.is_streaming else info.size
    return Span(first, last, total=total, length=None if cut else last - first + 1)
