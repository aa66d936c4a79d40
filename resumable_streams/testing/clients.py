"""Clients of streams, on top of Django's test clients: they start, read, are cut, and resume."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.http.request import HttpHeaders
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils.crypto import get_random_string

from ..conf import project_setting
from ..http.transports import BodyCut
from .bookmarks import Bookmark
from .moments import PATIENCE_SECONDS

__all__ = ["AsyncReading", "AsyncStreamClient", "Reading", "StreamClient"]

BREAKS = (BodyCut, ConnectionResetError)


class _Protected:
    """A client that sends its CSRF token, as a page does."""

    client: Any

    def _headers(self, headers: dict[str, str] | None = None) -> dict[str, str]:
        cookie = project_setting("CSRF_COOKIE_NAME")
        header = str(HttpHeaders.parse_header_name(project_setting("CSRF_HEADER_NAME")))
        if cookie not in self.client.cookies:
            self.client.cookies[cookie] = get_random_string(32)
        return {header: self.client.cookies[cookie].value, **(headers or {})}


class _Answer(Bookmark):
    """The answer of a view, and what was read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.response: Any = None
        self.is_broken = False
        """The server broke the connection, so that nobody takes the body for all of the stream."""

    @property
    def status_code(self) -> int:
        status: int = self.response.status_code
        return status

    def _open(self, response: Any) -> None:
        self.response, self.is_broken = response, False
        if response.streaming:
            self.begin(response.headers)
        if self.stream_id and not self.address:
            self.address = reverse("resumable_streams:stream", args=[self.stream_id])

    def _missing(self, wanted: bytes) -> str:
        body = self.body if self.response.streaming else self.response.content
        return f"{wanted!r} is not in the body of {self.status_code}: {body!r}"


class AsyncReading(_Answer):
    """A stream that an `AsyncStreamClient` reads; `body` and `events` are what it has so far.

    Where `status_code` says that there is none, its answer is in `response`.
    """

    def __init__(self, client: "AsyncStreamClient", response: Any) -> None:
        super().__init__()
        self._client = client
        self._accept(response)

    def _accept(self, response: Any) -> None:
        self._open(response)
        self._parts: AsyncIterator[bytes] = aiter(response) if response.streaming else _nothing()

    async def read(self, *, timeout: float = PATIENCE_SECONDS) -> bytes:  # noqa: ASYNC109
        """Read until the body ends; return all of the stream so far."""
        async with asyncio.timeout(timeout):
            while await self._read_on():
                pass
        return self.body

    async def read_until(self, text: bytes | str, *, timeout: float = PATIENCE_SECONDS) -> bytes:  # noqa: ASYNC109
        """Read until `text` is in the body; raise AssertionError if that ends before."""
        wanted = text.encode() if isinstance(text, str) else text
        async with asyncio.timeout(timeout):
            while wanted not in self.body:
                assert await self._read_on(), self._missing(wanted)
        return self.body

    async def _read_on(self) -> bool:
        try:
            part = await anext(self._parts, None)
        except BREAKS:
            part, self.is_broken = None, True
        self.take(part or b"")
        return part is not None

    async def cut(self) -> None:
        """Close the connection, as a reload or a tunnel does: the stream goes on."""
        if isinstance(self._parts, AsyncGenerator):
            await self._parts.aclose()
        # It tells Django that the request is over, which then looks at database connections.
        await sync_to_async(self.response.close, thread_sensitive=False)()

    async def resume(self) -> "AsyncReading":
        """Cut what is open, and go on from here; `body` is then that of both."""
        await self.cut()
        address, headers = self.way_back()
        self._accept(await self._client.client.get(address, headers=headers))
        return self


class AsyncStreamClient(_Protected):
    """A client that starts and resumes streams through Django's AsyncClient.

    It sends a CSRF token, and its own client checks that. `client` is where to log in, to set
    cookies and headers, and to ask for anything else.
    """

    def __init__(self, client: AsyncClient | None = None) -> None:
        self.client: AsyncClient = client or AsyncClient(enforce_csrf_checks=True)

    async def login(self, user: Any) -> "AsyncStreamClient":
        """Log a user in, without a password."""
        await self.client.aforce_login(user)
        return self

    async def start(
        self, path: str, data: Any = None, *, headers: dict[str, str] | None = None, **more: Any
    ) -> AsyncReading:
        """Post to a view that starts a stream; the arguments are those of `AsyncClient.post`."""
        headers = self._headers(headers)
        response = await self.client.post(path, data, headers=headers, **more)
        return AsyncReading(self, response)

    async def follow(self, address: str, **more: Any) -> AsyncReading:
        """Read a stream from the start, or from the position that the address has."""
        reading = AsyncReading(self, await self.client.get(address, **more))
        reading.address = address.partition("?")[0]
        return reading

    async def cancel(self, reading: _Answer) -> int:
        """Cancel a stream; return the status code of the answer."""
        address = f"{reading.address}cancel/"
        return (await self.client.post(address, headers=self._headers())).status_code


class Reading(_Answer):
    """The sync form of `AsyncReading`, which reads without a time limit."""

    def __init__(self, client: "StreamClient", response: Any) -> None:
        super().__init__()
        self._client = client
        self._accept(response)

    def _accept(self, response: Any) -> None:
        self._open(response)
        self._parts: Iterator[bytes] = iter(response) if response.streaming else iter(())

    def read(self) -> bytes:
        """Read until the body ends; return all of the stream so far."""
        while self._read_on():
            pass
        return self.body

    def read_until(self, text: bytes | str) -> bytes:
        """Read until `text` is in the body; raise AssertionError if that ends before."""
        wanted = text.encode() if isinstance(text, str) else text
        while wanted not in self.body:
            assert self._read_on(), self._missing(wanted)
        return self.body

    def _read_on(self) -> bool:
        try:
            part = next(self._parts, None)
        except BREAKS:
            part, self.is_broken = None, True
        self.take(part or b"")
        return part is not None

    def cut(self) -> None:
        """Close the connection, as a reload or a tunnel does: the stream goes on."""
        self.response.close()

    def resume(self) -> "Reading":
        """Cut what is open, and go on from here; `body` is then that of both."""
        self.cut()
        address, headers = self.way_back()
        self._accept(self._client.client.get(address, headers=headers))
        return self


class StreamClient(_Protected):
    """The sync form of `AsyncStreamClient`, through Django's Client."""

    def __init__(self, client: Client | None = None) -> None:
        self.client: Client = client or Client(enforce_csrf_checks=True)

    def login(self, user: Any) -> "StreamClient":
        """Log a user in, without a password."""
        self.client.force_login(user)
        return self

    def start(
        self, path: str, data: Any = None, *, headers: dict[str, str] | None = None, **more: Any
    ) -> Reading:
        """Post to a view that starts a stream; the arguments are those of `Client.post`."""
        return Reading(self, self.client.post(path, data, headers=self._headers(headers), **more))

    def follow(self, address: str, **more: Any) -> Reading:
        """Read a stream from the start, or from the position that the address has."""
        reading = Reading(self, self.client.get(address, **more))
        reading.address = address.partition("?")[0]
        return reading

    def cancel(self, reading: _Answer) -> int:
        """Cancel a stream; return the status code of the answer."""
        address = f"{reading.address}cancel/"
        return self.client.post(address, headers=self._headers()).status_code


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
