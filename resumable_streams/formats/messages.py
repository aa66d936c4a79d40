"""The messages of agents: text and parts, written as a message that is whole."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from ..sse import data_frame, data_of
from .items import ItemEncoder, WrongItem
from .json_line import json_line

__all__ = ["MessageWriter", "Part"]

Part = Mapping[str, Any]


class MessageWriter(ItemEncoder, ABC):
    """The writer of one message: the start, texts and parts, and the end.

    Text is a text of the message, with a start and an end of its own. A mapping is a part with a
    `type`, and ends the text before it. If the source yields the start or the end of the message as
    a part, no second one is made; if it yields bytes, it writes both itself.
    """

    starts: ClassVar[frozenset[str]]
    """The types with which a message may start."""
    ends: ClassVar[frozenset[str]]
    """The types after which it is over."""

    passes_bytes = False

    def __init__(self) -> None:
        self._texts = 0  # the number of texts so far
        self._text = ""  # the id of the one that is open
        self._delta = b""
        self._is_started = False
        self._is_over = False
        self._is_wire = False

    @abstractmethod
    def start_parts(self) -> list[Part]:
        """Return the parts that start a message."""

    @abstractmethod
    def end_parts(self) -> list[Part]:
        """Return the parts that end it."""

    @abstractmethod
    def text_id(self, number: int) -> str:
        """Return the id of a text; no source has such an id itself."""

    @abstractmethod
    def text_start(self, text_id: str) -> Part:
        """Return the start of a text."""

    @abstractmethod
    def text_delta(self, text_id: str) -> Part:
        """Return a piece of a text, without its last field: the `delta`."""

    @abstractmethod
    def text_end(self, text_id: str) -> Part:
        """Return the end of a text."""

    def wire(self, data: bytes) -> bytes:
        before = self._end_text()
        self._is_wire = self.passes_bytes = True
        return before + data

    def text(self, text: str) -> bytes:
        if not text:
            return b""
        opening = b"" if self._text else self._start_text()
        return b"%b%b%b}\n\n" % (opening, self._delta, json_line(text))

    def part(self, part: Part, item: Any) -> bytes:
        kind = part.get("type")
        if not isinstance(kind, str):
            raise WrongItem(item, self.remedy)
        frame = data_frame(json_line(part))
        before = self._end_text()
        if kind not in self.starts:
            before += self._start()
        self.note(kind, part)
        return before + frame

    def end(self) -> bytes:
        after = self._end_text()
        if self._is_started and not (self._is_over or self._is_wire):
            after += self._write(*self.end_parts())
        return after

    def restore(self, frame: bytes) -> None:
        try:
            part = json.loads(data_of(frame))
            kind = part["type"]
        except (LookupError, TypeError, ValueError, RecursionError):
            return  # of a source that writes its own frames
        if not isinstance(kind, str):
            return
        if part == self.text_start(self.text_id(self._texts + 1)):
            self._open_text()
        elif self._text and part == self.text_end(self._text):
            self._text = ""
        self.note(kind, part)

    def note(self, kind: str, part: Part) -> None:
        """Take note of a part that the log has now."""
        if kind in self.starts:
            self._is_started, self._is_over = True, False
        if kind in self.ends:
            self._is_over = True

    def _write(self, *parts: Part) -> bytes:
        for part in parts:
            self.note(part["type"], part)
        return b"".join(data_frame(json_line(part)) for part in parts)

    def _start(self) -> bytes:
        if self._is_started or self._is_wire:
            return b""
        return self._write(*self.start_parts())

    def _start_text(self) -> bytes:
        before = self._start()
        self._open_text()
        return before + self._write(self.text_start(self._text))

    def _open_text(self) -> None:
        self._texts += 1
        self._text = self.text_id(self._texts)
        self._delta = b'data: %b,"delta":' % json_line(self.text_delta(self._text))[:-1]
        self.passes_bytes = False

    def _end_text(self) -> bytes:
        if not self._text:
            return b""
        text, self._text = self._text, ""
        self.passes_bytes = self._is_wire
        return self._write(self.text_end(text))
