"""The connection that a body is sent on, beyond the interfaces of ASGI and WSGI.

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
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import RequestAborted
from django.http import HttpRequest

from ..breaks import note_break

__all__ = ["BodyCut", "Transport", "transport_of"]

WITHOUT_CHUNKS = ("0.9", "1.0", "1")  # the last one is 1.0 as granian writes it
"""The versions of HTTP in which a body of unknown length ends when the connection does."""


class BodyCut(RequestAborted, asyncio.CancelledError):
    """The end of a body that makes the server break the connection.

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
        note_break()
        return BodyCut("The stream ended without all of its bytes.")

    def release(self) -> None:
        """Let the connection go on to its next request."""


class WsgiTransport(Transport):
    """The connection of a WSGI request, where writing blocks."""

    def cut(self) -> BaseException:
        """Return what wsgiref and gunicorn take for a client that has left."""
        return ConnectionResetError(errno.ECONNRESET, "The stream ended without all of its bytes.")


def transport_of(request: HttpRequest) -> Transport:
    """Return the connection that a request came on."""
    scope: Mapping[str, Any] | None = getattr(request, "scope", None)
    if scope is None:
        return WsgiTransport(shows_cut=_shows_cut_under_wsgi(request.META))
    shows_cut = scope.get("http_version") not in WITHOUT_CHUNKS
    if hasattr(sys.modules.get("twisted.internet.reactor"), "getReaders"):
        from .daphne import DaphneTransport  # not for those that other servers serve

        return DaphneTransport(scope["headers"], shows_cut=shows_cut)
    return Transport(shows_cut=shows_cut)


def _shows_cut_under_wsgi(environ: Mapping[str, Any]) -> bool:
    version = str(environ.get("SERVER_PROTOCOL", "")).removeprefix("HTTP/")
    is_wsgiref = str(environ.get("SERVER_SOFTWARE", "")).startswith("WSGIServer/")
    return not (version in WITHOUT_CHUNKS or is_wsgiref or "uwsgi" in sys.modules)
