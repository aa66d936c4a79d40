"""The position of a reader: read from a request, and resolved against the stream. Pure.

A position is a byte of the log of one incarnation. `Last-Event-ID` names both. An offset or a range
belongs to the present incarnation, unless `?epoch=` or `If-Range` names one: without it, a client
that comes back to an id that was deleted and begun again joins halves of two answers.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from .exceptions import InvalidOffset, StreamReplaced
from .sse import EventId
from .types import StreamInfo, StreamStatus

__all__ = [
    "ByteRange",
    "Locate",
    "Peek",
    "Position",
    "Span",
    "Start",
    "parse_position",
    "plan_range",
    "resolve",
]

MAX_OFFSET = 2**53 - 1  # what JavaScript and Lua count exactly; no log is that long
VERY_LARGE = 10**11  # a last byte from here on asks for what is yet to come (RFC 8673)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range of RFC 9110: from `first` to `last`, or, without `first`, the last bytes."""

    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes of a 206; `length` is None when the body may end before `last`."""

    first: int
    last: int
    total: int | None
    length: int | None

    @property
    def content_range(self) -> str:
        return f"bytes {self.first}-{self.last}/{'*' if self.total is None else self.total}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The place at which a reader wants to go on. At most one of the first three is set.

    `epoch` is the incarnation that an offset is of; `condition` the incarnation, in quotes, without
    which a range is to be ignored.
    """

    event_id: EventId | None = None
    offset: int | None = None
    byte_range: ByteRange | None = None
    live: bool = True
    epoch: str | None = None
    condition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The place at which an answer starts.

    `reset`: elsewhere than the client asked for. `is_over`: the client has had all of it.
    """

    offset: int = 0
    live: bool = True
    reset: bool = False
    span: Span | None = None
    is_over: bool = False


Peek = Callable[[int, int], Awaitable[bytes]]
"""Read stored bytes: from an offset, at most so many."""

Locate = Callable[[StreamInfo, Peek], Awaitable[Start]]
"""Say where to start in a stream as it is now; raise InvalidOffset or StreamReplaced."""


def parse_position(query: Mapping[str, str], headers: Mapping[str, str]) -> Position:
    """Return the position that a request names; raise InvalidOffset for one that is malformed.

    `Last-Event-ID` comes first: EventSource reconnects to its first address, `?offset=` and all.
    """
    event_id, offset = _parse_event_id(headers), _parse_offset(query)
    byte_range = _parse_range(headers.get("Range", ""))
    live, epoch = _parse_live(query), query.get("epoch")
    if event_id is not None:
        return Position(event_id=event_id, live=live)
    if offset is not None:
        return Position(offset=offset, live=live, epoch=epoch)
    condition = headers.get("If-Range")
    return Position(byte_range=byte_range, live=live, epoch=epoch, condition=condition)


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


def resolve(position: Position, info: StreamInfo, *, is_log: bool, can_reset: bool) -> Start:
    """Return where an answer starts in the stream as it is now.

    Ranges are for formats whose body is the log; `can_reset` is for those that can tell a client to
    forget what it has. Raises InvalidOffset for a position beyond the end, StreamReplaced for one
    in another incarnation of the stream.
    """
    if position.event_id is not None:
        return _resolve_event(position.event_id, info, live=position.live, can_reset=can_reset)
    if position.epoch not in (None, info.epoch):
        raise StreamReplaced(info.epoch)
    if position.byte_range is not None and is_log:
        return _resolve_range(position, position.byte_range, info)
    return Start(offset=_within(position.offset or 0, info), live=position.live)


def _resolve_event(seen: EventId, info: StreamInfo, *, live: bool, can_reset: bool) -> Start:
    # After the end, of a stream that goes on: a revocation that is over has ended its reader, say.
    is_elsewhere = seen.epoch != info.epoch or (seen.offset is None and info.is_streaming)
    if is_elsewhere:
        if not can_reset:
            raise StreamReplaced(info.epoch)
        return Start(live=live, reset=True)
    if seen.offset is None:
        return Start(live=live, is_over=True)
    # At the last byte of a failed or cancelled stream one thing is left to learn: that it is that.
    is_over = info.status is StreamStatus.DONE and seen.offset == info.size
    return Start(offset=_within(seen.offset, info), live=live, is_over=is_over)


def _resolve_range(position: Position, wanted: ByteRange, info: StreamInfo) -> Start:
    is_same = position.condition in (None, f'"{info.epoch}"')
    span = plan_range(wanted, info) if is_same else None
    if span is None:
        return Start(live=position.live)
    return Start(offset=span.first, live=position.live and span.length is None, span=span)


def _within(offset: int, info: StreamInfo) -> int:
    if offset > info.size:
        raise InvalidOffset(info.size)
    return offset


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
