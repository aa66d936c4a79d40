"""Live streams on real servers hold nothing of the site's: PostgreSQL and the system count.

`HOLDINGS=full` runs with as many streams as one process is promised to carry.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.servers import ROOT
from tests.postgres import Postgres
from tests.tools.serving import PLAIN
from tests.tools.waiting import eventually, pass_time

from .conftest import Running, Serve

IS_FULL = os.environ.get("HOLDINGS") == "full"
READERS, PRODUCERS = (200, 60) if IS_FULL else (24, 20)
AT_ONCE = 16
QUERIES = 3 * PRODUCERS

pytestmark = [pytest.mark.timeout(120)]


class Site:
    """A site and its visitors."""

    def __init__(self, running: Running, sessions: Callable[[], list[str]]):
        self.server = running.server
        self.environment = running.environment
        self.sessions = sessions
        self.users = 0
        self._keys: list[str] = []
        self._client = httpx.AsyncClient(
            verify=PLAIN, base_url=self.server.url, timeout=30, limits=httpx.Limits()
        )
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._open = AsyncExitStack()

    async def log_in(self, count: int) -> None:
        self._keys = (await self.get(f"/log-in/{count}"))["sessions"]

    async def get(self, path: str, **named: Any) -> Any:
        response = await self._client.get(path, **named)
        assert response.status_code == 200, self.server.written()
        return response.json()

    async def start(self, count: int, path: str, **named: Any) -> list["Answer"]:
        """Start streams of as many users; each has its first bytes when this returns."""
        keys = self._keys[:count]
        return await asyncio.gather(*(self._start(key, path, **named) for key in keys))

    async def _start(self, key: str, path: str, **named: Any) -> "Answer":
        async with self._at_once:
            headers = {"Cookie": f"sessionid={key}"}
            request = self._client.stream("POST", path, headers=headers, **named)
            answer = Answer(await self._open.enter_async_context(request))
            await answer.more()
            return answer

    async def page(self) -> None:
        """Visit an ordinary page, as somebody who is logged in."""
        answer = await self.get("/", headers={"Cookie": f"sessionid={self._keys[0]}"})
        assert answer["user"] == "user-0"
        self.users = answer["users"]

    async def until_asked(self, queries: int) -> None:
        """Wait until the sources have queried the database, while ordinary pages answer."""

        async def is_asked() -> bool:
            await self.page()
            return bool((await self.get("/stage"))["asked"] >= queries)

        await eventually(is_asked)

    def threads(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.server.pids)

    async def at_rest(self) -> int:
        """Wait until the database has no client, and return how many threads there are then."""
        await eventually(lambda: not self.sessions())
        return self.threads()

    async def aclose(self) -> None:
        await self._open.aclose()
        await self._client.aclose()


class Answer:
    """A body that is read piece by piece."""

    def __init__(self, response: httpx.Response):
        assert response.status_code == 200
        self.body = b""
        self._pieces = response.aiter_raw()

    async def more(self) -> bytes:
        self.body += await anext(self._pieces)
        return self.body

    async def rest(self) -> bytes:
        async for piece in self._pieces:
            self.body += piece
        return self.body


@asynccontextmanager
async def visited(
    site: Serve, postgres: Postgres, kind: str, connections: str, **more: str
) -> AsyncIterator[Site]:
    running = site(kind, connections, **more)
    visited = Site(running, lambda: postgres.sessions(running.database))
    await visited.log_in(READERS)
    try:
        yield visited
    finally:
        await visited.aclose()


SITES = [("uvicorn", "pool"), ("daphne", "pool"), ("uvicorn", "persistent")]
if IS_FULL:
    SITES.append(("daphne", "persistent"))


@pytest.mark.parametrize(("kind", "connections"), SITES)
async def test_live_streams_hold_no_connection_and_no_thread(
    site: Serve, postgres_server: Postgres, kind: str, connections: str
):
    async with visited(site, postgres_server, kind, connections) as at:
        await at.page()
        idle = await at.at_rest()
        await at.start(READERS, "/produce/waiting")
        await at.start(PRODUCERS, "/produce/asking")

        await at.until_asked(QUERIES)
        await at.get("/stage?quiet")
        await at.at_rest()
        await eventually(lambda: at.threads() <= idle)
        await at.page()
        assert (await at.get("/stage"))["live"] == READERS + PRODUCERS
        await at.get("/stage?over")


@pytest.mark.parametrize("connections", ["pool", "persistent"])
async def test_chats_hold_no_connection_while_they_are_answered(
    site: Serve, postgres_server: Postgres, connections: str
):
    """Also where drafts are saved meanwhile."""
    async with visited(site, postgres_server, "uvicorn", connections) as at:
        message = {"id": "q", "role": "user", "parts": [{"type": "text", "text": "Why?"}]}
        answers = await at.start(READERS, "/api/chat", json={"id": "c", "messages": [message]})
        await at.at_rest()
        await at.page()
        assert (await at.get("/stage"))["live"] == READERS
        await at.get("/stage?over")
        assert [(await one.rest()).count(b'"type":"finish"') for one in answers] == [1] * READERS
        await at.at_rest()


@pytest.mark.parametrize("connections", ["pool", "persistent"])
async def test_live_streams_hold_no_connection_under_wsgi(
    site: Serve, postgres_server: Postgres, connections: str
):
    async with visited(site, postgres_server, "gunicorn gthread", connections) as at:
        await at.start(2, "/produce/waiting")  # of eight threads, each of these takes one
        await at.start(2, "/produce-in-a-sync-view/asking")
        await at.start(2, "/produce-in-a-sync-view/asking_in_a_thread")
        await at.until_asked(6)
        await at.get("/stage?quiet")
        await at.at_rest()
        await at.page()
        assert (await at.get("/stage"))["live"] == 6
        await at.get("/stage?over")


async def test_what_is_in_use_stays(site: Serve, postgres_server: Postgres):
    async with visited(site, postgres_server, "uvicorn", "persistent") as at:
        (slow,) = await at.start(1, "/produce/rows")
        (atomic,) = await at.start(1, "/produce/in_a_transaction")
        await pass_time(1.5)  # longer than what nobody uses is held
        held = sorted(at.sessions())
        assert len(held) == 2
        assert held[0].startswith("idle in transaction: INSERT")
        assert held[1].startswith("idle: FETCH")
        await at.get("/stage?over")
        assert len((await slow.rest()).split()) >= READERS
        assert await atomic.rest() == b".."
        await at.at_rest()
        await at.page()
        assert at.users == READERS + 2


async def test_workers_hold_no_connection(
    site: Serve, postgres_server: Postgres, redis_url: str, key_prefix: str
):
    store = {"REDIS_URL": redis_url, "KEY_PREFIX": key_prefix}
    async with visited(site, postgres_server, "uvicorn", "pool", **store) as at:
        with worker(at.environment):
            answers = await at.start(5, "/order")
            for answer in answers:
                while len(answer.body) < 5:
                    await answer.more()
            await at.at_rest()


@contextmanager
def worker(environment: Mapping[str, str]) -> Iterator[None]:
    """Run a worker of the site; at the end it is killed, as its sources have none."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "resumable_streams", "worker"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()
