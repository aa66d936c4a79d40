"""Clients of the protocol: over Channels' communicator, and over a real WebSocket."""

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from channels.testing import WebsocketCommunicator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from resumable_streams.consumers import StreamConsumer

__all__ = ["RealSocket", "Socket", "connected", "decode", "owner_of_scope", "really_connected"]

HEAD = struct.Struct(">IQ")


def decode(frame: str | bytes) -> dict[str, Any]:
    """Return a message; of a binary frame its fields."""
    if isinstance(frame, str):
        heard: dict[str, Any] = json.loads(frame)
        return heard
    channel, offset = HEAD.unpack(frame[: HEAD.size])
    return {"type": "bytes", "channel": channel, "offset": offset, "data": frame[HEAD.size :]}


class Client:
    """What every client of the protocol does; it acknowledges at half a window."""

    window = 0
    offset = 0
    acknowledged = 0

    async def send(self, text: str) -> None:
        raise NotImplementedError

    async def receive(self) -> str | bytes | int:
        """Return the next frame; a number is the code of a socket that was closed."""
        raise NotImplementedError

    async def say(self, type_: str, channel: int = 1, **fields: object) -> None:
        await self.send(json.dumps({"type": type_, "channel": channel, **fields}))

    async def hear(self) -> dict[str, Any]:
        """Return the next message."""
        frame = await self.receive()
        return {"type": "closing", "code": frame} if isinstance(frame, int) else decode(frame)

    async def ask(self, type_: str, channel: int = 1, **fields: object) -> dict[str, Any]:
        """Say something, and return the next message."""
        await self.say(type_, channel, **fields)
        return await self.hear()

    async def read(self, channel: int = 1) -> tuple[bytes, dict[str, Any]]:
        """Return the bytes of a stream, and what came after them."""
        data = b""
        while (heard := await self.hear())["type"] in ("bytes", "opened", "data"):
            assert heard["channel"] == channel
            data += await self.take(heard)
        return data, heard

    async def take(self, heard: dict[str, Any]) -> bytes:
        """Return the bytes of a message, which are to continue those before, and acknowledge."""
        if heard["type"] == "opened":
            self.window, self.offset = heard["window"], heard["offset"]
            self.acknowledged = self.offset
            return b""
        assert heard["offset"] == self.offset
        data: bytes = heard["data"] if heard["type"] == "bytes" else heard["text"].encode()
        self.offset += len(data)
        assert heard.get("end", self.offset) == self.offset
        if self.offset - self.acknowledged >= self.window // 2:
            self.acknowledged = self.offset
            await self.say("ack", heard["channel"], offset=self.offset)
        return data


class Socket(Client):
    """One WebSocket of a communicator."""

    def __init__(self, communicator: WebsocketCommunicator) -> None:
        self.communicator = communicator

    async def send(self, text: str) -> None:
        await self.communicator.send_to(text_data=text)

    async def receive(self) -> str | bytes | int:
        output = await self.communicator.receive_output(timeout=30)
        frame: str | bytes | int = next(
            output[name] for name in ("text", "bytes", "code") if name in output
        )
        return frame


@asynccontextmanager
async def connected(
    consumer: type[StreamConsumer] = StreamConsumer, address: str = "/ws/streams/", **scope: Any
) -> AsyncIterator[Socket]:
    """Connect to a consumer, with a scope as the middleware of Channels would leave it."""
    communicator = WebsocketCommunicator(consumer.as_asgi(), address)
    communicator.scope.update(scope)
    assert await communicator.connect(timeout=30) == (True, None)
    try:
        yield Socket(communicator)
    finally:
        await communicator.disconnect(timeout=30)


class RealSocket(Client):
    """One WebSocket of a real server."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, text: str) -> None:
        await self.connection.send(text)

    async def receive(self) -> str | bytes | int:
        try:
            return await self.connection.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def cut(self) -> None:
        """Lose the connection, as a network does."""
        self.connection.transport.abort()


@asynccontextmanager
async def really_connected(
    url: str, path: str = "/ws/streams/", *, session: str = "", origin: str = "", **named: Any
) -> AsyncIterator[RealSocket]:
    """Connect to a server at its URL of HTTP."""
    headers = {"Cookie": f"sessionid={session}", "Origin": origin or url}
    address = url.replace("http:", "ws:") + path
    named = {"max_size": None, "compression": None, "open_timeout": 60} | named
    async with connect(address, additional_headers=headers, **named) as connection:
        yield RealSocket(connection)


async def owner_of_scope(request: Any) -> str | None:
    """Return whoever the scope says; for OWNER."""
    owner: str | None = request.scope.get("owner")
    return owner
