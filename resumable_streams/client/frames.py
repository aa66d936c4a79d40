"""Event streams, taken apart: whole frames, their events, and the frames that report an end. Pure.

Every frame of a log ends with an id, `{epoch}-{offset}`. A frame without one was made for this
body only: a keep-alive, or an error that says that the connection ends and the stream does not.
The last frame of an ended stream has the id `{epoch}-end`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import WrongFormat

__all__ = [
    "MAX_HELD_BYTES",
    "ServerEvent",
    "WireEnd",
    "WireFrame",
    "WireFrames",
    "conclusion",
    "too_long",
]

MAX_HELD_BYTES = 67_108_864
"""The longest frame, or line, whose end is waited for."""

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE_END = re.compile(r"\r\n|\n|\r")
_POSITION = re.compile(r"([A-Za-z0-9_]{1,64})-([0-9]{1,15}|end)")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """One server-sent event; `id` is a position from which the stream can be resumed."""

    type: str = "message"
    data: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireFrame:
    """One frame: its bytes, blank line included, and what its lines say.

    `event` is None if the frame dispatches none: it has no line of data. `epoch` is None without an
    id of ours; `offset` is the byte of the log after the frame, None after the end of the stream.
    """

    data: bytes
    event: ServerEvent | None
    epoch: str | None = None
    offset: int | None = None
    retry: int | None = None  # milliseconds

    @property
    def is_of_log(self) -> bool:
        return self.offset is not None

    @property
    def is_last(self) -> bool:
        return self.epoch is not None and self.offset is None


class WireFrames:
    """The frames of one body. An unfinished one waits for its blank line, or is never handed on."""

    def __init__(self) -> None:
        self._held = b""
        self._is_first = True

    def push(self, data: bytes) -> Iterator[WireFrame]:
        """Yield the frames that these bytes complete; exhaust it before the next call."""
        searched = max(0, len(self._held) - 3)
        held, start = self._held + data, 0
        for match in _BLANK_LINE.finditer(held, searched):
            if match.end() == len(held) and held.endswith(b"\r"):
                break  # a "\n" that follows belongs to the same line end
            yield self._frame(held[start : match.end()])
            start = match.end()
        self._held = held[start:]
        if len(self._held) > MAX_HELD_BYTES:
            raise too_long("frame")

    def _frame(self, data: bytes) -> WireFrame:
        if self._is_first:
            data, self._is_first = data.removeprefix(_BOM), False
        return _parse(data)


def too_long(name: str) -> WrongFormat:
    """Return the error about a frame or line that is longer than one may be."""
    return WrongFormat(
        f"A {name} has more than {MAX_HELD_BYTES} bytes. Iterate `bytes()` of a raw stream for "
        f"data of this size."
    )


def _parse(data: bytes) -> WireFrame:
    found = {"event": "", "id": "", "retry": ""}
    lines: list[str] = []
    for line in _LINE_END.split(data.decode("utf-8", "replace")):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            lines.append(value)
        elif name in found and "\0" not in value:
            found[name] = value
    text = "\n".join(lines)
    event = ServerEvent(type=found["event"] or "message", data=text, id=found["id"])
    match, retry = _POSITION.fullmatch(found["id"]), found["retry"]
    return WireFrame(
        data=data,
        event=event if lines else None,  # an empty line of data is one, too
        epoch=match[1] if match else None,
        offset=None if match is None or match[2] == "end" else int(match[2]),
        retry=int(retry[:9]) if retry.isascii() and retry.isdigit() else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WireEnd:
    """The end of a stream, as a body reports it: `done`, `cancelled` or `error`."""

    status: str
    code: str = ""
    detail: str = ""


def conclusion(last: WireFrame, before: ServerEvent | None) -> WireEnd | None:
    """Return how a stream ended; None if its last frame does not say so.

    `before` is the event right before the last one, if that was of this body only: a UI message
    says there that it was aborted, or failed.
    """
    event = last.event or ServerEvent()
    said = _object(event.data)
    if event.type in ("done", "cancelled"):
        return WireEnd(status=event.type)
    if event.type == "error":
        return _failure(said.get("code"), said.get("detail"))
    if event.data == "[DONE]":
        return _conclusion_of_message(_object(before.data) if before else {})
    if said.get("type") == "RUN_ERROR":
        if said.get("code") == "cancelled":
            return WireEnd(status="cancelled")
        return _failure(said.get("code"), said.get("message"))
    return None


def _conclusion_of_message(part: dict[str, object]) -> WireEnd:
    if part.get("type") == "abort":
        return WireEnd(status="cancelled")
    if part.get("type") == "error":
        return _failure(None, part.get("errorText"))
    return WireEnd(status="done")


def _failure(code: object, detail: object) -> WireEnd:
    return WireEnd(status="error", code=str(code or ""), detail=str(detail or ""))


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
