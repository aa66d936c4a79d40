"""The request that opened a WebSocket: in whose name its messages are answered.

OWNER and TENANT get an `HttpRequest`, as they do over HTTP: a GET with the headers and cookies of
the handshake, the session and the user of the scope, and the scope itself (`request.scope`). A
socket may outlive a log-out, so session and user are read again from time to time.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from io import BytesIO
from typing import Any

from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest

from ..compat import unwrapped
from ..exceptions import InvalidOwner, StreamDoesNotExist
from ..links import SignedLink
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
        self._user = scope.get("user")
        self._identity: Identity | None = None
        self._looked_at = 0.0
        self._looking = asyncio.Lock()
        self._is_passing = False  # a visitor whom no cookie brings back

    def make_request(self) -> HttpRequest:
        """Return a request for one message: what is noted on it is about that alone."""
        request = ASGIRequest({**self._scope, "method": "GET"}, BytesIO())
        if self._session is not None:
            request.session = self._session
        if self._user is not None:
            request.user = self._user
        return request

    async def asker(self) -> Asker:
        """Return in whose name is read: that of the signed link in the address, if there is one.

        Raises SuspiciousOperation for an address that Django does not read.
        """
        return self._link or await self.identify()

    @cached_property
    def _link(self) -> SignedLink | None:
        return get_link(self.make_request())

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
            identity = await self._get_identity(acquire=True)
            await self._save_session()
            return identity

    async def _save_session(self) -> None:
        session = self._session
        if session is None or not session.modified or self._is_passing:
            return
        key = session.session_key
        try:
            await session.asave()
        except UpdateError:  # it was deleted meanwhile
            raise InvalidOwner from None
        if session.session_key != key:  # the session is in its cookie
            raise InvalidOwner

    async def _look(self) -> Identity:
        identity = await self._get_identity(acquire=False)
        self._looked_at = time.monotonic()
        if not identity.owners:
            raise InvalidOwner
        return identity

    async def _get_identity(self, *, acquire: bool) -> Identity:
        """Ask OWNER and TENANT. Their Http404 is a missing stream, as it is a 404 over HTTP."""
        try:
            return await get_identity(self.make_request(), using=self._using, acquire=acquire)
        except Http404:
            raise StreamDoesNotExist from None
        except PermissionDenied:
            raise InvalidOwner from None

    async def _read_again(self) -> None:
        """Read the session and its user again."""
        session = self._session
        if session is not None and session.session_key:
            self._session = type(session)(session.session_key)
        self._user = await self._load_user(self._scope, self._session)
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
