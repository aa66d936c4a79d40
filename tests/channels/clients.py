"""Clients of the protocol, over Channels' communicator."""

import json
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from channels.testing import WebsocketCommunicator

from resumable_streams.consumers import StreamConsumer

__all__ = ["Socket", "connected"]

Scope = Mapping[str, Any]


class Socket:
    """One WebSocket, as its client has it."""

    def __init__(self, communicator: WebsocketCommunicator) -> None:
        self.communicator = communicator

    async def say(self, type_: str, channel: int = 1, **fields: object) -> None:
        await self.communicator.send_json_to({"type": type_, "channel": channel, **fields})

    async def hear(self) -> dict[str, Any]:
        """Return the next message; of a binary frame its fields."""
        output = await self.communicator.receive_output(timeout=30)
        if output["type"] == "websocket.close":
            return {"type": "closing", "code": output["code"]}
        if "text" in output:
            heard: dict[str, Any] = json.loads(output["text"])
            return heard
        channel, offset = struct.unpack(">IQ", output["bytes"][:12])
        return {"type": "bytes", "channel": channel, "offset": offset, "data": output["bytes"][12:]}

    async def ask(self, type_: str, channel: int = 1, **fields: object) -> dict[str, Any]:
        """Say something, and return the next message."""
        await self.say(type_, channel, **fields)
        return await self.hear()

    async def read(self, channel: int = 1) -> tuple[bytes, dict[str, Any]]:
        """Return the bytes of a stream that is open, and its end."""
        data = b""
        while (heard := await self.hear())["type"] in ("bytes", "opened", "data"):
            assert heard["channel"] == channel
            if heard["type"] == "bytes":
                data += heard["data"]
            if heard["type"] == "data":
                data += heard["text"].encode()
        return data, heard


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


async def owner_of_scope(request: Any) -> str | None:
    """Be an OWNER: whoever the scope says."""
    owner: str | None = request.scope.get("owner")
    return owner
