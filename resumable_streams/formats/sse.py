"""Server-sent events, with ids and an event for the end."""

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from ..sse import EventId, data_frame, event, retry
from ..types import StreamInfo, StreamStatus
from .base import Encoder, Format
from .frames import FrameEncoder
from .items import ItemEncoder, utf8
from .json_line import json_line

__all__ = ["ServerSentEvents", "come_back", "sse"]

COME_BACK_AFTER = (1.0, 3.0)  # seconds; spread, as all readers of a process come back at once


class ServerSentEvents(Format):
    """The log's frames, each with an id from which `Last-Event-ID` resumes exactly.

    The end is an event of its own: `done`, `cancelled` or `error`, with JSON as data. A stream with
    the attribute `end_event` set to `none` ends with an id only, which is no event: for clients
    that know the end of their own protocol. EventSource then comes back once, for a 204. An id of
    another epoch (the stream was deleted and begun again) is answered from the start, after an
    event `reset`. A body that ends before its stream says when to come back.
    """

    name = "sse"
    content_type = "text/event-stream"
    is_framed = True
    can_reset = True

    def item_encoder(self, info: StreamInfo) -> ItemEncoder:
        return _EventWriter()

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> Encoder:
        has_end = info.attrs.get("end_event") != "none"
        return _EventEncoder(info.epoch, offset, reset=reset, has_end=has_end)


class _EventWriter(ItemEncoder):
    """Text as the data of one event, line breaks and all; a mapping as JSON."""

    remedy: ClassVar[str] = (
        "Yield str for the data of one event, a mapping for JSON, or `sse.event(data, name)`."
    )

    def text(self, text: str) -> bytes:
        return event(utf8(text)) if text else b""

    def part(self, part: Mapping[str, Any], item: Any) -> bytes:
        return data_frame(json_line(part))


class _EventEncoder(FrameEncoder):
    shares_frames = True

    def __init__(self, epoch: str, offset: int, *, reset: bool, has_end: bool) -> None:
        super().__init__(epoch, offset)
        self._start = EventId(epoch, offset)
        self._reset = reset
        self._has_end = has_end

    def opening(self) -> bytes:
        if not self._reset:
            return b""
        answer = {"offset": self._start.offset}
        return event(json_line(answer), "reset", event_id=str(self._start))

    def terminal(self, info: StreamInfo) -> bytes:
        return self._last(info.status, {"status": info.status})

    def error(self, info: StreamInfo, code: str, detail: str) -> bytes:
        answer = {"status": StreamStatus.ERROR, "code": code}
        return self._last("error", {**answer, "detail": detail} if detail else answer)

    def interruption(self) -> bytes:
        return come_back() if self._framer.between_frames else b""

    def _last(self, name: str, answer: Mapping[str, str]) -> bytes:
        if not self._has_end:
            return f"id: {self.last_id()}\n\n".encode()
        return event(json_line(answer), name, event_id=self.last_id())


def come_back() -> bytes:
    """Return the words to an EventSource that say when to come back: not all at once."""
    return retry(random.uniform(*COME_BACK_AFTER))  # noqa: S311


sse = ServerSentEvents()
