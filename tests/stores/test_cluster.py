"""The Redis store on a cluster of three primaries and three replicas."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.crc import key_slot

from example_project.private_redis import free_port
from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, TERMS
from resumable_streams.types import Claim, StreamKey
from tests.tools.lengthy import starts_a_process

from ..nodes import Node, cluster
from ..tools.waiting import eventually


@pytest.fixture(scope="module")
@starts_a_process
def nodes() -> Iterator[list[Node]]:
    with cluster() as running:
        yield running


@asynccontextmanager
async def cluster_store(url: str, prefix: str, **options: Any) -> AsyncIterator[RedisStore]:
    store = RedisStore(
        alias="test",
        key_prefix=prefix,
        location=url,
        limits=StreamStoreContract.limits,
        **{"cluster": True, **options},
    )
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
async def store(nodes: list[Node], key_prefix: str) -> AsyncIterator[RedisStore]:
    async with cluster_store(nodes[0].url, key_prefix) as opened:
        yield opened


class TestClusterStore(StreamStoreContract):
    @asynccontextmanager
    async def another(self, store: BaseStore) -> AsyncIterator[BaseStore]:
        assert store.location is not None
        async with cluster_store(store.location, store.key_prefix) as opened:
            yield opened


def stream(number: int) -> StreamKey:
    return StreamKey(tenant="acme", generation=1, stream_id=f"s{number}")


async def test_streams_spread_over_all_primaries_and_a_scan_finds_each_once(
    store: RedisStore, nodes: list[Node]
) -> None:
    keys = [stream(number) for number in range(60)]
    for key in keys:
        await store.acquire(key, Claim(), TERMS)
    sizes = [one.client.dbsize() for one in nodes[:3]]
    assert all(sizes)
    found = [key async for key in store.scan("acme")]
    assert sorted(found, key=str) == sorted(keys, key=str)


async def test_both_keys_of_a_stream_are_in_one_slot(store: RedisStore) -> None:
    assert key_slot(store.keys.meta(KEY).encode()) == key_slot(store.keys.log(KEY).encode())


def ours(one: Node, kind: str) -> int:
    """Return how many connections a server has that are not the suite's own."""
    return len([client for client in one.client.client_list(kind) if client["name"] != "suite"])


async def test_connections_are_one_for_commands_and_one_for_pushes_a_primary(
    store: RedisStore, nodes: list[Node]
) -> None:
    class Deaf:
        def appended(self, *args: object) -> None: ...
        def disturbed(self, *args: object) -> None: ...
        def control_changed(self, *args: object) -> None: ...

    feed = store.open_feed(Deaf())
    for number in range(60):
        await store.acquire(stream(number), Claim(), TERMS)
        feed.watch(stream(number))

    def connections() -> list[tuple[int, int]]:
        return [(ours(one, "normal"), ours(one, "pubsub")) for one in nodes[:3]]

    await eventually(lambda: connections() == [(1, 1)] * 3)
    await feed.aclose()


async def test_another_node_is_asked_where_the_one_of_the_location_is_away(
    nodes: list[Node], key_prefix: str
) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    more = [f"127.0.0.1:{nodes[1].port}"]
    async with cluster_store(away, key_prefix, cluster=more) as store:
        assert (await store.acquire(KEY, Claim(), TERMS)).info.is_streaming


async def test_orders_and_memory_are_counted_on_their_servers(store: RedisStore):
    queue = store.queue("worker")
    await queue.put(b"order")
    backlog = await queue.backlog(alive=30)
    assert (backlog.waiting, backlog.taken, backlog.workers) == (1, 0, 0)
    assert await queue.take(wait=1, idle=60) is not None
    backlog = await queue.backlog(alive=30)
    assert (backlog.waiting, backlog.taken, backlog.workers) == (0, 1, 1)
    await queue.aclose()
    memory = await store.memory()
    assert memory is not None
    assert memory.used > 100_000
