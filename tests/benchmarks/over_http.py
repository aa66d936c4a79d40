"""The whole way: uvicorn, Django, and clients that only look at the time.

The clients live in this process and the server in another one. *Bare* is a StreamingHttpResponse
over the same source, which keeps nothing.
"""

import asyncio
import json
import os
import sys
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter_ns

from example_project.private_redis import free_port

from .loads import Load, percentile, stamps
from .registry import Bench, Target

__all__ = [
    "BENCHES",
    "CPU",
    "GRACE_SECONDS",
    "LOAD",
    "Client",
    "ask",
    "cpu",
    "figures",
    "run",
    "serve",
]

LOAD = Load(streams=200, rate=50, seconds=4)
GRACE_SECONDS = 2.0
LAST_CHUNK = b"0\r\n\r\n"
CPU = "CPU of the server, µs a chunk"


class Client(asyncio.Protocol):
    """Ask for one path and note how old the chunks are that come."""

    last = LAST_CHUNK

    def __init__(self, path: str, latencies: "array[int]"):
        self.body = bytearray()
        self.ended = asyncio.get_running_loop().create_future()
        self._path = path
        self._latencies = latencies
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.write(self.request())

    def request(self) -> bytes:
        return f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    def data_received(self, data: bytes) -> None:
        now = perf_counter_ns()
        if self._rest:
            data = self._rest + data
        found = stamps(data)
        self._latencies.extend([now - int(stamp) for stamp in found])
        # A stamp may be cut in two: keep what begins after the last whole one.
        self._rest = data[data.rfind(b"T", -20) :] if b"T" in data[-20:] else b""
        if data.endswith(self.last) or not found:
            self.body += data
            if data.endswith(self.last) and not self.ended.done():
                self.ended.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def ask(port: int, path: str, latencies: "array[int]") -> Client:
    """Have a client ask a server for one path."""
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: Client(path, latencies), "127.0.0.1", port
    )
    return client


async def cpu(port: int) -> float:
    """Return the seconds of the processor that a server has used."""
    client = await ask(port, "/cpu/", array("q"))
    await client.ended
    answer = client.body[client.body.index(b"{") : client.body.rindex(b"}") + 1]
    seconds: float = json.loads(answer)["seconds"]
    return seconds


@asynccontextmanager
async def serve(*application: str) -> AsyncIterator[int]:
    """Run uvicorn in a process of its own, and yield its port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", *application),
        *("--port", str(port), "--log-level", "error", "--lifespan", "off"),
        env=os.environ,
    )
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    await cpu(port)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield port
    finally:
        process.kill()
        await process.wait()


async def run(name: str, scale: float) -> dict[str, float]:
    clients, seconds = max(1, round(LOAD.streams * scale)), LOAD.seconds * scale
    load = Load(streams=clients, rate=LOAD.rate, seconds=seconds)
    latencies = array("q")
    async with serve("django.core.asgi:get_asgi_application", "--factory") as port:
        started = await cpu(port)
        path = f"/{name}/?rate={load.rate}&count={load.count}&phase="
        asked = [
            await ask(port, f"{path}{number / clients / load.rate}", latencies)
            for number in range(clients)
        ]
        await asyncio.wait([one.ended for one in asked], timeout=seconds + GRACE_SECONDS)
        delivered = list(latencies)
        used = await cpu(port) - started
    return figures(load, delivered, used)


def figures(load: Load, delivered: Sequence[float], used: float) -> dict[str, float]:
    """Return what was found out: from latencies in ns, and from the seconds of the processor."""
    return {
        "delivered, %": 100 * len(delivered) / load.expected,
        "p50, ms": percentile(delivered, 0.5) / 1e6,
        "p99, ms": percentile(delivered, 0.99) / 1e6,
        CPU: 1e6 * used / max(1, len(delivered)),
    }


BENCHES = [
    Bench(
        name="http",
        title="HTTP (uvicorn): 200 clients, a stream of 50 chunks/s each (bare: nothing is kept)",
        run=run,
        targets={
            "delivered, %": Target("100 %", lambda v: v["ours"] >= 100),
            "p50, ms": Target("<= bare + 0.7 ms", lambda v: v["ours"] <= v["bare"] + 0.7),
            CPU: Target("<= 1.6x bare", lambda v: v["ours"] <= 1.6 * v["bare"]),
        },
    )
]
