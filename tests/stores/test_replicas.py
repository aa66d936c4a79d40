"""`wait_replicas`: what was acknowledged is on a replica, and what is not is not acknowledged."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from resumable_streams.exceptions import StoreUnavailable, StreamClaimLost
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, TERMS, body, refusal, start
from resumable_streams.types import Claim, Role, StreamStatus
from tests.tools.lengthy import starts_a_process

from ..nodes import Node, frozen, replicated

PREFIX = "replicated"


@pytest.fixture(scope="module")
@starts_a_process
def nodes() -> Iterator[tuple[Node, Node]]:
    with replicated() as nodes:
        yield nodes


@asynccontextmanager
async def replicated_store(primary: Node, command_timeout: float) -> AsyncIterator[RedisStore]:
    opened = RedisStore(
        alias="test",
        key_prefix=PREFIX,
        location=primary.url,
        limits=StreamStoreContract.limits,
        command_timeout=command_timeout,
        wait_replicas=1,
    )
    yield opened
    await opened.aclose()


@pytest.fixture
async def store(nodes: tuple[Node, Node]) -> AsyncIterator[RedisStore]:
    nodes[0].client.flushall()
    async with replicated_store(nodes[0], command_timeout=20) as opened:
        yield opened


@pytest.fixture
async def hurried(store: RedisStore, nodes: tuple[Node, Node]) -> AsyncIterator[RedisStore]:
    """Return the same store, which does not wait long for a replica that is frozen."""
    async with replicated_store(nodes[0], command_timeout=0.6) as opened:
        yield opened


async def test_what_was_acknowledged_is_on_the_replica(
    store: RedisStore, nodes: tuple[Node, Node]
) -> None:
    _, replica = nodes
    meta, log = store.keys.meta(KEY), store.keys.log(KEY)
    claim = await start(store)
    assert replica.client.hget(meta, "status") == b"streaming"
    for number in range(50):
        size = await store.append(KEY, claim, number * 4, b"%04d" % number)
        assert replica.client.strlen(log) == size
    await store.finalize(KEY, claim, StreamStatus.DONE)
    assert replica.client.hget(meta, "status") == b"done"
    await store.delete(KEY)
    assert replica.client.exists(meta, log) == 0


async def test_without_its_replica_nothing_is_acknowledged_and_nothing_is_doubled_later(
    store: RedisStore, hurried: RedisStore, nodes: tuple[Node, Node]
) -> None:
    claim = await start(store)
    with frozen(nodes[1].client), pytest.raises(StoreUnavailable):
        await hurried.append(KEY, claim, 0, b"once")
    assert await store.append(KEY, claim, 0, b"once") == 4
    assert await body(store) == b"once"


async def test_an_election_that_its_replica_did_not_get_is_in_nobodys_way(
    store: RedisStore, hurried: RedisStore, nodes: tuple[Node, Node]
) -> None:
    with frozen(nodes[1].client):
        with pytest.raises(StoreUnavailable):
            await hurried.acquire(KEY, Claim(), TERMS)
        assert await store.status([KEY]) == [None]
    assert (await store.acquire(KEY, Claim(), TERMS)).role is Role.PRODUCER


async def test_a_refusal_is_one_with_or_without_replicas(
    store: RedisStore, nodes: tuple[Node, Node]
) -> None:
    await start(store)
    with frozen(nodes[1].client):
        assert (await store.acquire(KEY, Claim(), TERMS)).role is Role.CONSUMER
        await refusal(StreamClaimLost, store.append(KEY, Claim(), 0, b"zombie"))


async def test_what_ends_a_right_is_on_the_replica_or_not_acknowledged(
    store: RedisStore, hurried: RedisStore, nodes: tuple[Node, Node]
) -> None:
    await store.set_control("acme", generation=3)
    assert nodes[1].client.hget(store.keys.control("acme"), "generation") == b"3"
    await store.revoke("acme", "ada", keep=60)
    assert nodes[1].client.exists(store.keys.revoked("acme", "ada"))
    with frozen(nodes[1].client):
        with pytest.raises(StoreUnavailable):
            await hurried.revoke("acme", "eve", keep=60)
        with pytest.raises(StoreUnavailable):
            await hurried.set_control("acme", generation=4)
