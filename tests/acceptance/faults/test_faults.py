"""Each row of the table on a server of its own; FAULTS=full for the load of `make faults`."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from resumable_streams.process.runtime import runtime
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.types import StreamKey

from ...nodes import cluster, node, restarted, sentinel_group
from ...proxy import proxy_to
from ...tools.streams import Configure
from .conftest import IS_FULL, SECONDS, STREAMS
from .load import Load
from .report import Report
from .table import FAULTS, PATIENT, Fault, Place

DURABLE = ("appendonly yes", "appendfsync always")


def shown(fault: Fault) -> Any:
    marks = pytest.mark.nightly if fault.is_long and not IS_FULL else ()
    return pytest.param(fault, id=f"{fault.name} ({fault.shape})", marks=marks)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find a half-open push connection soon, where the suite has not much time."""
    if not IS_FULL:
        monkeypatch.setattr("resumable_streams.stores.redis.feed.PING_SECONDS", 0.3)
        monkeypatch.setattr("resumable_streams.stores.redis.feed.MAX_BACKOFF_SECONDS", 0.3)
        monkeypatch.setattr("resumable_streams.stores.patience.MAX_BACKOFF_SECONDS", 0.3)


class Servers:
    """The servers of one shape, and how a client finds them."""

    def __init__(self, shape: str, running: ExitStack):
        self.options: dict[str, Any] = {}
        if shape == "single":
            self._folder = Path(running.enter_context(TemporaryDirectory(prefix="resumable-")))
            self.nodes = [running.enter_context(node(self._folder, *DURABLE))]
        elif shape == "sentinel":
            primary, replica, sentinel = running.enter_context(sentinel_group())
            self.nodes = [primary, replica]
            self.options = {"sentinels": [f"127.0.0.1:{sentinel.port}"]}
        else:
            self.nodes = running.enter_context(cluster(patience=1))
            self.options = {"cluster": True}

    def restart(self, keeps_data: bool) -> None:
        restarted(self.nodes[0], self._folder, keeps_data=keeps_data)


@asynccontextmanager
async def place_of(fault: Fault, prefix: str) -> AsyncIterator[tuple[Place, Servers]]:
    keys = KeySpace(prefix)
    streams = [
        StreamKey(tenant="default", generation=1, stream_id=f"s{number}")
        for number in range(STREAMS)
    ]
    with ExitStack() as running:
        servers = await asyncio.to_thread(Servers, fault.shape, running)
        async with proxy_to(servers.nodes[0].port) as proxy:
            yield (
                Place(
                    nodes=servers.nodes,
                    proxy=proxy,
                    keys=[(keys.meta(key), keys.log(key)) for key in streams],
                    seconds=SECONDS,
                    restart=servers.restart,
                ),
                servers,
            )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", [shown(fault) for fault in FAULTS])
async def test_every_byte_comes_once_in_order_or_readers_are_told_why(
    fault: Fault, configure: Configure, key_prefix: str, report: Report
) -> None:
    async with place_of(fault, key_prefix) as (place, servers):
        location = place.proxy.location if fault.shape == "single" else servers.nodes[0].url
        configure(location, OPTIONS=servers.options, **{**PATIENT, **fault.settings})
        # Of few streams the chunks are larger, or a server would have nothing to queue.
        load = Load(STREAMS, size=fault.size if IS_FULL else 4 * fault.size)
        try:
            await load.start()
            injected = time.monotonic()
            await fault.inject(place)
            is_in_time = await load.is_marked(within=fault.bound)
            seconds = time.monotonic() - injected
            await load.finish(bound=fault.bound)
            verdict = load.verdict(seconds)
        finally:
            await load.aclose()
            await runtime.aclose()  # before the servers
    report.put(fault.name, f"Redis, {fault.shape}", verdict)
    assert (verdict.lost, verdict.wrong, verdict.hung, is_in_time) == (0, 0, 0, True)
    assert set(verdict.ends) <= fault.ends
