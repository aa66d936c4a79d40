"""A network between a browser and a server that can be cut and mended."""

import asyncio
import threading
from urllib.parse import urlsplit

REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


class Link:
    """Pass TCP connections on to a server, from a loop in a thread of its own."""

    def __init__(self, server: str):
        self.lead_to(server)
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._is_cut = False
        self._refusals = 0
        self.refused = 0
        """The number of requests that were refused."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self._listener = listening.result(5)
        port = self._listener.sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"

    def lead_to(self, server: str) -> None:
        """Pass new connections on to another server."""
        where = urlsplit(server)
        self._server = (where.hostname, where.port)

    def cut(self, *, silently: bool) -> None:
        """Break every connection and refuse new ones; silently: just pass nothing on."""
        self._loop.call_soon_threadsafe(self._cut, silently)

    def mend(self) -> None:
        """Let what is new through again; what was cut stays so."""
        self._loop.call_soon_threadsafe(self._mend)

    def refuse(self, count: int) -> None:
        """Answer the next requests for streams on new connections as a proxy without its server."""
        self._refusals = count

    def close(self) -> None:
        """End everything."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    def _cut(self, silently: bool) -> None:
        self._is_cut = True
        self._open.clear()
        if not silently:
            for writer in self._writers:
                writer.transport.abort()

    def _mend(self) -> None:
        self._is_cut = False
        for writer in self._writers:  # a silent connection does not come back to life
            writer.transport.abort()
        self._open.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        connection = self._loop.create_task(self._connect(reader, writer), name="connection")
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.read(65_536)
        except ConnectionError:
            first = b""
        if not first or self._is_refused(first):
            writer.write(REFUSAL if first else b"")
            writer.close()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._server)
        except OSError:  # killed
            writer.transport.abort()
            return
        up_writer.write(first)
        mine = {writer, up_writer}
        self._writers |= mine
        await asyncio.gather(self._pass(reader, up_writer), self._pass(up_reader, writer))
        self._writers -= mine

    def _is_refused(self, request: bytes) -> bool:
        if not self._refusals or b" /streams/" not in request:
            return False
        self._refusals -= 1
        self.refused += 1
        return True

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._open.wait()
                target.write(data)
                await target.drain()
        except ConnectionError:
            pass
        target.close()

    async def _end(self) -> None:
        self._listener.close()
        self._mend()
        await asyncio.gather(*self._connections)
