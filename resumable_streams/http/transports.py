"""What a body does to the connection it is sent on, beyond ASGI and WSGI.

*Cut* it: a format without frames has no other way to say that bytes are missing. That is seen
where a body says where it ends, by its length or by chunks. It is not (`shows_cut`) where a body
ends with its connection: in HTTP/1.0, which nginx speaks to what is behind it unless it is told
otherwise, and from the servers of wsgiref and uWSGI.

*Wait* for a client that takes less than it is sent: most servers make `send` wait by themselves;
daphne buffers without limit, but what it is built on tells who asks when a client is behind.
"""

import asyncio
import errno
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import RequestAborted
from django.http import HttpRequest

__all__ = ["BodyCut", "Transport", "transport_of"]

WITHOUT_CHUNKS = ("0.9", "1.0", "1")  # the last one is 1.0 as granian writes it
"""The versions of HTTP in which a body of unknown length ends when the connection does."""

UNWATCHED_BYTES = 65_536
"""What a body sends before it asks to be told, as most never need to be: the size of the buffer
beyond which Twisted says that it is full."""


class BodyCut(RequestAborted, asyncio.CancelledError):
    """End a body so that the server breaks the connection.

    Django takes it for a client that has left (the one base is for Django 6, the other for 5.2): it
    closes the response, logs nothing and does not send the last chunk. The server then finds the
    answer unfinished, and drops the connection. Any other exception would do the same with a
    traceback, for what is no fault.
    """


class Transport:
    """The connection of an ASGI request, to a server whose `send` waits for the client.

    `shows_cut`: the client can tell a body that was cut from one that has ended.
    """

    def __init__(self, *, shows_cut: bool = True) -> None:
        self.shows_cut = shows_cut

    def is_behind(self, size: int) -> bool:
        """Tell, after it was sent `size` bytes, whether the client takes less than it is sent."""
        return False

    async def room(self) -> None:
        """Wait until the client has taken what it was sent, or is gone."""

    def cut(self) -> BaseException:
        """Return the error to raise that breaks the connection after what was sent."""
        return BodyCut("The stream ended without all of its bytes.")

    def release(self) -> None:
        """Let the connection go on to its next request."""


class WsgiTransport(Transport):
    """The connection of a WSGI request, where writing blocks."""

    def cut(self) -> BaseException:
        """Return what wsgiref and gunicorn take for a client that has left."""
        return ConnectionResetError(errno.ECONNRESET, "The stream ended without all of its bytes.")


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

        What was sent has 15 seconds to arrive; a client that is behind is dropped at once.
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


def transport_of(request: HttpRequest) -> Transport:
    """Return the connection that a request came on."""
    scope: Mapping[str, Any] | None = getattr(request, "scope", None)
    if scope is None:
        return WsgiTransport(shows_cut=_shows_cut_under_wsgi(request.META))
    shows_cut = scope.get("http_version") not in WITHOUT_CHUNKS
    if hasattr(sys.modules.get("twisted.internet.reactor"), "getReaders"):
        return DaphneTransport(scope["headers"], shows_cut=shows_cut)
    return Transport(shows_cut=shows_cut)


def _shows_cut_under_wsgi(environ: Mapping[str, Any]) -> bool:
    version = str(environ.get("SERVER_PROTOCOL", "")).removeprefix("HTTP/")
    is_wsgiref = str(environ.get("SERVER_SOFTWARE", "")).startswith("WSGIServer/")
    return not (version in WITHOUT_CHUNKS or is_wsgiref or "uwsgi" in sys.modules)
