"""A local provider: an HTTP server that replies as it is told to, and knows who has left."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HANG", "Exchange", "Provider", "Reply"]


class _Hang:
    """What a provider says when it says nothing more, and keeps the connection."""


HANG = _Hang()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Bytes as they are sent, with events to wait for in between.

    Without `is_whole` the connection breaks after them; with `is_mute` nothing is sent, ever.
    """

    body: Sequence[bytes | asyncio.Event | _Hang] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})
    is_whole: bool = True
    is_mute: bool = False


@dataclass
class Exchange:
    """One request, and what became of its reply."""

    path: str
    headers: dict[str, str]
    body: Any
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """The client has closed the connection before the reply was whole."""


class Provider:
    """The server. Each request gets the next reply; the last one is for all that follow."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.url = ""
        self.choose: Callable[[Exchange], Reply] | None = None
        """What chooses the reply to a request, in place of their order."""
        self._replies: deque[Reply] = deque()
        self._connections: set[asyncio.Task[None]] = set()

    def replies(self, *replies: Reply) -> None:
        self._replies.extend(replies)

    def forget(self) -> None:
        """Forget the reply that is for all that follow."""
        self._replies.popleft()

    def _next(self, exchange: Exchange) -> Reply:
        if self.choose is not None:
            return self.choose(exchange)
        return self._replies.popleft() if len(self._replies) > 1 else self._replies[0]

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Provider"]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            exchange = await _request(reader)
            self.exchanges.append(exchange)
            await _answer(self._next(exchange), exchange, reader, writer)
        except asyncio.CancelledError:
            pass  # the server is closed: its streams would log a task that is cancelled
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _request(reader: asyncio.StreamReader) -> Exchange:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    lines = (line.partition(": ") for line in head[1:] if line)
    headers = {name.lower(): value for name, _, value in lines}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Exchange(head[0].split(" ")[1], headers, json.loads(body))


async def _answer(
    reply: Reply,
    exchange: Exchange,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Send the reply until it is whole, or the client leaves."""
    sending = asyncio.create_task(_send(reply, writer))
    leaving = asyncio.create_task(reader.read())
    try:
        done, _ = await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending not in done or sending.exception():
            exchange.left.set()
    finally:
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send(reply: Reply, writer: asyncio.StreamWriter) -> None:
    if reply.is_mute:
        await _hang()
    headers = {**reply.headers, "Connection": "close", "Transfer-Encoding": "chunked"}
    lines = [f"HTTP/1.1 {reply.status} .", *(f"{name}: {headers[name]}" for name in headers)]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    for part in reply.body:
        if isinstance(part, _Hang):
            await _hang()
        elif isinstance(part, asyncio.Event):
            await part.wait()
        else:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        await writer.drain()
    if reply.is_whole:
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _hang() -> None:
    await asyncio.get_running_loop().create_future()
