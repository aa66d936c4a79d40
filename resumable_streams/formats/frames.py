"""The encoder of whole frames, for the formats whose log holds server-sent events."""

from codecs import BOM_UTF8
from typing import ClassVar

from ..sse import EventId, Fragment, Framer, FramerState, comment
from ..types import StreamInfo, StreamStatus
from .base import Encoder, Encodings

__all__ = ["KEEP_ALIVE", "FrameEncoder"]

MOST_SHARED = 4  # bodies that have just begun differ from others, and only they


class FrameEncoder(Encoder):
    """An encoder of whole frames, with keep-alives and terminal frames only between two of them.

    Each frame ends with an `id:` line: the epoch of the stream, and the byte of the log at which
    the frame ends. A client resumes by it, as a body has more bytes than the log. Half a frame at
    the end of the log is completed when the stream is done, and dropped otherwise.
    """

    shares_frames: ClassVar[bool] = False
    """Frames are encoded once for all bodies that are at the same byte. For a subclass that keeps
    no state of its own."""

    last_frame = b""  # kept by the formats that look at it

    def __init__(self, epoch: str, offset: int) -> None:
        self._epoch = epoch.encode()
        self._framer = Framer(offset)
        self._starts_log = offset == 0
        self._is_first = True

    def frame(self, data: bytes, end: int) -> bytes:
        """Return a whole frame (given without its blank line) that ends at byte `end`."""
        return b"%b\nid: %b-%d\n\n" % (data, self._epoch, end)

    def terminal(self, info: StreamInfo) -> bytes:
        """Return the frame that says how the stream ended."""
        return b""

    def error(self, info: StreamInfo, code: str, detail: str) -> bytes:
        """Return the frame that says that, and why, the stream failed."""
        return b""

    def encode(self, data: bytes) -> bytes:
        return b"".join(self._encode(fragment) for fragment in self._framer.push(data))

    def encode_shared(self, data: bytes, encodings: Encodings) -> bytes:
        if not self.shares_frames:
            return self.encode(data)
        frames: bytes
        place = len(data), self._state  # which says where in the log it is, and what came before
        if place in encodings:
            frames, self._state = encodings[place]
        else:
            frames = self.encode(data)
            if len(encodings) < MOST_SHARED:
                encodings[place] = frames, self._state
        return frames

    @property
    def _state(self) -> tuple[FramerState, bool, bytes]:
        """All that the next frames depend on, beside the log."""
        return self._framer.state, self._is_first, self.last_frame

    @_state.setter
    def _state(self, state: tuple[FramerState, bool, bytes]) -> None:
        self._framer.state, self._is_first, self.last_frame = state

    def _encode(self, fragment: Fragment) -> bytes:
        data = self._guard_start(fragment.data)
        if not fragment.complete:
            return data
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

    def last_id(self) -> str:
        """Return the id of a frame after which nothing follows."""
        return str(EventId(self._epoch.decode(), None))

    def _close_long_frame(self) -> bytes:
        return b"" if self._framer.between_frames else b"\n\n"


KEEP_ALIVE = comment("keep-alive")
