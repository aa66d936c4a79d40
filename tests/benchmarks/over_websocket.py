"""WebSockets: uvicorn, Channels, and clients that only look at the time; beside HTTP.

*Bare* is a plain consumer of Channels, which sends what the same source yields and keeps nothing.
The figures over HTTP are those of `over_http`, taken in the same round.
"""

import asyncio
import json
from array import array
from collections.abc import Mapping

from . import over_http
from .loads import Load
from .over_http import CPU, GRACE_SECONDS, LOAD, Client, cpu, figures, serve
from .registry import Bench, Target
from .sockets import END

__all__ = ["BENCHES"]

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT_FRAME = 0x81
MASKED = 0x80
LENGTH_FOLLOWS = 126


class SocketClient(Client):
    """Ask for one stream by WebSocket. Frames of servers are not masked, so stamps are seen."""

    last = END[-12:].encode()

    def __init__(self, path: str, data: Mapping[str, float], latencies: "array[int]") -> None:
        super().__init__(path, latencies)
        self._data = data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport = transport

    def request(self) -> bytes:
        return HANDSHAKE.format(path=self._path).encode()

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 101") and isinstance(self._transport, asyncio.Transport):
            ask = json.dumps({"type": "acquire", "channel": 1, "data": self._data}).encode()
            self._transport.write(frame(ask))
        super().data_received(data)


def frame(text: bytes) -> bytes:
    """Return a frame of a client, masked with zeros."""
    if len(text) < LENGTH_FOLLOWS:
        head = bytes([TEXT_FRAME, MASKED | len(text)])
    else:
        head = bytes([TEXT_FRAME, MASKED | LENGTH_FOLLOWS]) + len(text).to_bytes(2)
    return head + bytes(4) + text


async def run(name: str, scale: float) -> dict[str, float]:
    clients, seconds = max(1, round(LOAD.streams * scale)), LOAD.seconds * scale
    load = Load(streams=clients, rate=LOAD.rate, seconds=seconds)
    latencies = array("q")
    async with serve("tests.benchmarks.sockets:application") as port:
        started = await cpu(port)
        asked = [
            await _ask(port, name, load, number / clients / load.rate, latencies)
            for number in range(clients)
        ]
        await asyncio.wait([one.ended for one in asked], timeout=seconds + GRACE_SECONDS)
        delivered = list(latencies)
        used = await cpu(port) - started
    http = {f"HTTP: {what}": value for what, value in (await over_http.run(name, scale)).items()}
    return {**figures(load, delivered, used), **http}


async def _ask(
    port: int, name: str, load: Load, phase: float, latencies: "array[int]"
) -> SocketClient:
    data = {"rate": load.rate, "count": load.count, "phase": phase}
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: SocketClient(f"/{name}/", data, latencies), "127.0.0.1", port
    )
    return client


BENCHES = [
    Bench(
        name="websocket",
        title="WebSocket (uvicorn): 200 clients, 50 chunks/s each (bare: Channels, nothing kept)",
        run=run,
        contestants=("ours", "bare"),
        targets={
            "delivered, %": Target("100 %", lambda v: v["ours"] >= 100),
            "p50, ms": Target("<= bare + 0.7 ms", lambda v: v["ours"] <= v["bare"] + 0.7),
            CPU: Target("<= 1.6x bare", lambda v: v["ours"] <= 1.6 * v["bare"]),
        },
    )
]
