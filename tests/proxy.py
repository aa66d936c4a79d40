"""A TCP proxy before a server: it delays, cuts, swallows, and refuses who says a word."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.tools.waiting import pass_time

__all__ = ["Proxy", "proxy_to"]

BLOCK = 65_536


class Proxy:
    """Pass bytes on, as the attributes say; they may change at any time."""

    def __init__(self, port: int):
        self.upstream = port  # may change at any time
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.delay = 0.0  # seconds, each way
        self._is_hole = False
        self._dead: set[asyncio.StreamReader] = set()  # half open, for good
        self._forgotten: set[asyncio.StreamReader] = set()
        self._sources: set[asyncio.StreamReader] = set()
        self._answers: set[asyncio.StreamReader] = set()
        self.connections = 0  # that were ever made
        self.refused = b""  # whoever sends this is cut off
        self.refused_one = asyncio.Event()

    @property
    def location(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> int:
        """Break every connection, as a reset does; return how many there were."""
        cut = len(self._writers) // 2
        for writer in self._writers:
            writer.transport.abort()
        return cut

    def open_hole(self) -> None:
        """Let no byte through; what is connected now, or meanwhile, stays open and silent."""
        self._is_hole = True
        self._dead |= self._sources

    def close_hole(self) -> None:
        """Serve new connections again."""
        self._is_hole = False

    def lose(self) -> None:
        """Let no byte through of who is connected now; whoever comes later is served."""
        self._dead |= self._sources

    def lose_answers(self) -> None:
        """Let what clients ask through, of those who are connected now, and no answer."""
        self._dead |= self._answers

    def forget(self) -> None:
        """Know nothing of who is connected, as a client that was switched off: nobody is told.

        Only who sends something learns it, by a reset.
        """
        self._forgotten |= self._sources

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        self._writers |= {writer, back}
        self._sources |= {reader, there}
        self._answers.add(there)
        self.connections += 1
        if self._is_hole:
            self._dead |= {reader, there}
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, back):
                one.transport.abort()
            self._writers -= {writer, back}
            self._sources -= {reader, there}
            self._answers.discard(there)
            self._dead -= {reader, there}
            self._forgotten -= {reader, there}
            self._tasks.discard(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(BLOCK):
            if source in self._forgotten:
                raise ConnectionError("reset")
            if self.refused and self.refused in data:
                self.refused_one.set()
                raise ConnectionError("refused")
            if self.delay:
                await pass_time(self.delay)
            if source not in self._dead:
                sink.write(data)
                await sink.drain()
        raise ConnectionError("closed")

    async def aclose(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxy_to(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Open a proxy to a port of this machine; with `tls` that is what it speaks to its clients."""
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.aclose()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
