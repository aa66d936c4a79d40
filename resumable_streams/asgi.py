"""The ASGI application of a project, with the lifespan events that Django leaves out.

    # asgi.py
    from resumable_streams.asgi import get_asgi_application

    application = get_asgi_application()

On `lifespan.shutdown` the process drains before its server ends it. An application that routes
scopes itself (Channels) wraps itself: `application = with_lifespan(ProtocolTypeRouter(...))`.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core import asgi

from .breaks import expect_breaks
from .engine.validation import refuse_wrong_settings
from .process.runtime import runtime
from .process.shutdown import drain, serve

__all__ = ["get_asgi_application", "with_lifespan"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def get_asgi_application() -> Application:
    """Return Django's ASGI application, draining at the end of the process."""
    return with_lifespan(asgi.get_asgi_application())


def with_lifespan(application: Any) -> Application:
    """Return `application` with lifespan events answered here; all else is passed on.

    Raises InvalidStoreError for settings that cannot work.
    """

    refuse_wrong_settings()

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        serve()
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            expect_breaks()
            await application(scope, receive, send)

    return wrapped


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            runtime.home()  # adopts the server's loop
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await drain()
            await runtime.aclose()
            await send({"type": "lifespan.shutdown.complete"})
            return
