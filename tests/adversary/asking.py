"""Requests as nobody's browser sends them, through Django's ASGI handler or a real server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from ..tools.serving import served_here

__all__ = ["Answer", "Ask", "Handler", "Send", "Server", "served"]

IDLE_SECONDS = 0.03
HANGS_SECONDS = 10.0

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request, byte for byte.

    The body comes in `pieces`; one that is `torn` ends there, though more was announced. `leaves`
    is after how many turns of the loop the client goes; None: it stays to the end, of a stream that
    is live until nothing more comes.
    """

    method: str
    target: bytes
    headers: Headers = ()
    pieces: Sequence[bytes] = ()
    torn: bool = False
    leaves: int | None = None
    is_live: bool = False

    def at(self, target: bytes) -> "Ask":
        return replace(self, target=target)

    @property
    def length(self) -> int:
        return sum(map(len, self.pieces)) + self.torn


@dataclass(slots=True)
class Answer:
    """What came back; without a status, nothing did. `ended`: the body was sent to its end."""

    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False

    def __getitem__(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name.lower()), "")


class Send(Protocol):
    """A way to send requests."""

    async def __call__(self, ask: Ask) -> Answer:
        """Return the answer; raise TimeoutError for one that never comes, and what was raised."""


class Handler:
    """Be the server of an application in this process."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, ask: Ask) -> Answer:
        return await _Call(self._application, ask).run()


class _Call:
    """One request that is being answered."""

    def __init__(self, application: Any, ask: Ask) -> None:
        self._application = application
        self._ask = ask
        self._pieces = list(ask.pieces) or [b""]
        self._answer = Answer()
        self._left = asyncio.Event()
        self._news = asyncio.Event()

    async def run(self) -> Answer:
        async with asyncio.timeout(HANGS_SECONDS):
            task = asyncio.create_task(
                self._application(scope_of(self._ask), self._receive, self._send), name="request"
            )
            if self._ask.leaves is not None:
                await self._leave_after(self._ask.leaves)
            elif self._ask.is_live:
                await self._leave_when_idle(task)
            await task
        return self._answer

    async def _leave_after(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        self._left.set()

    async def _leave_when_idle(self, task: "asyncio.Task[None]") -> None:
        while not task.done():
            self._news.clear()
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                if self._answer.status is not None:
                    break
        self._left.set()

    async def _receive(self) -> dict[str, Any]:
        if self._pieces:
            piece = self._pieces.pop(0)
            more = bool(self._pieces) or self._ask.torn
            return {"type": "http.request", "body": piece, "more_body": more}
        if not self._ask.torn:
            await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._answer.status = message["status"]
            self._answer.headers = [
                (name.decode("latin-1").lower(), value.decode("latin-1"))
                for name, value in message["headers"]
            ]
        else:
            self._answer.body += message.get("body", b"")
            self._answer.ended = not message.get("more_body", False)
        self._news.set()


def scope_of(ask: Ask) -> dict[str, Any]:
    path, _, query = ask.target.partition(b"?")
    headers = [(name.lower(), value) for name, value in ask.headers]
    if ask.pieces or ask.torn:
        headers.append((b"content-length", str(ask.length).encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": ask.method.upper(),
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }


class Server:
    """Ask a real server over a socket, one connection a request."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __call__(self, ask: Ask) -> Answer:
        async with asyncio.timeout(HANGS_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                return await self._exchange(ask, reader, writer)
            finally:
                writer.close()

    async def _exchange(
        self, ask: Ask, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Answer:
        writer.write(_head(ask))
        for piece in ask.pieces:
            writer.write(piece)
        if ask.torn:
            writer.write_eof()
        for _ in range(ask.leaves or 0):
            await asyncio.sleep(0)
        if ask.leaves is not None:
            return Answer()
        head = b"" if ask.torn else await reader.readuntil(b"\r\n\r\n")
        patience = 10 * IDLE_SECONDS if ask.is_live or ask.torn else None
        return _parse(head + await _read(reader, patience))


async def _read(reader: asyncio.StreamReader, patience: float | None) -> bytes:
    """Read to the end, or until nothing has come for so many seconds."""
    data = b""
    with suppress(TimeoutError, ConnectionError):
        while True:
            async with asyncio.timeout(patience):
                part = await reader.read(65_536)
            if not part:
                break
            data += part
    return data


def _head(ask: Ask) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (ask.method.encode(), ask.target)]
    lines += [b"%b: %b" % header for header in ask.headers]
    if not any(name == b"Host" for name, _ in ask.headers):
        lines.append(b"Host: testserver")
    if ask.pieces or ask.torn:
        lines.append(b"Content-Length: %d" % ask.length)
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def _parse(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first:
        return Answer()
    pairs = (line.partition(": ") for line in lines)
    headers = [(name.lower(), value) for name, _, value in pairs if name.lower() != "date"]
    answer = Answer(int(first.split()[1]), headers, body)
    if answer["transfer-encoding"] == "chunked":
        answer.body, answer.ended = _unchunk(body)
    else:
        answer.ended = len(body) == int(answer["content-length"] or 0)
    return answer


def _unchunk(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        if not size or int(size, 16) == 0:
            return body, bool(size)
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body, False


@asynccontextmanager
async def served(application: Any) -> AsyncIterator[Server]:
    """Serve an application with uvicorn, on this loop and a free port."""
    async with served_here(application) as port:
        yield Server(port)
