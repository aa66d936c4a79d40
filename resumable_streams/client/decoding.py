"""From the bytes of bodies to the items of a stream: bytes, text, events or parts. Pure.

A decoder lives as long as one iteration, over all of its bodies. It yields each item with the
position after it, so that an iteration that is left goes on after the last item handed on.
"""

import json
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

import httpx

from .errors import WrongFormat
from .frames import (
    MAX_HELD_BYTES,
    ServerEvent,
    WireEnd,
    WireFrame,
    WireFrames,
    conclusion,
    too_long,
)

__all__ = [
    "AS_BYTES",
    "AS_EVENTS",
    "AS_PARTS",
    "AS_TEXT",
    "BodyDecoder",
    "BodyKind",
    "Decoders",
    "kind_of",
]

T = TypeVar("T")
Item = tuple[T, int]
"""An item, and the byte of the log after it."""


class BodyKind(StrEnum):
    """The kinds of bodies, by the positions in them."""

    LOG = "log"  # the stored bytes: an offset is a byte of the body
    FRAMES = "frames"  # server-sent events, each with an id
    OPAQUE = "opaque"  # of a format that has no positions


def kind_of(headers: httpx.Headers) -> BodyKind:
    """Return the kind of a body."""
    if headers.get("Accept-Ranges") == "bytes":
        return BodyKind.LOG
    if headers.get("Content-Type", "").startswith("text/event-stream"):
        return BodyKind.FRAMES
    return BodyKind.OPAQUE


class BodyDecoder(Generic[T]):
    """The way from bodies to items; this base hands nothing on.

    `offset` is the byte from which the next body has to start.
    """

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.progress = 0
        """The number of bytes, or of whole frames, so far."""
        self.conclusion: WireEnd | None = None
        self.is_over = False
        self.retry: int | None = None  # milliseconds

    def begin(self) -> None:
        """Prepare for another body, which starts at `offset`."""

    def push(self, data: bytes) -> Iterator[Item[T]]:
        """Yield the items that these bytes complete."""
        raise NotImplementedError

    def finish(self) -> Iterator[Item[T]]:
        """Yield the items that the end of the stream completes."""
        return iter(())


class _Bytes(BodyDecoder[bytes]):
    def push(self, data: bytes) -> Iterator[Item[bytes]]:
        self.offset += len(data)
        self.progress += len(data)
        yield data, self.offset


class _Text(BodyDecoder[str]):
    """Whole characters; half of one waits for its other bytes, in whichever body they come."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def push(self, data: bytes) -> Iterator[Item[str]]:
        self.offset += len(data)
        self.progress += len(data)
        text = self._decoder.decode(data)
        if text:
            yield text, self.offset - len(self._decoder.getstate()[0])

    def finish(self) -> Iterator[Item[str]]:
        if text := self._decoder.decode(b"", final=True):
            yield text, self.offset


class _Lines(BodyDecoder[Any]):
    """Lines of JSON; half of one waits for the rest, in whichever body that comes."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self._held: list[bytes] = []
        self._size = 0

    def push(self, data: bytes) -> Iterator[Item[Any]]:
        after = self.offset
        self.offset += len(data)
        self.progress += len(data)
        *ended, rest = data.split(b"\n")
        for part in ended:
            after += len(part) + 1
            yield from self._take(part, after)
        self._size = len(rest) + (0 if ended else self._size)
        self._held.append(rest)
        if self._size > MAX_HELD_BYTES:
            raise too_long("line")

    def finish(self) -> Iterator[Item[Any]]:
        yield from self._take(b"", self.offset)

    def _take(self, part: bytes, after: int) -> Iterator[Item[Any]]:
        line = b"".join([*self._held, part])
        self._held.clear()
        if line.strip():
            yield _parsed(line, "line"), after


class _Frames(BodyDecoder[T]):
    """Whole frames; half of one comes again, as a body of frames starts between two of them."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.begin()

    def begin(self) -> None:
        self._frames = WireFrames()
        self._before: ServerEvent | None = None

    def push(self, data: bytes) -> Iterator[Item[T]]:
        for frame in self._frames.push(data):
            self.progress += 1
            self.retry = frame.retry if frame.retry is not None else self.retry
            if frame.is_last:
                self.is_over, self.conclusion = True, conclusion(frame, self._before)
                return
            if frame.offset is None:
                self._before = frame.event or self._before
                continue
            self.offset, self._before = frame.offset, None
            for item in self.items(frame):
                yield item, self.offset

    def items(self, frame: WireFrame) -> Iterator[T]:
        """Yield the items of a frame of the log."""
        raise NotImplementedError


class _WholeFrames(_Frames[bytes]):
    def items(self, frame: WireFrame) -> Iterator[bytes]:
        yield frame.data


class _Events(_Frames[ServerEvent]):
    def items(self, frame: WireFrame) -> Iterator[ServerEvent]:
        if frame.event is not None:
            yield frame.event


class _Parts(_Frames[Any]):
    def items(self, frame: WireFrame) -> Iterator[Any]:
        if frame.event is not None and frame.event.data != "[DONE]":
            yield _parsed(frame.event.data, "event")


def _parsed(text: str | bytes, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise WrongFormat(
            f"The stream has {name}s that are not JSON: iterate `events()` of an event stream, or "
            f"`bytes()`."
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoders:
    """A way to iterate a stream: the decoder for each kind of body, and advice for the others."""

    makers: Mapping[BodyKind, Callable[[int], BodyDecoder[Any]]]
    advice: str = ""

    def make(self, kind: BodyKind | None, offset: int) -> BodyDecoder[Any]:
        """Return a decoder for bodies of a kind; raise WrongFormat if it cannot be iterated so."""
        maker = self.makers.get(kind or BodyKind.OPAQUE)
        if maker is None:
            raise WrongFormat(self.advice)
        return maker(offset)


AS_BYTES = Decoders(
    makers={BodyKind.LOG: _Bytes, BodyKind.FRAMES: _WholeFrames, BodyKind.OPAQUE: _Bytes}
)
AS_TEXT = Decoders(
    makers={BodyKind.LOG: _Text, BodyKind.OPAQUE: _Text},
    advice="This stream has frames, and no plain text: iterate `events()` or `parts()`.",
)
AS_EVENTS = Decoders(
    makers={BodyKind.FRAMES: _Events},
    advice="This stream has no events: iterate `bytes()`, `text()`, or `parts()` of its lines.",
)
AS_PARTS = Decoders(
    makers={BodyKind.LOG: _Lines, BodyKind.FRAMES: _Parts},
    advice="This stream has a format without parts: iterate `bytes()` or `text()`.",
)
