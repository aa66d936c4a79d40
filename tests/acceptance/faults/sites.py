"""Sites of two real server processes, and the load of clients that come back until the end."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ...nodes import Node, restarted
from ...proxy import Proxy, proxy_to
from ...tools.waiting import eventually
from ..deploy_site import line
from ..returning import Answer, Asker
from ..servers import Server
from .load import UNSETTLED, Verdict

__all__ = ["Clients", "Site", "signal_all", "site_of"]


def signal_all(server: Server, number: int) -> None:
    """Send a signal to a server and to its workers, where it has some."""
    for pid in server.pids:
        os.kill(pid, number)


@dataclass
class Site:
    """Two processes of one kind, a proxy before each, and the server that both store in."""

    servers: list[Server]
    proxies: list[Proxy]
    store: Node
    folder: Path
    seconds: float  # how long a fault lasts that passes

    async def restart_store(self, *, keeps_data: bool) -> None:
        await asyncio.to_thread(restarted, self.store, self.folder, keeps_data=keeps_data)

    def written(self) -> str:
        return "".join(server.written() for server in self.servers)


@asynccontextmanager
async def site_of(
    start: Callable[[], Server], store: Node, folder: Path, seconds: float
) -> AsyncIterator[Site]:
    servers = [await asyncio.to_thread(start) for _ in range(2)]
    ports = [int(server.url.rpartition(":")[2]) for server in servers]
    async with proxy_to(ports[0]) as first, proxy_to(ports[1]) as second:
        try:
            yield Site(servers, [first, second], store, folder, seconds)
        finally:
            for server in servers:
                if server.process.poll() is None:
                    signal_all(server, signal.SIGCONT)


@dataclass
class Clients:
    """Ask for an answer of `lines` lines each, every second one at the second server."""

    count: int
    lines: int
    answers: list[Answer] = field(default_factory=list)
    _tasks: list["asyncio.Task[Answer]"] = field(default_factory=list)

    @property
    def whole(self) -> bytes:
        return b"".join(map(line, range(self.lines)))

    async def start(self, client: httpx.AsyncClient, site: Site) -> None:
        addresses = [proxy.url for proxy in site.proxies]
        for number in range(self.count):
            answer = Answer()
            asking = Asker(client, addresses, number).ask(
                f"/produce?count={self.lines}&every=0.02", answer
            )
            self.answers.append(answer)
            self._tasks.append(asyncio.create_task(asking))
        await eventually(lambda: all(answer.received for answer in self.answers))

    async def is_marked(self, *, within: float) -> bool:
        """Wait until each answer has ended, or has grown from now on."""
        marks = [(answer, len(answer.received)) for answer in self.answers]
        with suppress(AssertionError):
            await eventually(
                lambda: all(one.ended or len(one.received) > mark for one, mark in marks),
                seconds=within,
            )
            return True
        return False

    def timeouts(self) -> int:
        """Count how often a client gave up, as its server said nothing for too long."""
        return sum("Timeout" in one for answer in self.answers for one in answer.tries)

    async def finish(self, *, bound: float) -> None:
        """Whoever is still asking after `bound` seconds hangs."""
        await asyncio.wait(self._tasks, timeout=bound)

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def verdict(self, seconds: float, stored: Callable[[str], int]) -> Verdict:
        """Compare all bytes; `stored` tells how many the store has of a stream."""
        ends = Counter(
            (answer.error or answer.status) if answer.ended else UNSETTLED
            for answer in self.answers
        )
        lost = sum(
            (len(self.whole) if answer.status == "done" else stored(answer.stream_id))
            - len(answer.received)
            for answer in self.answers
            if answer.ended and answer.status != "missing"
        )
        wrong = sum(not self.whole.startswith(answer.received) for answer in self.answers)
        return Verdict(seconds, lost, wrong, ends[UNSETTLED], ends)
