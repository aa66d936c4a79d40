"""A server whose memory is full, and which evicts nothing: it takes nothing new, and can be run."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from resumable_streams import StreamFailed, StreamManager
from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing.acts import KEY, TERMS, body, holding, look, refusal, start
from resumable_streams.types import Claim, ErrorCode, Role, StreamStatus
from tests.nodes import Node
from tests.tools.readers import read_until
from tests.tools.sources import Tap
from tests.tools.waiting import eventually, pass_time

from . import IS_FULL
from .conftest import Run, entry

ROUNDS = 500 if IS_FULL else 20


@contextmanager
def full(server: Node) -> Iterator[None]:
    server.client.config_set("maxmemory", 1)
    try:
        yield
    finally:
        server.client.config_set("maxmemory", 0)


async def test_a_full_server_elects_nobody_and_keeps_nothing_of_the_attempt(
    store: RedisStore, server: Node
) -> None:
    await look_at_missing(store)  # the server knows the scripts
    server.client.set(store.keys.log(KEY), b"left behind")
    with full(server):
        error = await refusal(StoreUnavailable, store.acquire(KEY, Claim(), TERMS))
        assert "memory of the server is full" in str(error)
    assert server.client.get(store.keys.log(KEY)) == b"left behind"
    assert not server.client.exists(store.keys.meta(KEY))


async def look_at_missing(store: RedisStore) -> None:
    assert await store.look(KEY) is None
    assert not await store.delete(KEY)


async def test_a_full_server_takes_no_byte_and_half_of_nothing(
    store: RedisStore, server: Node
) -> None:
    claim = await start(store)
    await store.append(KEY, claim, 0, b"abc")
    before = server.client.hgetall(store.keys.meta(KEY))
    with full(server):
        await refusal(StoreUnavailable, store.append(KEY, claim, 3, b"def"))
    assert server.client.hgetall(store.keys.meta(KEY)) == before
    assert await body(store) == b"abc"
    assert await store.append(KEY, claim, 3, b"def") == 6


async def test_on_a_full_server_everything_else_works(store: RedisStore, server: Node) -> None:
    claim = await start(store)
    await store.append(KEY, claim, 0, b"abc")
    with full(server):
        joined = await store.acquire(KEY, Claim(), TERMS)
        assert (joined.role, joined.info.size) == (Role.CONSUMER, 3)
        assert await store.touch([(KEY, claim)]) == [True]
        assert await body(store) == b"abc"
        assert await store.set_control("acme", generation=2, ttl=30, longest_ttl=60) == 2
        assert await store.revoke("acme", "ada", keep=5) > 0
        assert (await store.get_control("acme", "ada")).generation == 2
        assert await store.expire(KEY, 30)
        done = await store.finalize(KEY, claim, StreamStatus.DONE)
        assert (done.status, done.size) == (StreamStatus.DONE, 3)
        assert [key async for key in store.scan()] == [KEY]
        assert await store.delete(KEY)
    assert await store.look(KEY) is None


async def test_a_full_server_cancels(store: RedisStore, server: Node) -> None:
    await start(store)
    with full(server):
        await store.cancel(KEY)
    assert (await look(store)).status is StreamStatus.CANCELLED


async def test_on_a_full_server_dead_processes_are_taken_over(
    store: RedisStore, server: Node
) -> None:
    claim, table = await start(store, holder="dead"), store.processes
    await table.beat("dead", lease=0.05, position="")
    await table.hold("dead", holding())
    await pass_time(0.1)
    with full(server):
        assert list((await table.beat("ours", lease=30, position="")).passed) == ["dead"]
        taken = await table.take("dead", by="ours", lease=30)
        assert taken is not None
        lost = await store.reap(KEY, claim.epoch, holder="dead")
        assert lost is not None
        assert lost.error_code == "producer_lost"
        assert await table.move(holding(), holder="dead", by="ours")
        await table.told(holding(), by="ours")
        await table.bury("dead")


async def test_a_producer_ends_its_stream_on_a_server_that_stays_full(
    settings, server: Node, key_prefix: str, closes_runtime: None
) -> None:
    """Nobody waits for a lease: the end is written, where bytes are not."""
    settings.RESUMABLE_STREAMS = {"default": entry(server.url, key_prefix, LEASE=30)}
    server.client.hset(f"{key_prefix}:default:control", "generation", 1)
    manager, tap = StreamManager(), Tap(b"abc")
    reader = await manager.arun("chat", tap, owner="a")
    assert await read_until(reader, 3) == b"abc"
    with full(server):
        tap.give(b"def")
        with pytest.raises(StreamFailed) as failure:
            await anext(reader)
        assert failure.value.code == ErrorCode.STORE_UNAVAILABLE
        refused = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await manager.arun("another", tap, owner="a")
        assert time.monotonic() - refused < 5
    await eventually(lambda: tap.closed.is_set())
    info = await manager.astatus("chat", owner="a")
    assert info is not None
    assert (info.status, info.error_code) == (StreamStatus.ERROR, ErrorCode.STORE_UNAVAILABLE)
    assert tap.calls == 1


async def test_wherever_the_memory_ends_nothing_is_left_half_done(
    store: RedisStore, server: Node
) -> None:
    """Full in the middle of anything: bytes and size agree, and everything expires."""
    dice = random.Random(4)
    refused = 0
    try:
        for number in range(ROUNDS):
            room = dice.choice((1, 10_000, 100_000, 300_000))
            used = server.client.info("memory")["used_memory"]
            server.client.config_set("maxmemory", used + room)
            key, size, claim = replace(KEY, stream_id=f"s{number}"), 0, None
            try:
                claim = await start(store, key)
                while size < 450_000:
                    data = bytes(dice.randrange(1, 50_000))
                    size = await store.append(key, claim, size, data)
            except StoreUnavailable:
                refused += 1
            assert server.client.strlen(store.keys.log(key)) == size
            assert int(server.client.hget(store.keys.meta(key), "size") or 0) == size
            assert -1 not in map(server.client.pttl, (store.keys.meta(key), store.keys.log(key)))
            assert await store.delete(key) is (claim is not None)
    finally:
        server.client.config_set("maxmemory", 0)
    assert refused > ROUNDS / 4


VERBS = {
    "audit": ("--tenant", "default"),
    "retire": ("--tenant", "default", "--ttl", "60", "--existing", "--yes"),
    "reap": ("--all-tenants",),
    "revoke": ("--tenant", "default", "--owner", "eve", "--yes"),
    "cancel": ("--tenant", "default", "--yes"),
    "rotate": ("--tenant", "default", "--yes"),
    "purge": ("--tenant", "default", "--older-than", "0s", "--yes"),
}


def test_operators_look_bar_shorten_and_purge_on_a_full_server(
    site: StreamManager, server: Node, run: Run
) -> None:
    for number in range(3):
        b"".join(site.run(f"chat-{number}", [b"x" * 1_000], owner="eve"))
    before = server.client.dbsize()
    with full(server):
        for verb, arguments in VERBS.items():
            code, printed = run(verb, *arguments)
            assert code == 0, (verb, printed)
    assert server.client.dbsize() < before
