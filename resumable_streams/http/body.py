"""The body of a response, and the three ways in which it ends.

*Cleanly*: the format has written the end of the stream. *Interrupted* (this process drains, the
store is unavailable, the response has lived long enough): events end without a last one, and the
client comes back. *Cut*: if clients would take that for the whole, the connection is broken. A
client that is behind when the response has lived long enough gets no more bytes, in any format.

A cut cannot be seen everywhere (`Transport.shows_cut`). There a message ends with a part that says
that there is more; raw bytes have no place for that, and a client has to compare with HEAD.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator

from ..engine.reader import StreamReader
from ..exceptions import ShuttingDown, StreamError, StreamFailed
from ..formats import Encoder
from ..process.databases import close_idle
from ..process.holdings import let_go
from ..process.runtime import runtime
from .limit import WaitLimit
from .transports import Transport

__all__ = ["Body"]


class Body:
    """The encoded bytes of a reader, until the end, `length` bytes or `seconds`."""

    def __init__(
        self,
        reader: StreamReader,
        encoder: Encoder,
        transport: Transport,
        *,
        length: int | None = None,
        keep_alive: float | None = None,
        seconds: float | None = None,
    ) -> None:
        self._reader = reader
        self._encoder = encoder
        self._transport = transport
        self._left = length
        self._keep_alive = keep_alive
        self._seconds = seconds
        self._limit = WaitLimit()

    async def frames(self, *, in_thread: bool = False) -> AsyncGenerator[bytes, None]:
        """Yield the body; b"" too, which makes a server send the headers and notice who left.

        Lets go first of what the request holds, unless the thread that waits for it has done so.
        """
        deadline = _now() + (self._seconds or math.inf)
        try:
            if not in_thread:
                await let_go()
            frame, is_last = self._encoder.opening(), self._left == 0
            while True:
                yield frame
                if is_last:
                    return
                if self._transport.is_behind(len(frame)):
                    await self._wait_for_client(deadline)
                frame, is_last = await self._next(deadline)
        finally:
            self._limit.cancel()
            self._reader.close()
            self._transport.release()

    async def _next(self, deadline: float) -> tuple[bytes, bool]:
        """Return the next frame, and whether it is the last one."""
        try:
            data = await self._read(deadline)
        except (StreamError, StopAsyncIteration) as ending:
            return self._last(ending), True
        frame = self._encoder.keep_alive() if data is None else self._take(data)
        return frame, self._left == 0

    async def _wait_for_client(self, deadline: float) -> None:
        """Pause while the client does not take what it was sent; at the deadline it is dropped."""
        try:
            async with asyncio.timeout_at(None if deadline == math.inf else deadline):
                await self._transport.room()
        except TimeoutError:
            raise self._transport.cut() from None

    def blocking(self) -> Iterator[bytes]:
        """Yield the same in a thread without a loop (WSGI)."""
        close_idle()
        frames, home = self.frames(in_thread=True), runtime.home()

        async def step() -> bytes | None:
            return await anext(frames, None)

        try:
            while (frame := runtime.call_sync(step)) is not None:
                yield frame
        finally:
            # One that was left unread may be found after the end of its loop, or of the process.
            if runtime.is_home(home):
                runtime.call_sync(frames.aclose)

    async def _read(self, deadline: float) -> bytes | None:
        """Return the next bytes; None for a keep-alive in their place."""
        if (now := _now()) < deadline:
            try:
                with self._limit.at(min(now + (self._keep_alive or math.inf), deadline)):
                    return await anext(self._reader)
            except TimeoutError:
                if _now() < deadline:
                    return None
        raise ShuttingDown  # to this client it is the same

    def _take(self, data: bytes) -> bytes:
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        encodings = self._reader.encodings
        if encodings is None:
            return self._encoder.encode(data)
        return self._encoder.encode_shared(data, encodings)

    def _last(self, ending: StreamError | StopAsyncIteration) -> bytes:
        info = self._reader.info
        last: bytes | None
        if isinstance(ending, StreamFailed):
            last = self._encoder.failure(info, ending.code, ending.detail)
        elif isinstance(ending, StreamError):
            last = self._interruption()
        else:
            last = b"" if info.is_streaming else self._encoder.end(info)
        if last is None:
            raise self._transport.cut()
        return last

    def _interruption(self) -> bytes | None:
        if self._transport.shows_cut:
            return self._encoder.interruption()
        return self._encoder.unseen_interruption()


def _now() -> float:
    return asyncio.get_running_loop().time()
