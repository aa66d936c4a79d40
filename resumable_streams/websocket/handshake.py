"""The request that opened a WebSocket: in whose name its messages are answered.

OWNER and TENANT get an `HttpRequest`, as they do over HTTP: a GET with the headers and cookies of
the handshake, the session and the user of the scope, and the scope itself (`request.scope`). A
socket may outlive a log-out, so session and user are read again from time to time.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from ..compat import unwrapped
from ..exceptions import InvalidOwner
from ..owners import SESSION_KEY, Identity, get_identity, get_link
from ..streams import Asker

__all__ = ["LOOK_AGAIN_SECONDS", "Handshake"]

LOOK_AGAIN_SECONDS = 15.0
"""For how long a look at the session and its user counts."""

LoadUser = Callable[[Mapping[str, Any], Any], Awaitable[Any]]
"""Return the user of a scope as it is now, from a session that was just read again."""


class Handshake:
    """The request of one socket, and the identity that it stands for."""

    def __init__(self, scope: Mapping[str, Any], *, using: str, load_user: LoadUser) -> None:
        self._scope = scope
        self._using = using
        self._load_user = load_user
        self._session = unwrapped(scope.get("session"))
        self._request = self._make_request(scope.get("user"))
        self._identity: Identity | None = None
        self._looked_at = 0.0
        self._looking = asyncio.Lock()
        self._is_passing = False  # a visitor whom no cookie brings back
        self.link = get_link(self._request)

    @property
    def request(self) -> HttpRequest:
        """A request for one message: what is noted on it is about that alone."""
        return copy(self._request)

    async def asker(self) -> Asker:
        """Return in whose name is read: that of the signed link in the address, if there is one."""
        return self.link or await self.identify()

    async def identify(self) -> Identity:
        """Return who asks, looked up afresh now and then.

        Raises InvalidOwner for nobody, and for somebody else than before.
        """
        async with self._looking:
            if self._identity is None:
                await self._know_visitor()
                self._identity = await self._look()
            elif time.monotonic() - self._looked_at > LOOK_AGAIN_SECONDS:
                await self._read_again()
                if await self._look() != self._identity:
                    raise InvalidOwner
            return self._identity

    async def identify_acquiring(self) -> Identity:
        """Return who is to own a new stream.

        What OWNER leaves in the session is saved. Raises InvalidOwner for a visitor whom no cookie
        brings back: a socket cannot set one, so nobody could resume the stream.
        """
        identity = await self.identify()
        async with self._looking:
            if self._is_passing and identity.owners == (self._visitor(),):
                raise InvalidOwner
            identity = await get_identity(self._request, using=self._using, acquire=True)
            if self._session is not None and self._session.modified and not self._is_passing:
                await self._session.asave()
            return identity

    async def _look(self) -> Identity:
        identity = await get_identity(self._request, using=self._using)
        self._looked_at = time.monotonic()
        if not identity.owners:
            raise InvalidOwner
        return identity

    async def _read_again(self) -> None:
        """Read the session and its user again."""
        session = self._session
        if session is not None and session.session_key:
            self._session = type(session)(session.session_key)
        self._request = self._make_request(await self._load_user(self._scope, self._session))
        await self._know_visitor()

    async def _know_visitor(self) -> None:
        """Give a visitor without a session one name for as long as the socket lives."""
        session = self._session
        if session is None:
            return
        await session.aget(SESSION_KEY)  # loads it: the key of one that has gone is None then
        self._is_passing = session.session_key is None
        if self._is_passing and await session.aget(SESSION_KEY) is None:
            await session.aset(SESSION_KEY, secrets.token_urlsafe(24))

    def _visitor(self) -> str:
        return f"session:{self._session.get(SESSION_KEY)}"

    def _make_request(self, user: Any) -> HttpRequest:
        request = ASGIRequest({**self._scope, "method": "GET"}, BytesIO())
        if self._session is not None:
            request.session = self._session
        if user is not None:
            request.user = user
        return request
