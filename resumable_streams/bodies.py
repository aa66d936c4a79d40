"""What a server sends of a stream, and the three ways in which that ends.

*Cleanly*: the format has said how the stream ended. *Interrupted* (this process drains, the store
is away, the response has lived long enough): a format with frames ends it without a terminal frame,
and the client comes back. *Cut*: a format without frames has no other way to say that bytes are
missing than to break the connection, so that no client takes a part for the whole.
"""

import asyncio
import errno
import math
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any

from django.core.exceptions import RequestAborted

from .exceptions import ShuttingDown, StreamError, StreamFailed
from .formats import Encoder
from .readers import StreamReader
from .runtime import runtime

__all__ = ["Body", "BodyCut", "how_to_cut"]


class BodyCut(RequestAborted, asyncio.CancelledError):
    """End a body so that the server breaks the connection.

    Django takes it for a client that has left (the one base is for Django 6, the other for 5.2): it
    closes the response, logs nothing and does not send the last chunk. The server then finds the
    answer unfinished, and drops the connection. Any other exception would do the same with a
    traceback, for what is no fault.
    """


class Body:
    """Send what a reader reads as an encoder says, until the end, `length` bytes or `seconds`."""

    def __init__(
        self,
        reader: StreamReader,
        encoder: Encoder,
        *,
        cut: Callable[[], BaseException],
        length: int | None = None,
        keep_alive: float | None = None,
        seconds: float | None = None,
    ) -> None:
        self._reader = reader
        self._encoder = encoder
        self._cut = cut
        self._left = length
        self._keep_alive = keep_alive
        self._seconds = seconds

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield the body; b"" too, which makes a server send the headers and notice who left."""
        deadline = _now() + (self._seconds or math.inf)
        try:
            yield self._encoder.opening()
            while self._left != 0:
                try:
                    data = await self._read(deadline)
                except (StreamError, StopAsyncIteration) as ending:
                    yield self._last(ending)
                    return
                yield self._encoder.keep_alive() if data is None else self._take(data)
        finally:
            self._reader.close()

    def blocking(self) -> Iterator[bytes]:
        """Yield the same in a thread without a loop (WSGI)."""
        frames = self.frames()

        async def step() -> bytes | None:
            return await anext(frames, None)

        try:
            while (frame := runtime.call_sync(step)) is not None:
                yield frame
        finally:
            runtime.call_sync(frames.aclose)

    async def _read(self, deadline: float) -> bytes | None:
        """Return the next bytes; None for a keep-alive in their place."""
        if (patience := min(self._keep_alive or math.inf, deadline - _now())) > 0:
            try:
                async with asyncio.timeout(None if patience == math.inf else patience):
                    return await anext(self._reader)
            except TimeoutError:
                if _now() < deadline:
                    return None
        raise ShuttingDown  # to this client it is the same

    def _take(self, data: bytes) -> bytes:
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return self._encoder.feed(data)

    def _last(self, ending: StreamError | StopAsyncIteration) -> bytes:
        info = self._reader.info
        last: bytes | None
        if isinstance(ending, StreamFailed):
            last = self._encoder.failure(info, ending.code, ending.detail)
        elif isinstance(ending, StreamError):
            last = self._encoder.interruption()
        else:
            last = b"" if info.is_streaming else self._encoder.end(info)
        if last is None:
            raise self._cut()
        return last


def _now() -> float:
    return asyncio.get_running_loop().time()


def how_to_cut(scope: Mapping[str, Any] | None) -> Callable[[], BaseException]:
    """Return what makes the error that cuts a body; `scope` is ASGI's, None under WSGI."""
    return _reset_error if scope is None else lambda: _cut(scope)


def _cut(scope: Mapping[str, Any]) -> BodyCut:
    _disconnect_daphne(scope)
    return BodyCut("The stream ended without all of its bytes.")


def _reset_error() -> ConnectionResetError:
    """Return what wsgiref and gunicorn take for a client that has left."""
    return ConnectionResetError(errno.ECONNRESET, "The stream ended without all of its bytes.")


def _disconnect_daphne(scope: Mapping[str, Any]) -> None:
    """Break the connection of a request that daphne serves, after what was sent.

    daphne waits for the rest of an unfinished answer for ever, and stops watching all of its
    applications when one raises after the headers. The request is the one that gave the scope its
    list of headers.
    """
    reactor = sys.modules.get("twisted.internet.reactor")
    for transport in getattr(reactor, "getReaders", list)():
        protocol = getattr(transport, "protocol", None)
        protocol = getattr(protocol, "wrappedProtocol", protocol)  # TLS
        channel = getattr(protocol, "_channel", protocol)
        for request in getattr(channel, "requests", ()):
            if getattr(request, "clean_headers", None) is scope["headers"]:
                request.loseConnection()
                return
