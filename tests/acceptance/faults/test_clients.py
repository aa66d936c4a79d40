"""Clients that a server could do without: they send slowly, vanish silently, or come very often."""

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from redis import Redis

from tests.tools.serving import PLAIN

from ...proxy import proxy_to
from ...tools.waiting import eventually, pass_time
from ..conftest import Serve
from ..deploy_site import line
from ..returning import ME, Asker
from ..servers import COMMANDS, Server
from .conftest import IS_FULL, MARGIN, SECONDS
from .load import Verdict
from .report import Report

SLOW_CLIENTS = 500 if IS_FULL else 50
SILENT_CLIENTS = 100 if IS_FULL else 10
RESUMES = 2_000 if IS_FULL else 300
AT_ONCE = 50
KEEP_ALIVE = 0.5
HALF_A_HEAD = b"POST /produce?count=1&every=0 HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_A_BODY = (
    b"POST /produce?count=1&every=0 HTTP/1.1\r\nHost: localhost\r\nX-User: me\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\n"
)
KINDS = [
    pytest.param(kind, marks=() if IS_FULL or kind == "uvicorn" else pytest.mark.nightly)
    for kind in COMMANDS
]
pytestmark = [pytest.mark.timeout(300), pytest.mark.parametrize("kind", KINDS)]


@pytest.fixture
async def opened(
    kind: str, site: Serve, redis_url: str
) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    server = await asyncio.to_thread(
        partial(
            site,
            kind,
            DJANGO_SETTINGS_MODULE="tests.acceptance.deploy_site",
            REDIS_URL=redis_url,
            KEEP_ALIVE=str(KEEP_ALIVE),
            DRAIN_TIMEOUT="0",
        )
    )
    # Servers close what is idle for 5 seconds: be the first.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=1)
    async with httpx.AsyncClient(verify=PLAIN, limits=limits, timeout=20, headers=ME) as client:
        yield server, client


async def until(condition: Callable[[], Any]) -> float:
    """Wait for a condition; return how many seconds that took."""
    started = time.monotonic()
    await eventually(condition)
    return time.monotonic() - started


def open_files(server: Server) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.pids)


@asynccontextmanager
async def slow_clients(server: Server) -> AsyncIterator[None]:
    """Open connections over which a byte of a request comes now and then."""
    where = urlsplit(server.url)
    writers = []
    for number in range(SLOW_CLIENTS):
        _, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(HALF_A_HEAD if number % 2 else HALF_A_BODY)
        writers.append(writer)

    async def drip() -> None:
        while True:
            for writer in writers:
                with contextlib.suppress(OSError):
                    writer.write(b"x")
            await asyncio.sleep(0.2)

    dripping = asyncio.create_task(drip())
    try:
        await pass_time(SECONDS)
        yield
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()


async def test_requests_that_never_end_to_arrive_take_nothing_from_the_others(
    opened: tuple[Server, httpx.AsyncClient],
    kind: str,
    key_prefix: str,
    redis_server: Redis,
    report: Report,
) -> None:
    server, client = opened
    before = open_files(server)

    # Connections of ours that rest may be closed, and opened, meanwhile.
    async def are_here() -> bool:
        return open_files(server) >= before + SLOW_CLIENTS - 5

    async def are_closed() -> bool:
        return open_files(server) <= before + 5

    async with slow_clients(server):
        await until(are_here)
        asked = time.monotonic()
        answer = await Asker(client, [server.url]).ask("/produce?count=20&every=0.01")
        seconds = time.monotonic() - asked
        streams = {
            name.rpartition(b":")[0] for name in redis_server.scan_iter(f"{key_prefix}:*:g1:{{*")
        }
    await until(are_closed)
    ends = Counter({answer.status: 1})
    wrong = int(answer.received != b"".join(map(line, range(20))))
    verdict = Verdict(seconds, None, wrong, None, ends)
    fault = f"{SLOW_CLIENTS} requests that never end to arrive, an answer amid"
    report.put(fault, "Redis, single", verdict, server=kind)
    assert (verdict.wrong, ends) == (0, {"done": 1})
    assert seconds < 5 * MARGIN
    assert len(streams) == 1  # of the one whose request did arrive


async def test_clients_that_vanished_without_a_word_are_found_by_the_keep_alive(
    opened: tuple[Server, httpx.AsyncClient], kind: str, report: Report
) -> None:
    server, client = opened

    async def readers() -> int:
        count: int = (await client.get(f"{server.url}/readers")).json()["readers"]
        return count

    async def are_here() -> bool:
        return await readers() == SILENT_CLIENTS

    async def are_gone() -> bool:
        return await readers() == 0

    async with proxy_to(int(server.url.rpartition(":")[2])) as proxy:
        listening = [
            asyncio.create_task(listen(client, f"{proxy.url}/produce?count=2&every=60&format=sse"))
            for _ in range(SILENT_CLIENTS)
        ]
        await until(are_here)
        proxy.forget()
        seconds = await until(are_gone)
        await asyncio.gather(*listening)
    verdict = Verdict(seconds, None, None, None, Counter())
    fault = f"{SILENT_CLIENTS} clients gone without a word (keep-alive {KEEP_ALIVE:g} s)"
    report.put(fault, "Redis, single", verdict, "all found", server=kind)
    assert seconds < 4 * KEEP_ALIVE + MARGIN


async def listen(client: httpx.AsyncClient, url: str) -> None:
    with contextlib.suppress(httpx.TransportError):
        async with client.stream("POST", url) as response:
            async for _ in response.aiter_raw():
                pass


async def test_a_finished_stream_is_resumed_again_and_again(
    opened: tuple[Server, httpx.AsyncClient], kind: str, redis_server: Redis, report: Report
) -> None:
    server, client = opened
    answer = await Asker(client, [server.url]).ask("/produce?count=200&every=0")
    address, body = f"{server.url}/streams/{answer.stream_id}/", answer.received
    before, connections = open_files(server), len(redis_server.client_list())
    ends: Counter[str] = Counter()
    started = time.monotonic()

    async def resume(first: int) -> None:
        for number in range(first, RESUMES, AT_ONCE):
            offset = number * 37 % (len(body) + 1)
            got = await client.get(address, params={"offset": offset})
            ends["done" if got.content == body[offset:] else "wrong"] += 1

    async with asyncio.TaskGroup() as group:
        for first in range(AT_ONCE):
            group.create_task(resume(first))
    seconds = time.monotonic() - started
    verdict = Verdict(seconds, None, ends["wrong"], None, ends)
    fault = f"{RESUMES:,} resumes of one finished stream"
    report.put(fault, "Redis, single", verdict, server=kind)
    assert ends == {"done": RESUMES}
    assert len(redis_server.client_list()) <= connections
    assert open_files(server) <= before + AT_ONCE  # the clients' own, which are kept alive
