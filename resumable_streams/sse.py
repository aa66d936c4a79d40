"""Server-sent events over a byte log: frames out, frames apart, and the ids between. Pure.

The log of an event stream holds frames as its source yielded them: lines, then a blank line. Where
an append begins or ends means nothing, so `Framer` finds the frames again on the way out, and knows
for each the byte of the log at which it ends. That byte, with the epoch of the stream, is its id.
The id is the *last* line of a frame, so it wins over one that the source wrote; and a client that
was cut inside a frame still holds the id of the frame before, from which it resumes exactly.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "LOOK_BACK",
    "EventId",
    "Fragment",
    "Framer",
    "FramerState",
    "comment",
    "data_frame",
    "data_of",
    "ends_frame",
    "event",
    "retry",
]

MAX_HELD = 65_536  # bytes of an unfinished frame that wait for their end
LOOK_BACK = 4  # bytes of the longest blank line

_LINE_END = re.compile(r"\r\n|\n|\r")
# A "\r" that a "\n" follows is half a line end, so the first one may not be split off.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_ENDS_FRAME = re.compile(_BLANK_LINE.pattern + rb"\Z")
_EVENT_ID = re.compile(r"([A-Za-z0-9_]{1,64})-([0-9]{1,15}|end)")


def event(data: str | bytes, event: str | None = None, *, event_id: str | None = None) -> bytes:
    """Encode one frame; each line of `data` becomes a `data:` line."""
    text = data.decode() if isinstance(data, bytes) else data
    lines = [] if event is None else [f"event: {_one_line(event)}"]
    lines += [f"data: {line}" for line in _LINE_END.split(text)]
    if event_id is not None:
        lines.append(f"id: {_one_line(event_id)}")
    return "\n".join([*lines, "", ""]).encode()


def data_frame(line: bytes) -> bytes:
    """Encode a frame whose data is one line, which has no line end."""
    return b"data: %b\n\n" % line


def data_of(frame: bytes) -> str:
    """Return the data of a frame, given without its blank line: its `data:` lines, joined."""
    lines = (line.partition(":") for line in _LINE_END.split(frame.decode()))
    return "\n".join(value.removeprefix(" ") for name, _, value in lines if name == "data")


def retry(seconds: float) -> bytes:
    """Encode how long an EventSource waits before it comes back; no event for a page."""
    return f"retry: {1_000 * seconds:.0f}\n\n".encode()


def comment(text: str) -> bytes:
    """Encode a frame that every client ignores."""
    return f": {_one_line(text)}\n\n".encode()


def _one_line(text: str) -> str:
    if _LINE_END.search(text) or "\0" in text:
        raise ValueError("A field of an event is one line of text, without a null character.")
    return text


def ends_frame(before: bytes) -> bool:
    """Return whether a log is between two frames after these, its last LOOK_BACK bytes."""
    return _ENDS_FRAME.search(before) is not None


@dataclass(frozen=True, slots=True)
class EventId:
    """A position in one incarnation of a stream; `offset` None is after its terminal frame."""

    epoch: str
    offset: int | None

    def __str__(self) -> str:
        return f"{self.epoch}-{'end' if self.offset is None else self.offset}"

    @classmethod
    def parse(cls, text: str) -> "EventId | None":
        """Return what a Last-Event-ID header says; None if it is not an id of ours."""
        match = _EVENT_ID.fullmatch(text)
        if match is None:
            return None
        return cls(match[1], None if match[2] == "end" else int(match[2]))


@dataclass(frozen=True, slots=True)
class Fragment:
    """A frame without its blank line; or, where `complete` is false, a part of a long one."""

    data: bytes
    end: int
    complete: bool


FramerState = tuple[bytes, int, bool]


class Framer:
    """The frames of a log, from the byte `offset` on.

    An unfinished frame waits for its end, so that everything else for the client stands between
    two frames. One that outgrows `max_held` bytes is passed on in parts.
    """

    def __init__(self, offset: int, *, max_held: int = MAX_HELD) -> None:
        self._held = b""
        self._end = offset
        self._max_held = max_held
        self.between_frames = True

    @property
    def state(self) -> FramerState:
        """All that the frames to come depend on, beside the bytes to come."""
        return self._held, self._end, self.between_frames

    @state.setter
    def state(self, state: FramerState) -> None:
        self._held, self._end, self.between_frames = state

    def push(self, data: bytes) -> Iterator[Fragment]:
        """Yield what the next bytes of the log complete; exhaust it before the next call."""
        searched = max(0, len(self._held) - 3)
        held, start = self._held + data, 0
        for match in _BLANK_LINE.finditer(held, searched):
            self._end += match.end() - start
            yield Fragment(held[start : match.start()], self._end, complete=True)
            start = match.end()
            self.between_frames = True
        self._held = held[start:]
        if len(self._held) > self._max_held:
            yield self._pass_on()

    def rest(self) -> bytes:
        """Return the unfinished frame that waits, and forget it."""
        rest, self._held = self._held, b""
        self._end += len(rest)
        return rest

    def _pass_on(self) -> Fragment:
        # Three bytes stay behind: they may be the first part of the blank line.
        part, self._held = self._held[:-3], self._held[-3:]
        self._end += len(part)
        self.between_frames = False
        return Fragment(part, self._end, complete=False)
