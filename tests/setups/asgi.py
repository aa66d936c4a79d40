"""An HTTP client for an ASGI application in this process, whose bodies arrive as they are sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx

__all__ = ["Transport"]


class Transport(httpx.AsyncBaseTransport):
    """What a server is between a client and an application: it also says who has left."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = Call(await request.aread())
        call.run(self._application, scope_of(request))
        try:
            start = await call.next()
        except asyncio.CancelledError:  # nobody waits for an answer any more
            await call.aclose()
            raise
        return httpx.Response(start["status"], headers=start["headers"], stream=call)


class Call(httpx.AsyncByteStream):
    """One request, until its client closes the response."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._left = asyncio.Event()
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=1)

    def run(self, application: Any, scope: dict[str, Any]) -> None:
        self._task = asyncio.create_task(application(scope, self.receive, self._sent.put))

    async def receive(self) -> dict[str, Any]:
        if self._body is None:
            await self._left.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def next(self) -> dict[str, Any]:
        """Return what the application sends next; raise what it raises instead."""
        message = asyncio.create_task(self._sent.get())
        await asyncio.wait({message, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not message.done() and self._sent.empty():
            message.cancel()
            self._task.result()
            raise AssertionError("The application ended in the middle of its response.")
        return await message

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self.next()
            more = message.get("more_body", False)
            yield message.get("body", b"")

    async def aclose(self) -> None:
        self._left.set()
        while not self._task.done():  # what it still has to say is for nobody
            while not self._sent.empty():
                self._sent.get_nowait()
            await asyncio.wait({self._task}, timeout=0.01)


def scope_of(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": request.url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }
