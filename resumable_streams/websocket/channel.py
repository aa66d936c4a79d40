"""One stream on a WebSocket: what its client has acknowledged, and what it may be sent."""

import asyncio
from collections.abc import AsyncGenerator

from ..engine.reader import StreamReader
from .messages import Frame, Frames, frames_of

__all__ = ["Channel", "SendWindow"]


class SendWindow:
    """The bytes that a client may be sent before it has acknowledged any of them.

    A server may take what it is given without end (daphne does) and pass it on when the client
    comes to it. With this bound a slow client holds so many bytes in it, and no more.
    """

    def __init__(self, size: int, offset: int) -> None:
        self.size = size
        self._sent = self._acknowledged = offset
        self._has_room = asyncio.Event()
        self._has_room.set()

    def send(self, end: int) -> None:
        """Count the bytes up to `end` as sent."""
        self._sent = end
        self._settle()

    def acknowledge(self, offset: int) -> bool:
        """Take the client to have all up to `offset`; return False if it cannot."""
        if offset > self._sent:
            return False
        self._acknowledged = max(self._acknowledged, offset)
        self._settle()
        return True

    async def room(self) -> int:
        """Wait until bytes may be sent, and return how many."""
        await self._has_room.wait()
        return self.size - (self._sent - self._acknowledged)

    def _settle(self) -> None:
        if self._sent - self._acknowledged < self.size:
            self._has_room.set()
        else:
            self._has_room.clear()


class Channel:
    """One stream that a client follows, under the number that the client gave it.

    It is made by the task that follows the stream: who cancels that ends it.
    """

    def __init__(self, number: int, *, kind: Frames, window: int) -> None:
        self.number = number
        self.window_size = window
        self.reader: StreamReader | None = None
        self.opened = asyncio.Event()
        self.task = asyncio.current_task()
        self._kind = kind
        self._window: SendWindow | None = None

    def open(self, reader: StreamReader) -> None:
        """Take the reader to follow."""
        self.reader = reader
        self._window = SendWindow(self.window_size, reader.offset)
        self.opened.set()

    def acknowledge(self, offset: int) -> bool:
        """Note what the client has; return False for what it was not sent."""
        return self._window is not None and self._window.acknowledge(offset)

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """Yield the stream as the client may be sent it; raise what the reader raises.

        A client that is behind is waited for with at most one page in hand. What is produced
        meanwhile stays in the store, from which the reader goes on.
        """
        reader, window = self.reader, self._window
        assert reader is not None and window is not None  # noqa: S101, PT018
        encoder = frames_of(self._kind, self.number, reader.offset)
        async for data in reader:
            start = 0
            while start < len(data):
                # Half a window at most, as a client acknowledges at least that often.
                size = min(await window.room(), max(1, window.size // 2))
                piece, start = data[start : start + size], start + size
                frame = encoder.frame(piece)
                if frame is not None:
                    window.send(frame.end)
                    yield frame

    def close(self) -> None:
        """Stop reading; those who wait for the channel to open wait no more."""
        self.opened.set()
        if self.reader is not None:
            self.reader.close()
