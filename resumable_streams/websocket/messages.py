"""The messages of a WebSocket: the JSON of clients, and the frames that carry bytes. Pure.

`docs/websocket.md` has a table of all messages, of both directions.
"""

import codecs
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..positions import MAX_OFFSET

__all__ = [
    "BadMessage",
    "BinaryFrames",
    "ClientMessage",
    "Frame",
    "Frames",
    "MessageType",
    "TextFrames",
    "dump",
    "frames_of",
    "parse_message",
]

MAX_CHANNEL = 2**32 - 1

_HEAD = struct.Struct(">IQ")


class MessageType(StrEnum):
    """What a client can ask for."""

    ACQUIRE = "acquire"
    RESUME = "resume"
    ACK = "ack"
    CANCEL = "cancel"
    STATUS = "status"
    CLOSE = "close"


class Frames(StrEnum):
    """The two kinds of frames that bytes come in."""

    BINARY = "binary"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMessage:
    """One message of a client. `docs/websocket.md` says which fields go with which type."""

    type: MessageType
    channel: int
    id: str | None = None
    epoch: str | None = None
    offset: int = 0
    live: bool = True
    frames: Frames = Frames.BINARY
    token: str | None = None
    key: str | None = None
    data: Any = None


class BadMessage(Exception):
    """A message outside the protocol. `channel` is None where the message does not name one."""

    def __init__(self, detail: str, *, channel: int | None = None, to: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.channel = channel
        self.to = to


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


_RULES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "id": (lambda v: isinstance(v, str), "a string"),
    "epoch": (lambda v: isinstance(v, str), "a string"),
    "token": (lambda v: isinstance(v, str), "a string"),
    "key": (lambda v: isinstance(v, str), "a string"),
    "offset": (lambda v: _is_whole(v, MAX_OFFSET), "a whole number from 0 to 2**53 - 1"),
    "live": (lambda v: isinstance(v, bool), "true or false"),
    "frames": (lambda v: v in list(Frames), "'binary' or 'text'"),
    "data": (lambda v: True, "any JSON"),
}

_OPTIONAL: Mapping[MessageType, frozenset[str]] = {
    MessageType.ACQUIRE: frozenset({"key", "data", "frames"}),
    MessageType.RESUME: frozenset({"epoch", "offset", "live", "frames", "token"}),
    MessageType.ACK: frozenset(),
    MessageType.CANCEL: frozenset({"id", "epoch"}),
    MessageType.STATUS: frozenset({"id", "epoch", "token"}),
    MessageType.CLOSE: frozenset(),
}

_REQUIRED: Mapping[MessageType, frozenset[str]] = {
    MessageType.RESUME: frozenset({"id"}),
    MessageType.ACK: frozenset({"offset"}),
}


def parse_message(text: str) -> ClientMessage:
    """Return what a client says; raise BadMessage with the reason, in words for its author."""
    fields = _fields(text)
    channel = fields.pop("channel", None)
    if not _is_whole(channel, MAX_CHANNEL):
        raise BadMessage("'channel' is a whole number from 0 to 2**32 - 1.")
    name = fields.pop("type", None)
    if name not in list(MessageType):
        known = ", ".join(MessageType)
        raise BadMessage(f"'type' is one of {known}.", channel=channel)
    kind = MessageType(name)
    if problem := _problem(kind, fields):
        raise BadMessage(problem, channel=channel, to=kind)
    if "frames" in fields:
        fields["frames"] = Frames(fields["frames"])
    return ClientMessage(type=kind, channel=channel, **fields)


def _fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("A message is JSON.") from None
    if not isinstance(fields, dict):
        raise BadMessage("A message is a JSON object.")
    return fields


def _problem(kind: MessageType, fields: Mapping[str, object]) -> str:
    """Return what is wrong with the fields of a message; "" if nothing is."""
    required = _REQUIRED.get(kind, frozenset())
    if missing := required - fields.keys():
        return f"'{kind}' needs {_quoted(missing)}."
    if unknown := fields.keys() - required - _OPTIONAL[kind]:
        return f"'{kind}' takes no {_quoted(unknown)}."
    for name, value in fields.items():
        accepts, words = _RULES[name]
        if not accepts(value):
            return f"{name!r} is {words}."
    return ""


def _quoted(names: "frozenset[str] | set[str]") -> str:
    return ", ".join(repr(name[:32]) for name in sorted(names))


def dump(message: Mapping[str, object]) -> str:
    """Encode a message to a client."""
    return json.dumps(message, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame with bytes of a log, as it is sent: `text` or `data`, and the byte it ends at."""

    end: int
    data: bytes | None = None
    text: str | None = None


class BinaryFrames:
    """Frames of 4 bytes channel, 8 bytes offset (both big-endian), then the bytes of the log."""

    def __init__(self, channel: int, offset: int) -> None:
        self._channel = channel
        self._offset = offset

    def frame(self, data: bytes) -> Frame | None:
        """Return the frame of the next bytes."""
        start, self._offset = self._offset, self._offset + len(data)
        return Frame(self._offset, data=_HEAD.pack(self._channel, start) + data)


class TextFrames:
    """JSON messages with the text that the log is, from one whole character to another."""

    def __init__(self, channel: int, offset: int) -> None:
        self._channel = channel
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def frame(self, data: bytes) -> Frame | None:
        """Return the frame of the next bytes; None while they complete no character.

        Raises UnicodeDecodeError for what is no UTF-8.
        """
        waiting = len(self._decoder.getstate()[0])
        text = self._decoder.decode(data)
        length = waiting + len(data) - len(self._decoder.getstate()[0])
        if not text:
            return None
        start, self._offset = self._offset, self._offset + length
        place = {"channel": self._channel, "offset": start, "end": self._offset}
        return Frame(self._offset, text=dump({"type": "data", **place, "text": text}))


def frames_of(kind: Frames, channel: int, offset: int) -> BinaryFrames | TextFrames:
    """Return what makes the frames of a stream that is read from `offset` on."""
    return (TextFrames if kind is Frames.TEXT else BinaryFrames)(channel, offset)
