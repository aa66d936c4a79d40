"""The place in a stream to which a client has come. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from ..sse import data_of

__all__ = ["Bookmark"]

BLANK_LINE = b"\n\n"
DATA = re.compile(rb"^data\b", re.MULTILINE)


class Bookmark:
    """What a client has of a stream, and where it goes on, as its headers and bytes tell.

    A client of events keeps whole frames with data: half of one is dropped at a cut, and so are
    comments and times to `retry`. It goes on behind the last `id:`, and from the start if the
    format has none. A client of bytes goes on at the byte where it stopped. A body that starts
    elsewhere takes the place of all before.
    """

    def __init__(self) -> None:
        self.stream_id = ""
        self.address = ""
        """Where the stream is resumed."""
        self.is_framed = False
        self._epoch = ""
        self._start = 0
        self._whole = b""
        self._half = b""
        self._last_id = ""

    @property
    def body(self) -> bytes:
        """The bytes so far, of all bodies since the stream began."""
        return self._whole + self._half

    @property
    def events(self) -> list[tuple[str, str]]:
        """The name and the data of each whole frame so far."""
        frames = self._whole.split(BLANK_LINE)[:-1]
        return [(_field(frame, "event") or "message", data_of(frame)) for frame in frames]

    def begin(self, headers: Mapping[str, Any]) -> None:
        """Learn from the headers of a body what follows, and where it starts."""
        self.stream_id = headers.get("X-Resumable-Stream-Id", self.stream_id)
        self.address = headers.get("Location", self.address)
        self._epoch = headers.get("X-Resumable-Stream-Epoch", "")
        has_events = headers.get("Content-Type", "").startswith("text/event-stream")
        self.is_framed = has_events and "Accept-Ranges" not in headers  # those are bytes
        self._half = b""
        offset = int(headers.get("X-Resumable-Stream-Offset", 0))
        goes_on = self._last_id and offset if self.is_framed else offset == self._offset
        if not goes_on:
            self._start, self._whole, self._last_id = offset, b"", ""

    @property
    def _offset(self) -> int:
        return self._start + len(self._whole)

    def take(self, data: bytes) -> None:
        """Add the next bytes of the body."""
        if not self.is_framed:
            self._whole += data
            return
        *frames, self._half = (self._half + data).split(BLANK_LINE)
        for frame in frames:
            self._last_id = _field(frame, "id") or self._last_id
            if DATA.search(frame):
                self._whole += frame + BLANK_LINE

    def way_back(self) -> tuple[str, dict[str, str]]:
        """Return the address to resume at, and the headers to send."""
        if self.is_framed:
            return self.address, {"Last-Event-ID": self._last_id} if self._last_id else {}
        query = f"offset={self._offset}&epoch={self._epoch}"
        return f"{self.address}{'&' if '?' in self.address else '?'}{query}", {}


def _field(frame: bytes, name: str) -> str:
    """Return the last value of a field."""
    fields = (line.partition(":") for line in frame.decode(errors="replace").splitlines())
    return next((value.strip() for key, _, value in reversed([*fields]) if key == name), "")
