"""Between the source and the store: chunks that were yielded, and not appended yet."""

import asyncio
from collections import deque
from collections.abc import Callable

from ..exceptions import fresh
from ..stores.base import MAX_APPEND_BYTES

__all__ = ["GATHER_BYTES", "GATHER_CHUNKS", "ChunkBuffer"]

GATHER_BYTES = 262_144
GATHER_CHUNKS = 4_096


class ChunkBuffer:
    """The chunks that were yielded, and not given to the store yet: bounded, in order."""

    def __init__(self) -> None:
        self.on_news: Callable[[], None] | None = None
        """Called with each chunk and with the end, in place of a task that waits in `take`."""
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False
        self._error: Exception | None = None

    async def put(self, chunk: bytes) -> bool:
        """Add a chunk; wait while it doesn't fit (one that never fits, fits when alone).

        Returns False when nobody takes any more.
        """
        while self._chunks and (
            self._size + len(chunk) > GATHER_BYTES or len(self._chunks) >= GATHER_CHUNKS
        ):
            self._room.clear()
            await self._room.wait()
        if self._closed:
            return False
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._tell()
        return True

    def _tell(self) -> None:
        if self.on_news is not None:
            self.on_news()
        else:
            self._news.set()

    def close(self, error: Exception | None = None) -> bool:
        """Say that no more will come; `error` is raised once everything before it was taken.

        Returns False when that has been said before, which stays.
        """
        if self._closed:
            return False
        self._closed, self._error = True, error
        self._tell()
        return True

    def abort(self, error: Exception | None = None) -> None:
        """End at the next take and drop the rest; with `error` if there is one."""
        self._chunks.clear()
        self._size = 0
        self._closed, self._error = True, error
        self._room.set()
        self._tell()

    async def take(self) -> list[bytes]:
        """Return the chunks of one append, at least one; an empty list at the end.

        A chunk larger than an append comes alone; it is for the caller to cut.
        """
        while not self._chunks and not self._closed:
            self._news.clear()
            await self._news.wait()
        if not self._chunks and self._error is not None:
            raise fresh(self._error)  # not the one that is kept, and all that it passes through
        return self.take_now()

    @property
    def has_chunks(self) -> bool:
        return bool(self._chunks)

    @property
    def is_over(self) -> bool:
        """Whether the next `take` finds the end, or the error."""
        return self._closed and not self._chunks

    def take_now(self) -> list[bytes]:
        """Return the same without waiting: an empty list also while there are none."""
        taken: list[bytes] = []
        size = 0
        while self._chunks and (not taken or size + len(self._chunks[0]) <= MAX_APPEND_BYTES):
            chunk = self._chunks.popleft()
            taken.append(chunk)
            size += len(chunk)
        self._size -= size
        self._room.set()
        return taken
