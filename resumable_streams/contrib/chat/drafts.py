"""Drafts: the answers that are written in this process, as far as they are.

Whoever tells the end of an answer takes its draft. Another process does so where this one was taken
for dead: then nobody takes it, and it is dropped after an hour. A store may be away for as long.
"""

import time
from collections.abc import Sequence
from typing import Any

from .building import MessageBuilder

__all__ = ["Drafts", "drafts"]

KEPT_SECONDS = 3_600.0


class Drafts:
    """Drafts by the id of their stream."""

    def __init__(self) -> None:
        self._written: dict[str, MessageBuilder] = {}
        self._ended: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._written)

    def begin(self, stream_id: str, parts: Sequence[dict[str, Any]]) -> MessageBuilder:
        """Return a new draft, which begins with parts that are there already."""
        self._drop_old()
        self._written[stream_id] = draft = MessageBuilder(parts)
        return draft

    def end(self, stream_id: str) -> None:
        """Keep a draft that grows no more until its end is told, but not for ever."""
        if stream_id in self._written:
            self._ended[stream_id] = time.monotonic()

    def take(self, stream_id: str) -> MessageBuilder | None:
        """Remove a draft and return it; None if it was not written here."""
        self._ended.pop(stream_id, None)
        return self._written.pop(stream_id, None)

    def _drop_old(self) -> None:
        for stream_id, ended in list(self._ended.items()):  # in the order of their ends
            if time.monotonic() - ended < KEPT_SECONDS:
                return
            self.take(stream_id)


drafts = Drafts()
