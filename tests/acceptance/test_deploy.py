"""A deploy under load: every process is replaced, one after the other, and nobody loses a byte."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.tools.serving import PLAIN
from tests.tools.waiting import pass_time, until

from .conftest import Serve
from .deploy_site import line
from .returning import Answer, Asker
from .servers import COMMANDS, ROOT, Server
from .table import Table

SITE = "tests.acceptance.deploy_site"
CLIENTS = 100 if os.environ.get("WRITE_SERVERS_TABLE") else 40
LINES = 20
SHORT = f"count={LINES}&every=0.05"  # a second, or a bit more on a busy machine
LONG = "count=2400&every=0.05"  # longer than the deploy lasts
WHOLE = b"".join(map(line, range(LINES)))

QUICK = "uvicorn"
REST = [pytest.param(kind, marks=pytest.mark.nightly) for kind in COMMANDS if kind != QUICK]
Workers = Callable[[], "subprocess.Popen[bytes]"]


class Fleet:
    """Three server processes of one kind; `addresses` is where they are now."""

    def __init__(self, start: Callable[[], Server]):
        self._start = start
        self._servers = [start() for _ in range(3)]
        self._all = list(self._servers)
        self.addresses = [server.url for server in self._servers]

    async def roll(self) -> None:
        """Replace one after the other: a new one first, then the old one is told to end."""
        for number, old in enumerate(self._servers):
            new = await asyncio.to_thread(self._start)
            self._servers[number] = new
            self._all.append(new)
            old.process.send_signal(signal.SIGTERM)
            await pass_time(0.2)  # balancers learn late
            self.addresses[number] = new.url
            code = await asyncio.to_thread(old.process.wait, 40)
            assert code in (0, -signal.SIGTERM), old.written()

    def written(self) -> str:
        return "".join(server.written() for server in self._all)

    def tracebacks(self) -> list[str]:
        """Return those that pass through this package; servers have some of their own, ending."""
        found = self.written().split("Traceback")[1:]
        return [one for one in found if "/resumable_streams/" in one]


@pytest.fixture
def fleet(site: Serve, redis_url: str) -> Callable[..., Fleet]:
    def start(kind: str, **more: str) -> Fleet:
        environment = {"DJANGO_SETTINGS_MODULE": SITE, "REDIS_URL": redis_url, **more}
        return Fleet(partial(site, kind, **environment))

    return start


@pytest.fixture
def worker(tmp_path: Path, key_prefix: str, redis_url: str) -> Iterator[Workers]:
    """Start worker processes of the same site."""
    started: list[subprocess.Popen[bytes]] = []
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": SITE,
        "DEMO_DB": str(tmp_path / "site.sqlite3"),
        "KEY_PREFIX": key_prefix,
        "REDIS_URL": redis_url,
        "DRAIN_TIMEOUT": "0.5",
    }

    def start() -> "subprocess.Popen[bytes]":
        with (tmp_path / f"worker-{len(started)}.log").open("wb") as log:
            command = [sys.executable, "manage.py", "resumable_streams", "worker"]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        started.append(process)
        until(lambda: "streams at a time" in Path(log.name).read_text())
        return process

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(timeout=40)


@asynccontextmanager
async def clients() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(verify=PLAIN, limits=limits, timeout=30) as client:
        yield client


async def ask_while(
    rolling: "asyncio.Task[None]", fleet: Fleet, path: Callable[[int], str]
) -> list[tuple[str, Answer]]:
    """Have each client ask, one answer after the other, for as long as the deploy lasts."""
    answers: list[tuple[str, Answer]] = []

    async def keep_asking(client: httpx.AsyncClient, number: int) -> None:
        asker = Asker(client, fleet.addresses, number)
        while True:
            wanted = path(number)
            answers.append((wanted, await asker.ask(wanted)))
            if rolling.done():
                return

    async with clients() as client, asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(keep_asking(client, number))
    await rolling
    return answers


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", [QUICK, *REST])
async def test_servers_are_replaced_and_every_client_gets_its_answer(
    fleet: Callable[..., Fleet], kind: str, servers_table: Table
) -> None:
    servers = await asyncio.to_thread(fleet, kind, DRAIN_TIMEOUT="5")
    rolling = asyncio.create_task(servers.roll())
    asked: set[int] = set()

    def path(number: int) -> str:
        """Every tenth asks first for more than can be finished."""
        wanted = SHORT if number % 10 or number in asked else LONG
        asked.add(number)
        return f"/produce?{wanted}"

    answers = await ask_while(rolling, servers, path)
    whole = [answer for _, answer in answers if answer.status == "done"]
    interrupted = [answer for _, answer in answers if answer.error == "interrupted"]
    assert len(whole) + len(interrupted) == len(answers), servers.written()
    assert {answer.received for answer in whole} == {WHOLE}
    assert len(interrupted) == CLIENTS / 10  # the long ones, and no other
    for answer in interrupted:
        lines = len(answer.received) // len(line(0)) + 1
        assert b"".join(map(line, range(lines))).startswith(answer.received)
    assert any(answer.tries for answer in whole)  # some were cut, and came back
    assert servers.tracebacks() == []
    servers_table.put(
        kind,
        "3 servers restarted under 100 clients",
        f"{len(whole):,} of {len(answers):,} answers whole, "
        f"the {len(interrupted)} that were too long interrupted",
    )


@pytest.mark.timeout(120)
async def test_with_workers_every_answer_is_whole_whatever_is_replaced(
    fleet: Callable[..., Fleet], worker: Workers
) -> None:
    servers = await asyncio.to_thread(fleet, QUICK, DRAIN_TIMEOUT="3")
    workers = [await asyncio.to_thread(worker) for _ in range(2)]

    async def roll() -> None:
        await servers.roll()
        for number, old in enumerate(workers):
            workers[number] = await asyncio.to_thread(worker)
            old.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(old.wait, 40) == 0

    rolling = asyncio.create_task(roll())
    # Longer than a worker has to finish: these are handed over.
    path = f"/order?count={4 * LINES}&every=0.05"
    answers = await ask_while(rolling, servers, lambda _: path)
    assert len(answers) >= CLIENTS
    assert {answer.status for _, answer in answers} == {"done"}
    whole = b"".join(map(line, range(4 * LINES)))
    assert {answer.received for _, answer in answers} == {whole}
