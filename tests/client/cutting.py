"""A proxy that closes connections after so many bytes of their first body, in an orderly way."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from tests.proxy import Proxy

__all__ = ["CuttingProxy", "cutting_proxy_to"]

HEAD_END = b"\r\n\r\n"


class CuttingProxy(Proxy):
    """A proxy for the next connections that get a body; those after the last of `cuts` are whole.

    Where a body ends with its connection (HTTP/1.0), nobody sees the cut.
    """

    def __init__(self, port: int, cuts: Iterable[int] = ()) -> None:
        super().__init__(port)
        self.cuts = deque(cuts)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        if source in self._answers and self.cuts:
            await self._cut_off(source, sink)
        await super()._pass(source, sink)

    async def _cut_off(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            sink.write(await source.readuntil(HEAD_END))
        except asyncio.IncompleteReadError as end:
            raise ConnectionError("closed") from end
        if not self.cuts:
            return
        left = self.cuts.popleft()
        while left and (data := await source.read(left)):
            sink.write(data)
            left -= len(data)
        sink.close()
        with suppress(OSError):
            await sink.wait_closed()
        raise ConnectionError("cut")


@asynccontextmanager
async def cutting_proxy_to(port: int, cuts: Iterable[int] = ()) -> AsyncIterator[CuttingProxy]:
    """Open a proxy to a port of this machine."""
    proxy = CuttingProxy(port, cuts)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.aclose()
        await server.wait_closed()
