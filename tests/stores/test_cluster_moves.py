"""A cluster whose slots move: where commands go meanwhile, and what they cost afterwards."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.crc import key_slot

from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, TERMS, look, refusal, start
from resumable_streams.types import Claim
from tests.tools.lengthy import starts_a_process

from ..nodes import Node, cluster, move_slot


@pytest.fixture(scope="module")
@starts_a_process
def nodes() -> Iterator[list[Node]]:
    with cluster() as running:
        yield running


@pytest.fixture
async def store(nodes: list[Node], key_prefix: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(
        alias="test",
        key_prefix=key_prefix,
        location=nodes[0].url,
        limits=StreamStoreContract.limits,
        cluster=True,
    )
    yield opened
    await opened.aclose()


def home_of(slot: int, nodes: list[Node]) -> tuple[Node, Node]:
    """Return the primary of a slot, and another one."""
    ranges = nodes[0].client.execute_command("CLUSTER SLOTS")
    if isinstance(ranges, dict):  # as newer clients tell it
        port = next(one["primary"][1] for (a, b), one in ranges.items() if a <= slot <= b)
    else:
        port = next(one[2][1] for one in ranges if one[0] <= slot <= one[1])
    home = next(one for one in nodes if one.port == port)
    return home, next(one for one in nodes[:3] if one is not home)


def redirections(one: Node) -> int:
    """Return how many scripts a node has sent on to another."""
    rejected: int = one.client.info("commandstats")["cmdstat_evalsha"]["rejected_calls"]
    return rejected


async def test_a_slot_that_has_moved_costs_one_redirection(
    store: RedisStore, nodes: list[Node]
) -> None:
    claim = await start(store)
    slot = key_slot(store.keys.meta(KEY).encode())
    old, new = home_of(slot, nodes)
    move_slot(slot, old, new, [one for one in nodes[:3] if one not in (old, new)])
    await store.append(KEY, claim, 0, b"x")  # is sent on, and tells where the slot is now
    sent_on = redirections(old)
    assert sent_on
    for size in range(1, 20):
        await store.append(KEY, claim, size, b"x")
    assert redirections(old) == sent_on
    assert (await look(store)).size == 20


async def test_a_key_that_goes_ahead_of_its_slot_is_followed(
    store: RedisStore, nodes: list[Node]
) -> None:
    claim = await start(store)
    await store.append(KEY, claim, 0, b"ab")  # a key alone cannot be followed: TRYAGAIN
    slot = key_slot(store.keys.meta(KEY).encode())
    old, new = home_of(slot, nodes)
    identity, theirs = (one.client.execute_command("CLUSTER MYID") for one in (new, old))
    new.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", theirs)
    old.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", identity)
    keys = old.client.execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
    old.client.execute_command("MIGRATE", "127.0.0.1", new.port, "", 0, 5_000, "KEYS", *keys)
    assert await store.append(KEY, claim, 2, b"c") == 3
    for one in nodes[:3]:
        one.client.execute_command("CLUSTER SETSLOT", slot, "NODE", identity)
    assert await store.append(KEY, claim, 3, b"def") == 6


async def test_nodes_that_send_everybody_to_each_other_are_an_unavailable_store(
    store: RedisStore, nodes: list[Node]
) -> None:
    """What follows ASK may be a redirection, too; no caller has to know of them."""
    slot = key_slot(store.keys.meta(KEY).encode())
    home, other = home_of(slot, nodes)
    identity = other.client.execute_command("CLUSTER MYID")
    home.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", identity)
    try:
        await refusal(StoreUnavailable, store.acquire(KEY, Claim(), TERMS))
    finally:
        home.client.execute_command("CLUSTER SETSLOT", slot, "STABLE")
    await start(store)
