"""Connections that something on the way has forgotten: open, and silent for good."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.stores.redis import RedisStore, connection
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, body, refusal, start
from tests.nodes import Node
from tests.proxy import Proxy, proxy_to
from tests.tools.waiting import eventually, pass_time, within

from . import IS_FULL

RESTED = 2.0 if IS_FULL else 0.1
WARM = 20.0 if IS_FULL else 0.2
TIMEOUT = 2.0


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RESTED_SECONDS", RESTED)


@pytest.fixture
async def way(server: Node) -> AsyncIterator[Proxy]:
    """Open what is between us and the server."""
    async with proxy_to(server.port) as opened:
        yield opened


@pytest.fixture
async def store(way: Proxy, key_prefix: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(
        alias="test",
        key_prefix=key_prefix,
        location=way.location,
        limits=StreamStoreContract.limits,
        connect_timeout=0.5,
        command_timeout=TIMEOUT,
    )
    yield opened
    await opened.aclose()


async def test_whoever_comes_first_after_a_rest_is_served_all_the_same(
    store: RedisStore, way: Proxy
) -> None:
    claim = await start(store)
    await pass_time(RESTED * 1.5)
    way.lose()
    async with within(0.6 * TIMEOUT):
        sizes = await asyncio.gather(
            store.append(KEY, claim, 0, b"abc"), *(store.look(KEY) for _ in range(20))
        )
    assert sizes[0] == 3
    assert await body(store) == b"abc"


async def test_what_was_carried_out_before_its_answer_got_lost_is_done_once(
    store: RedisStore, way: Proxy, server: Node
) -> None:
    claim = await start(store)
    await store.append(KEY, claim, 0, b"abc")
    await pass_time(RESTED * 1.5)
    way.lose_answers()
    assert await store.append(KEY, claim, 3, b"def") == 6
    assert await body(store) == b"abcdef"
    info = await store.look(KEY)
    assert info is not None
    assert info.entries == 2


async def test_a_connection_in_use_has_the_whole_time_to_answer(
    store: RedisStore, way: Proxy, server: Node
) -> None:
    """A server that is slow is not taken for one that is gone, and is asked once."""
    claim = await start(store)
    server.client.client_pause(timeout=round(TIMEOUT * 500), all=True)
    assert await store.append(KEY, claim, 0, b"abc") == 3
    assert way.connections == 1


async def test_a_server_that_is_gone_is_an_unavailable_store_in_time(
    store: RedisStore, way: Proxy
) -> None:
    await start(store)
    await pass_time(RESTED * 1.5)
    way.open_hole()
    before = time.monotonic()
    await refusal(StoreUnavailable, store.look(KEY))
    assert time.monotonic() - before < 1.5 * TIMEOUT
    way.close_hole()

    async def is_back() -> bool:
        with suppress(StoreUnavailable):  # an attempt to connect may still be in the hole
            return await store.look(KEY) is not None
        return False

    await eventually(is_back)


def pings_of(server: Node) -> int:
    stats = server.client.info("commandstats")
    calls: int = stats["cmdstat_ping"]["calls"] if "cmdstat_ping" in stats else 0
    return calls


async def test_a_connection_that_rests_is_used_now_and_then(
    monkeypatch: pytest.MonkeyPatch, store: RedisStore, way: Proxy, server: Node
) -> None:
    monkeypatch.setattr(connection, "WARM_SECONDS", WARM)
    await start(store)
    pings, before = pings_of(server), time.monotonic()
    await eventually(lambda: pings_of(server) >= pings + 3, seconds=5 * WARM + 20)
    assert time.monotonic() - before > 2.5 * WARM  # now and then, and one a connection
    assert way.connections == 1


async def test_a_connection_that_was_lost_while_it_rested_costs_nobody_anything(
    monkeypatch: pytest.MonkeyPatch, store: RedisStore, way: Proxy
) -> None:
    monkeypatch.setattr(connection, "WARM_SECONDS", WARM)
    await start(store)
    session = store._nodes._connection._session  # type: ignore[attr-defined]
    way.lose()
    await eventually(lambda: session.broken, seconds=2 * WARM + 20)
    async with within(0.2 * TIMEOUT):
        assert await store.look(KEY) is not None


async def test_the_system_looks_after_connections_as_well(store: RedisStore) -> None:
    await start(store)
    writer = store._nodes._connection._session.connection._writer  # type: ignore[attr-defined]
    sock = writer.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
