"""The wire formats: a byte log as a client sees it.

| name         | the log holds       | a client gets                                      |
|--------------|---------------------|----------------------------------------------------|
| `raw`        | anything            | the same bytes; the connection breaks at all but a |
|              |                     | clean end                                          |
| `sse`        | server-sent events  | the events with ids, then an event for the end     |
| `ui_message` | UI message parts    | the parts, then the AI SDK's terminal parts; the   |
|              |                     | connection breaks if the stream goes on            |

A stream remembers its format by name (`attrs["format"]`), so that every reader gets the same. The
log holds only the bytes of the source: keep-alives, ids and terminal frames are made here, for each
reader, on the way out. `register` adds a format of your own.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

from .sse import EventId, Fragment, Framer, comment, event
from .types import StreamInfo, StreamStatus

__all__ = [
    "Encoder",
    "Format",
    "FrameEncoder",
    "Missing",
    "Raw",
    "ServerSentEvents",
    "UIMessageStream",
    "format_of",
    "get_format",
    "raw",
    "register",
    "sse",
    "ui_message",
]


class Missing(StrEnum):
    """The answers to a request for a stream that is missing to the caller."""

    NOT_FOUND = "not_found"  # 404
    NO_CONTENT = "no_content"  # 204: what EventSource and the AI SDK's reconnect understand
    FINISH = "finish"  # 200 and one `finish` part: makes assistant-ui forget the id


class Format:
    """One wire format; an instance holds no state of any stream.

    A subclass sets the attributes, and returns from `encoder` what holds the state of one body.
    """

    name: ClassVar[str]
    content_type: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = {}
    missing: ClassVar[Missing] = Missing.NOT_FOUND
    is_log: ClassVar[bool] = False
    """The body is the log, byte for byte: byte ranges and a Content-Length make sense."""
    is_framed: ClassVar[bool] = False
    """The body is whole frames: it starts between two of them, and nowhere else."""
    can_reset: ClassVar[bool] = False
    """A body can begin by telling the client to forget what it has."""

    def get_content_type(self, info: StreamInfo) -> str:
        return self.content_type

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> "Encoder":
        """Start a body at the byte `offset`; `reset`: not where the client asked to go on."""
        raise NotImplementedError


class Encoder:
    """The way from the log, from one offset on, to one body; methods return bytes for the client.

    None instead of bytes means that the format cannot say so: cut the connection.
    """

    def opening(self) -> bytes:
        """Return what goes before the first byte."""
        return b""

    def encode(self, data: bytes) -> bytes:
        """Return what the next bytes of the log become; b"" while they complete nothing."""
        return data

    def keep_alive(self) -> bytes:
        """Return what may be sent in silence, where the body stands now."""
        return b""

    def end(self, info: StreamInfo) -> bytes:
        """Return the end of a stream that is done or cancelled."""
        return b""

    def failure(self, info: StreamInfo, code: str, detail: str) -> bytes | None:
        """Return the end of a stream that failed; `detail` is empty unless DEBUG."""
        return None

    def interruption(self) -> bytes | None:
        """Return the end of a body whose stream goes on elsewhere: the client has to come back."""
        return None

    def unseen_interruption(self) -> bytes | None:
        """Return the same for a client that would take a connection that is cut for an end."""
        return self.interruption()


class Raw(Format):
    """The log as it is.

    There is no place for a terminal frame, so only `done` and `cancelled` end the body cleanly: on
    an error or a drain the connection is cut. Ask HEAD which it was. The stream's attribute
    `content_type`, if it has one, is the content type.
    """

    name = "raw"
    content_type = "application/octet-stream"
    is_log = True

    def get_content_type(self, info: StreamInfo) -> str:
        return info.attrs.get("content_type") or self.content_type

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> Encoder:
        return Encoder()


class FrameEncoder(Encoder):
    """An encoder of whole frames, with keep-alives and terminal frames only between two of them.

    Half a frame at the end of the log is completed when the stream is done, and dropped otherwise.
    """

    def __init__(self, offset: int) -> None:
        self._framer = Framer(offset)
        self._offset = offset
        self._starts_log = offset == 0
        self._is_first = True

    def frame(self, data: bytes, end: int) -> bytes:
        """Return a whole frame (given without its blank line) that ends at byte `end`."""
        return data + b"\n\n"

    def terminal(self, info: StreamInfo) -> bytes:
        """Return the frame that says how the stream ended."""
        return b""

    def error(self, info: StreamInfo, code: str, detail: str) -> bytes:
        """Return the frame that says that, and why, the stream failed."""
        return b""

    def encode(self, data: bytes) -> bytes:
        return b"".join(self._encode(fragment) for fragment in self._framer.push(data))

    def _encode(self, fragment: Fragment) -> bytes:
        data = self._guard_start(fragment.data)
        if not fragment.complete:
            return data
        self._offset = fragment.end
        # More than one blank line ends nothing; the first ends what was passed on in parts.
        is_frame = data.strip() or not self._framer.between_frames
        return self.frame(data, fragment.end) if is_frame else b""

    def _guard_start(self, data: bytes) -> bytes:
        """Return the first bytes of a body such that no client takes a byte order mark off them.

        One that a source relays at the start of the log is for nobody: it is dropped, as behind a
        keep-alive it would be part of the first field. One further on is where a body may start.
        """
        is_first, self._is_first = self._is_first, False
        if not is_first or not data.startswith(BOM_UTF8):
            return data
        return data.removeprefix(BOM_UTF8) if self._starts_log else b"\n" + data

    def keep_alive(self) -> bytes:
        return KEEP_ALIVE if self._framer.between_frames else b""

    def end(self, info: StreamInfo) -> bytes:
        if info.status is not StreamStatus.DONE:
            return self._close_long_frame() + self.terminal(info)
        # A line end of its own would end the frame before its id.
        rest = self._guard_start(self._framer.rest()).rstrip(b"\r\n")
        is_frame = rest.strip() or not self._framer.between_frames
        return (self.frame(rest, info.size) if is_frame else b"") + self.terminal(info)

    def failure(self, info: StreamInfo, code: str, detail: str) -> bytes:
        return self._close_long_frame() + self.error(info, code, detail)

    def interruption(self) -> bytes | None:
        return b""

    def _close_long_frame(self) -> bytes:
        return b"" if self._framer.between_frames else b"\n\n"


KEEP_ALIVE = comment("keep-alive")


class ServerSentEvents(Format):
    """The log's frames, each with an id from which `Last-Event-ID` resumes exactly.

    The id is the epoch of the stream and the byte at which the frame ends in the log. The end is an
    event of its own: `done`, `cancelled` or `error`, with JSON as data. An id of another epoch (the
    stream was deleted and begun again) is answered from the start, after an event `reset`.
    """

    name = "sse"
    content_type = "text/event-stream"
    is_framed = True
    can_reset = True

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> Encoder:
        return _EventEncoder(info.epoch, offset, reset=reset)


class _EventEncoder(FrameEncoder):
    def __init__(self, epoch: str, offset: int, *, reset: bool) -> None:
        super().__init__(offset)
        self._epoch = epoch
        self._reset = reset

    def opening(self) -> bytes:
        if not self._reset:
            return b""
        start = str(EventId(self._epoch, self._offset))
        return event(_json({"offset": self._offset}), "reset", event_id=start)

    def frame(self, data: bytes, end: int) -> bytes:
        return b"%b\nid: %b-%d\n\n" % (data, self._epoch.encode(), end)

    def terminal(self, info: StreamInfo) -> bytes:
        return self._last(info.status, {"status": info.status})

    def error(self, info: StreamInfo, code: str, detail: str) -> bytes:
        answer = {"status": StreamStatus.ERROR, "code": code}
        return self._last("error", {**answer, "detail": detail} if detail else answer)

    def _last(self, name: str, answer: Mapping[str, str]) -> bytes:
        return event(_json(answer), name, event_id=str(EventId(self._epoch, None)))


class UIMessageStream(Format):
    """The AI SDK's UI message stream protocol, version 1.

    The source yields `part(…)`s, `start` and `finish` among them. A failed stream ends with an
    `error` part, a cancelled one with `abort`, and both, like a done one, with `[DONE]`. The client
    refuses parts it does not know, so that nothing else is ever sent, except comments. A body that
    ends before its stream does is cut, so that the client knows; where it could not see that, it
    gets an `error` part with the text RESUME.
    """

    name = "ui_message"
    content_type = "text/event-stream"
    headers = {"x-vercel-ai-ui-message-stream": "v1"}
    missing = Missing.NO_CONTENT
    is_framed = True

    def part(self, part: Mapping[str, Any]) -> bytes:
        """Encode one part, as in `part({"type": "text-delta", "id": "0", "delta": "Hel"})`."""
        return event(_json(part))

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> Encoder:
        return _PartEncoder(offset)


class _PartEncoder(FrameEncoder):
    _last = b""

    def frame(self, data: bytes, end: int) -> bytes:
        self._last = data
        return super().frame(data, end)

    def terminal(self, info: StreamInfo) -> bytes:
        abort = info.status is StreamStatus.CANCELLED
        return (ui_message.part({"type": "abort"}) if abort else b"") + self._done()

    def error(self, info: StreamInfo, code: str, detail: str) -> bytes:
        text = detail or f"The stream ended with an error: {code}."
        return ui_message.part({"type": "error", "errorText": text}) + self._done()

    def interruption(self) -> None:
        """Cut the connection: a client takes a body that ends for the whole answer."""

    def unseen_interruption(self) -> bytes:
        # No `[DONE]`: it is not.
        return self._close_long_frame() + ui_message.part({"type": "error", "errorText": RESUME})

    def _done(self) -> bytes:
        return b"" if self._last.strip() == _DONE.strip() else _DONE


RESUME = "The connection ended before the answer did: resume."
"""The text of the error at the end of a body whose stream goes on. The part has no room for a code:
clients refuse what they do not know."""

_DONE = event("[DONE]")


def _json(value: Mapping[str, Any]) -> str:
    """Encode compactly: assistant-ui looks for the exact bytes `"type":"finish"`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair (a token that ends inside an emoji) has no UTF-8, but an escape.
    return text if _is_unicode(text) else json.dumps(value, separators=(",", ":"))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


raw = Raw()
sse = ServerSentEvents()
ui_message = UIMessageStream()
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


for _format in (raw, sse, ui_message):
    register(_format)
