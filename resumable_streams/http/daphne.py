"""Daphne: it buffers without limit, and waits for ever for the rest of a body that was cut.

No interface leads from an ASGI scope to the connection. Twisted's reactor does, through
undocumented attributes of daphne and Twisted. Without them a body waits for nobody, and a client
sees a cut only when its own time limit ends. `tests/acceptance/test_stalled.py` holds daphne to
both.
"""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

from .transports import Transport

__all__ = ["DaphneTransport"]

UNWATCHED_BYTES = 65_536
"""What a body sends before it asks to be told, as most never need to be: the size of the buffer
beyond which Twisted says that it is full."""


class DaphneTransport(Transport):
    """The connection of a request that daphne serves; Twisted calls it a push producer.

    https://docs.twisted.org/en/stable/core/howto/producers.html: pauseProducing when the buffer is
    full, resumeProducing when it is empty, stopProducing when the connection is gone.
    """

    def __init__(self, headers: object, *, shows_cut: bool = True) -> None:
        super().__init__(shows_cut=shows_cut)
        self._headers = headers  # the list is the request's own
        self._sent = 0
        self._watched: Any = None  # the request, once it tells us
        self._has_room = asyncio.Event()
        self._has_room.set()

    def is_behind(self, size: int) -> bool:
        self._sent += size
        if self._watched is None and self._sent > UNWATCHED_BYTES:
            self._sent = 0  # if it is not found: not again with every frame
            self._watch()
        return not self._has_room.is_set()

    async def room(self) -> None:
        await self._has_room.wait()

    def _watch(self) -> None:
        request = self._find()
        if request is not None and request.producer is None and _channel(request) is not None:
            self._watched = request
            request.registerProducer(self, True)
            if getattr(request.channel, "_waitingForTransport", False):  # it does not say so again
                self.pauseProducing()

    def pauseProducing(self) -> None:
        self._has_room.clear()

    def resumeProducing(self) -> None:
        self._has_room.set()

    stopProducing = resumeProducing

    def cut(self) -> BaseException:
        """Break the connection; daphne waits for the rest of an unfinished answer for ever.

        Sent bytes have 15 seconds to arrive; a client that is behind is dropped at once.
        """
        channel = _channel(self._watched or self._find())
        if channel is None:
            pass
        elif not hasattr(channel, "timeoutConnection"):  # one stream of HTTP/2
            channel.abortConnection()
        elif self._has_room.is_set():
            channel.timeoutConnection()
        else:
            channel.forceAbortClient()
        return super().cut()

    def release(self) -> None:
        request, self._watched = self._watched, None
        if _channel(request) is not None:
            request.unregisterProducer()

    def _find(self) -> Any:
        """Return the request that gave the scope its list of headers, if it is still there."""
        for request in _requests():
            if getattr(request, "clean_headers", None) is self._headers:
                return request
        return None


def _channel(request: Any) -> Any:
    """Return what a request of daphne is sent on; None once it is finished or gone."""
    return getattr(request, "channel", None)


def _requests() -> Iterable[Any]:
    """Return what daphne serves just now; any port or connection leads to it."""
    reactor = sys.modules["twisted.internet.reactor"]
    for reader in reactor.getReaders():
        factory = getattr(reader, "factory", None) or getattr(
            getattr(reader, "protocol", None), "factory", None
        )
        factory = getattr(factory, "wrappedFactory", factory)  # TLS
        server = getattr(factory, "server", None)
        if server is not None:
            return list(server.connections)
    return ()
