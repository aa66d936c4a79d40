"""Faults under real servers: two processes of each kind, clients that come back, one store."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tools.serving import PLAIN

from ...nodes import Node, node, scripts_run
from ...tools.waiting import eventually, pass_time
from ..conftest import Serve
from ..servers import COMMANDS
from .conftest import IS_FULL, MARGIN, SECONDS
from .report import Report
from .sites import Clients, Site, signal_all, site_of

CLIENTS = 40 if IS_FULL else 8
LINES = 250  # of 0.02 s
LEASE, SWEEP = 2.0, 0.5
PATIENCE = LEASE + SWEEP + 2 * MARGIN  # of a client: it needs none where servers tell
OUTLIVES = 15.0  # a lease that a store which is away does not end
DURABLE = ("appendonly yes", "appendfsync always")

Inject = Callable[[Site], Awaitable[None]]


async def kill_server(site: Site) -> None:
    await asyncio.to_thread(signal_all, site.servers[0], signal.SIGKILL)


async def freeze_server(site: Site) -> None:
    await asyncio.to_thread(signal_all, site.servers[0], signal.SIGSTOP)


async def cut_clients(site: Site) -> None:
    for _ in range(round(site.seconds / 0.2)):
        for proxy in site.proxies:
            proxy.cut()
        await asyncio.sleep(0.2)


async def hide_server(site: Site) -> None:
    site.proxies[0].open_hole()
    await pass_time(site.seconds)
    site.proxies[0].close_hole()


async def freeze_store(site: Site) -> None:
    site.store.process.send_signal(signal.SIGSTOP)
    await pass_time(site.seconds)
    site.store.process.send_signal(signal.SIGCONT)


async def kill_store(keeps_data: bool, site: Site) -> None:
    await site.restart_store(keeps_data=keeps_data)


@dataclass(frozen=True)
class Fault:
    """One row; `share` of the streams ends with `end`, because their producers or they die."""

    name: str
    inject: Inject
    end: str = "done"
    share: float = 0.0
    lease: float = OUTLIVES
    bound: float = 5.0  # seconds, once a fault that passes has passed
    is_silent: bool = False  # clients meet a server that says nothing, and lose patience
    is_quick: bool = False


FAULTS = [
    Fault("server process killed", kill_server, "producer_lost", 0.5, LEASE, is_quick=True),
    Fault(
        "server process frozen (SIGSTOP)",
        freeze_server,
        "producer_lost",
        0.5,
        LEASE,
        bound=4 * PATIENCE,
        is_silent=True,
    ),
    Fault("clients cut off, again and again", cut_clients, is_quick=True),
    Fault(
        "clients' network half open (black hole)", hide_server, bound=4 * PATIENCE, is_silent=True
    ),
    Fault("store frozen (SIGSTOP) and back", freeze_store),
    Fault("store killed, back with its data (AOF)", partial(kill_store, True), is_quick=True),
    Fault("store killed, back without its data", partial(kill_store, False), "missing", 1.0),
]
CASES = [
    pytest.param(
        kind,
        fault,
        id=f"{fault.name} ({kind})",
        marks=() if IS_FULL or (fault.is_quick and kind == "uvicorn") else pytest.mark.nightly,
    )
    for fault in FAULTS
    for kind in COMMANDS
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, *DURABLE) as running:
        yield running


@pytest.fixture
def opened(site: Serve, store: Node, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that opens a site of servers of one kind."""
    start = partial(
        site,
        DJANGO_SETTINGS_MODULE="tests.acceptance.deploy_site",
        REDIS_URL=store.url,
        SWEEP=str(SWEEP),
        STORE_TIMEOUT="10",
        DRAIN_TIMEOUT="0",
    )

    @asynccontextmanager
    async def open_site(kind: str, lease: float) -> AsyncIterator[tuple[Site, httpx.AsyncClient]]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with (
            site_of(partial(start, kind, LEASE=str(lease)), store, tmp_path, SECONDS) as running,
            httpx.AsyncClient(verify=PLAIN, limits=limits, timeout=PATIENCE) as client,
        ):
            yield running, client

    return open_site


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "fault"), CASES)
async def test_every_client_gets_every_byte_or_is_told_why(
    opened: Callable[..., Any],
    store: Node,
    kind: str,
    fault: Fault,
    key_prefix: str,
    report: Report,
) -> None:
    def stored(stream_id: str) -> int:
        size: int = store.client.strlen(f"{key_prefix}:default:g1:{{{stream_id}}}:data")
        return size

    clients = Clients(CLIENTS, LINES)
    async with opened(kind, fault.lease) as (site, client):
        try:
            await clients.start(client, site)
            injected = time.monotonic()
            await fault.inject(site)
            is_in_time = await clients.is_marked(within=fault.bound)
            seconds = time.monotonic() - injected
            await clients.finish(bound=30)
            verdict = clients.verdict(seconds, stored)
            if fault.inject is freeze_server:
                await wake_and_watch(site, clients, stored)
        finally:
            await clients.aclose()
    report.put(fault.name, "Redis, single", verdict, server=kind)
    assert (verdict.lost, verdict.wrong, verdict.hung, is_in_time) == (0, 0, 0, True), (
        site.written()
    )
    assert clients.timeouts() == 0 or fault.is_silent
    ended_otherwise = round(fault.share * CLIENTS)
    expected = {"done": CLIENTS - ended_otherwise, fault.end: ended_otherwise}
    if fault.end == "done":
        expected = {"done": CLIENTS}
    assert +verdict.ends == +Counter(expected)


async def wake_and_watch(site: Site, clients: Clients, stored: Callable[[str], int]) -> None:
    """Let the frozen process go on: of what it has lost it must not write one more byte."""
    sizes = [stored(answer.stream_id) for answer in clients.answers]
    before = scripts_run(site.store.client)
    signal_all(site.servers[0], signal.SIGCONT)
    # It tries, for each of its streams.
    await eventually(lambda: scripts_run(site.store.client) - before >= CLIENTS // 2)
    assert [stored(answer.stream_id) for answer in clients.answers] == sizes
