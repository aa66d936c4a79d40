"""Gauges that a scrape reads from the store: the same in each process, and true after a kill."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from redis import Redis

from example_project.private_redis import free_port
from resumable_streams import StreamManager
from resumable_streams.contrib import prometheus
from resumable_streams.contrib.tenants import OTHER
from resumable_streams.engine import get_engine
from resumable_streams.stores.base import Queue
from resumable_streams.stores.redis import RedisStore
from resumable_streams.types import Limits, StreamKey
from tests.nodes import node
from tests.stores.test_rights import PREFIX, rights
from tests.tools.processes import die_producing, judge
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap
from tests.tools.streams import Configure
from tests.tools.waiting import eventually, pass_time

KEY = StreamKey(tenant="default", generation=1, stream_id="chat")

Scrape = Callable[..., Any]


@pytest.fixture
def scrape() -> Scrape:
    """Return what scrapes the gauges in a thread, and reads the samples of one."""
    made: dict[bool, prometheus.StoreGauges] = {}

    async def scrape(name: str, *, tenants: bool = False) -> dict[tuple[str, ...], float]:
        gauges = made.setdefault(tenants, prometheus.StoreGauges(tenants=tenants))
        families = await asyncio.to_thread(lambda: list(gauges.collect()))
        return {
            tuple(value for key, value in sample.labels.items() if key != "alias"): sample.value
            for family in families
            if family.name == f"resumable_streams_{name}"
            for sample in family.samples
            if sample.labels["alias"] == "default"
        }

    return scrape


async def test_live_streams_and_their_processes_are_counted(manager: StreamManager, scrape: Scrape):
    assert await scrape("live_streams") == {(): 0}
    assert await scrape("processes") == {("living",): 0, ("dying",): 0}
    tap = Tap(b"x")
    reader = await manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    assert await scrape("store_up") == {(): 1}
    assert await scrape("live_streams") == {(): 1}
    assert await scrape("waiting_streams") == {(): 0}
    assert await scrape("processes") == {("living",): 1, ("dying",): 0}
    tap.end()
    await read_all(reader)
    await eventually(lambda: scrape_is(scrape, "live_streams", {(): 0}))


async def scrape_is(scrape: Scrape, name: str, expected: dict[tuple[str, ...], float]) -> bool:
    found: dict[tuple[str, ...], float] = await scrape(name)
    return found == expected


@pytest.mark.lengthy
async def test_a_killed_process_leaves_nothing_behind(manager: StreamManager, scrape: Scrape):
    await manager.astatus("any", owner="a")
    engine = get_engine("default")
    await engine.leases.ready()
    await die_producing(manager, KEY, b"half", lease=0.05)
    await pass_time(0.1)
    assert await scrape("live_streams") == {(): 0}
    assert await scrape("processes") == {("living",): 1, ("dying",): 0}
    judge(engine)
    assert await engine.takeover.take("dead") == 1
    assert await scrape("processes") == {("living",): 1, ("dying",): 0}


async def test_streams_are_counted_by_tenant_only_on_request(
    manager: StreamManager, scrape: Scrape, monkeypatch
):
    monkeypatch.setattr("resumable_streams.contrib.tenants.MOST_TENANTS", 2)
    taps = [Tap(b"x") for _ in range(3)]
    readers = [
        await manager.arun(f"s{n}", tap, owner="a", tenant=tenant)
        for n, (tap, tenant) in enumerate(zip(taps, ("default", "4", "42"), strict=True))
    ]
    for reader in readers:
        await read_until(reader, 1)
    assert await scrape("live_streams") == {(): 3}
    found = await scrape("live_streams", tenants=True)
    assert sum(found.values()) == 3
    assert len(found) == 3
    assert found[(OTHER,)] == 1
    for tap, reader in zip(taps, readers, strict=True):
        tap.end()
        await read_all(reader)
    await eventually(lambda: is_zero(scrape, len(found)))


async def is_zero(scrape: Scrape, series: int) -> bool:
    """Return whether each series is there still, at 0."""
    found = await scrape("live_streams", tenants=True)
    return list(found.values()) == series * [0]


@pytest.fixture
async def queue(redis_manager: StreamManager) -> Any:
    await redis_manager.astatus("any", owner="a")
    queue = get_engine("default").store.queue("worker")
    assert queue is not None
    yield queue
    await queue.aclose()


async def test_orders_are_counted_with_the_age_of_the_oldest(queue: Queue, scrape: Scrape):
    assert await scrape("orders") == {("waiting",): 0, ("taken",): 0}
    assert await scrape("oldest_order_age_seconds") == {(): 0}
    assert await scrape("workers") == {(): 0}
    await queue.put(b"first")
    await pass_time(0.05)
    await queue.put(b"second")
    (age,) = (await scrape("oldest_order_age_seconds")).values()
    assert 0.05 <= age < 30
    assert await scrape("orders") == {("waiting",): 2, ("taken",): 0}
    taken = await queue.take(wait=1, idle=60)
    assert taken is not None
    assert await scrape("orders") == {("waiting",): 1, ("taken",): 1}
    assert await scrape("workers") == {(): 1}
    (younger,) = (await scrape("oldest_order_age_seconds")).values()
    assert 0 < younger < age + 30
    await queue.done(taken[0])
    assert await queue.take(wait=1, idle=60) is not None
    assert await scrape("orders") == {("waiting",): 0, ("taken",): 1}
    assert await scrape("oldest_order_age_seconds") == {(): 0}


async def test_a_worker_that_is_silent_for_a_lease_is_not_counted(
    configure_redis: Configure, queue: Queue, scrape: Scrape
):
    assert await queue.take(wait=0.01, idle=60) is None
    assert await scrape("workers") == {(): 1}
    configure_redis(LEASE=0.2, STORE_TIMEOUT=0.1)
    await pass_time(0.25)
    assert await scrape("workers") == {(): 0}


async def test_the_memory_of_the_server_and_its_limit(
    redis_manager: StreamManager, scrape: Scrape, redis_server: Redis
):
    (used,) = (await scrape("store_memory_used_bytes")).values()
    assert used > 100_000
    assert redis_server.config_get("maxmemory") == {"maxmemory": "0"}
    assert await scrape("store_memory_limit_bytes") == {(): float("inf")}


async def test_a_memory_store_has_neither_orders_nor_a_server(
    memory_manager: StreamManager, scrape: Scrape
):
    assert await scrape("orders") == {}
    assert await scrape("store_memory_used_bytes") == {}
    assert await scrape("store_up") == {(): 1}


async def test_a_store_that_is_away_is_not_up_and_says_nothing_else(
    configure_redis: Configure, scrape: Scrape
):
    configure_redis(LOCATION=f"redis://127.0.0.1:{free_port()}/0")
    assert await scrape("store_up") == {(): 0}
    assert await scrape("live_streams") == {}


async def test_a_scrape_on_an_event_loop_gets_the_previous_reading(memory_manager: StreamManager):
    registry = CollectorRegistry()
    registry.register(prometheus.StoreGauges())
    up = b'resumable_streams_store_up{alias="default"} 1.0'
    await eventually(lambda: up in generate_latest(registry))


async def test_a_blocked_event_loop_is_scraped_all_the_same(manager: StreamManager):
    tap, port = Tap(b"x"), free_port()
    reader = await manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    close = await asyncio.to_thread(prometheus.serve, port)
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:  # noqa: ASYNC210
            text = answer.read().decode()  # the loop waits
    finally:
        await asyncio.to_thread(close)
        prometheus.connect().disconnect()
    assert 'resumable_streams_live_streams{alias="default"} 1.0' in text
    tap.end()
    await read_all(reader)


async def test_nothing_is_asked_while_nobody_scrapes(
    redis_manager: StreamManager, redis_server: Redis
):
    metrics = prometheus.connect(CollectorRegistry())  # which describes the gauges, too
    metrics.disconnect()
    assert [c for c in redis_server.client_list() if c["name"] != "suite"] == []


async def test_without_three_rights_of_the_docs_the_gauges_are_missing(
    configure_redis: Configure, key_prefix: str, scrape: Scrape, tmp_path: Path, caplog: Any
):
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    needed = re.findall(r"`(\+[a-z]+(?: \+[a-z]+)+)`", page)
    assert len(needed) == 1
    with node(tmp_path) as server:
        given = [one.replace(PREFIX, key_prefix) for one in rights()]
        assert {*needed[0].split()} < {*given}
        server.client.execute_command(*(one for one in given if one not in needed[0].split()))
        configure_redis(LOCATION=server.url.replace("redis://", "redis://streams:secret@"))
        assert await scrape("store_up") == {(): 1}
        assert await scrape("processes") == {("living",): 0, ("dying",): 0}
        assert await scrape("store_memory_used_bytes") == {}
        assert "A gauge is missing from the metrics." in caplog.text
        assert "info" in caplog.text.lower()
        store = RedisStore(alias="t", key_prefix=key_prefix, location=server.url, limits=Limits())
        await store.queue().put(b"order")
        await store.processes.beat("p", lease=30, position="")
        await store.aclose()
        assert await scrape("live_streams") == {}
        assert await scrape("orders") == {}
        server.client.execute_command("ACL", "SETUSER", "streams", *needed[0].split())
        server.client.acl_log_reset()
        assert await scrape("live_streams") == {(): 0}
        assert await scrape("orders") == {("waiting",): 1, ("taken",): 0}
        server.client.config_set("maxmemory", 100_000_000)
        assert await scrape("store_memory_limit_bytes") == {(): 100_000_000}
        assert len(await scrape("store_memory_used_bytes")) == 1
        assert server.client.acl_log() == []
