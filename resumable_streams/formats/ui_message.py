"""The UI message stream protocol of the AI SDK."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ..sse import data_of, event
from ..types import StreamInfo, StreamStatus
from .base import Encoder, Format, Missing
from .frames import FrameEncoder
from .items import ItemEncoder, WrongItem
from .json_text import json_text

__all__ = ["RESUME", "UIMessageStream", "ui_message"]


class UIMessageStream(Format):
    """The AI SDK's UI message stream protocol, version 1.

    The source yields `part(…)`s, `start` and `finish` among them. A failed stream ends with an
    `error` part, a cancelled one with `abort`, and both, like a done one, with `[DONE]`. The client
    refuses parts it does not know, so that nothing else is ever sent, except comments and ids. A
    body that ends before its stream does is cut, so that the client knows; where it could not see
    that, it gets an `error` part with the text RESUME.
    """

    name = "ui_message"
    content_type = "text/event-stream"
    headers = {"x-vercel-ai-ui-message-stream": "v1"}
    missing = Missing.NO_CONTENT
    is_framed = True

    def part(self, part: Mapping[str, Any]) -> bytes:
        """Encode one part, as in `part({"type": "text-delta", "id": "0", "delta": "Hel"})`."""
        return event(json_text(part))

    def item_encoder(self, info: StreamInfo) -> ItemEncoder:
        return _PartWriter()

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> Encoder:
        return _PartEncoder(info.epoch, offset)


class _PartWriter(ItemEncoder):
    """Text as a text part, with its start and end; `start` and `finish` around all parts.

    A source that yields bytes writes `start` and `finish` itself.
    """

    remedy: ClassVar[str] = (
        "Yield str for text, or a part as a mapping with a `type`, such as "
        '{"type": "data-weather", "data": …}.'
    )

    def __init__(self) -> None:
        self._text = 0  # the number of the text part that is open
        self._texts = 0
        self._is_started = False
        self._is_over = False
        self._is_wire = False

    def wire(self, data: bytes) -> bytes:
        self._is_wire = True
        return self._end_text() + data

    def text(self, text: str) -> bytes:
        if not text:
            return b""
        opening = b""
        if not self._text:
            self._texts = self._text = self._texts + 1
            opening = self._start() + ui_message.part({"type": "text-start", "id": self._id})
        delta = {"type": "text-delta", "id": self._id, "delta": text}
        return opening + ui_message.part(delta)

    def part(self, part: Mapping[str, Any], item: Any) -> bytes:
        kind = part.get("type")
        if not isinstance(kind, str):
            raise WrongItem(item, self.remedy)
        before = self._end_text()
        if kind != "start":
            before += self._start()
        self._note(kind)
        return before + ui_message.part(part)

    def end(self) -> bytes:
        after = self._end_text()
        if self._is_started and not (self._is_over or self._is_wire):
            after += ui_message.part({"type": "finish"})
        return after

    def restore(self, frame: bytes) -> None:
        try:
            part = json.loads(data_of(frame))
            kind, part_id = part["type"], part.get("id")
        except (LookupError, TypeError, ValueError, AttributeError):
            return  # of a source that writes its own frames
        self._note(kind)
        if kind == "text-start" and part_id == f"text:{self._texts + 1}":
            self._texts = self._text = self._texts + 1
        elif kind == "text-end" and part_id == self._id:
            self._text = 0

    @property
    def _id(self) -> str:
        return f"text:{self._text}"

    def _note(self, kind: str) -> None:
        self._is_started |= kind == "start"
        self._is_over |= kind in ("finish", "error", "abort")

    def _start(self) -> bytes:
        if self._is_started or self._is_wire:
            return b""
        self._is_started = True
        return ui_message.part({"type": "start"})

    def _end_text(self) -> bytes:
        if not self._text:
            return b""
        part = ui_message.part({"type": "text-end", "id": self._id})
        self._text = 0
        return part


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
        # Without `[DONE]`, as it is not, and without an id: it stands nowhere in the log.
        return self._close_long_frame() + ui_message.part({"type": "error", "errorText": RESUME})

    def _done(self) -> bytes:
        is_there = self._last.strip() == b"data: " + _DONE
        return b"" if is_there else event(_DONE, event_id=self.last_id())


RESUME = "The connection ended before the answer did: resume."
"""The text of the error at the end of a body whose stream goes on. The part has no room for a code:
clients refuse what they do not know."""

_DONE = b"[DONE]"


ui_message = UIMessageStream()
