"""Tenants that somebody made up: asking for their streams leaves nothing, anywhere, for good."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError
from django.db.models.query import QuerySet
from redis import Redis

from resumable_streams import StoreUnavailable, StreamDoesNotExist, StreamManager
from resumable_streams.control import retire, rotate
from resumable_streams.engine import get_engine
from resumable_streams.stores.base import MIN_CONTROL_SECONDS
from resumable_streams.stores.memory import MemoryStore
from tests.ledger import Ledger, open_ledger
from tests.tools.readers import read_all
from tests.tools.sources import finished

DAY = 86_400
MADE_UP = [f"made-up-{number}" for number in range(50)]


@pytest.fixture(autouse=True)
def ledger(tmp_path, settings, django_db_blocker) -> Iterator[Ledger]:
    with django_db_blocker.unblock(), open_ledger(tmp_path / "ledger.sqlite3", settings) as ledger:
        yield ledger


async def ask(manager: StreamManager, tenant: str) -> None:
    named: dict[str, Any] = {"owner": "a", "tenant": tenant}
    assert await manager.aresume("chat", **named) is None
    assert await manager.astatus("chat", **named) is None
    assert await manager.acancel("chat", **named) is None
    assert not await manager.adelete("chat", **named)
    with pytest.raises(StreamDoesNotExist):
        await manager.asign("chat", **named)


async def acquire(manager: StreamManager, tenant: str, **named: Any) -> bytes:
    source = finished(["x"])
    return await read_all(await manager.arun("chat", source, owner="a", tenant=tenant, **named))


def control(key_prefix: str, tenant: str = "acme") -> str:
    return f"{key_prefix}:{tenant}:control"


async def test_asking_leaves_no_key(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
):
    before = set(redis_server.scan_iter(f"{key_prefix}*"))
    await asyncio.gather(*(ask(redis_manager, tenant) for tenant in MADE_UP))
    assert set(redis_server.scan_iter(f"{key_prefix}*")) == before


async def test_nor_anything_in_memory(memory_manager: StreamManager):
    await asyncio.gather(*(ask(memory_manager, tenant) for tenant in MADE_UP))
    store = get_engine("default").store
    assert isinstance(store, MemoryStore)
    assert store._space.controls == {}


async def test_any_number_of_them_is_a_query_at_a_time(redis_manager: StreamManager, monkeypatch):
    running, most, queries = 0, 0, 0
    fetch = QuerySet._fetch_all

    def count(self: Any) -> None:
        nonlocal running, most, queries
        running, queries = running + 1, queries + 1
        most = max(most, running)
        fetch(self)
        running -= 1

    monkeypatch.setattr(QuerySet, "_fetch_all", count)
    await asyncio.gather(
        *(redis_manager.astatus("chat", owner="a", tenant=tenant) for tenant in MADE_UP)
    )
    assert most == 1
    assert queries <= 3  # the first who asked, then all the others


async def test_who_asks_hears_that_the_database_is_away_and_later_that_it_is_back(
    redis_manager: StreamManager, ledger: Ledger
):
    ledger.take_away()
    answers = await asyncio.gather(
        *(redis_manager.astatus("chat", owner="a", tenant=tenant) for tenant in MADE_UP),
        return_exceptions=True,
    )
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert all(isinstance(answer.__cause__, DatabaseError) for answer in answers)  # type: ignore[union-attr]
    ledger.give_back()
    await ask(redis_manager, MADE_UP[0])


async def test_one_who_gives_up_asking_leaves_the_others_their_answer(
    redis_manager: StreamManager,
):
    asking = [
        asyncio.ensure_future(redis_manager.astatus("chat", owner="a", tenant=tenant))
        for tenant in ("one", "one", "two")
    ]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert await asyncio.gather(*asking[1:]) == [None, None]


# What an acquire leaves lives as long as it can matter.


async def test_what_an_acquire_leaves_expires_when_it_says_nothing(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
):
    await acquire(redis_manager, "acme")
    left = redis_server.ttl(control(key_prefix))
    assert MIN_CONTROL_SECONDS - 60 < left <= MIN_CONTROL_SECONDS


async def test_it_outlives_the_longest_stream(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
):
    await acquire(redis_manager, "acme", ttl=30 * DAY)
    assert 110 * DAY < redis_server.ttl(control(key_prefix)) <= 120 * DAY


@pytest.mark.parametrize("ttl", [None, 30 * DAY])
async def test_each_acquire_renews_it_and_no_look_does(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str, ttl: float | None
):
    await acquire(redis_manager, "acme", ttl=ttl)
    whole = redis_server.ttl(control(key_prefix))
    redis_server.expire(control(key_prefix), 100)
    await ask(redis_manager.using("elsewhere"), "acme2")
    assert await redis_manager.astatus("chat", owner="a", tenant="acme") is not None
    assert redis_server.ttl(control(key_prefix)) <= 100
    await acquire(redis_manager, "acme", ttl=ttl)
    assert redis_server.ttl(control(key_prefix)) > whole - 60


async def test_what_says_something_stays(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
):
    await acquire(redis_manager, "acme")
    await retire("default", "acme", ttl=300)
    assert redis_server.ttl(control(key_prefix)) == -1
    await acquire(redis_manager, "acme")
    assert redis_server.ttl(control(key_prefix)) == -1
    await retire("default", "acme", ttl=0)
    assert redis_server.ttl(control(key_prefix)) > 0
    await rotate("default", "acme")
    await acquire(redis_manager, "acme")
    assert redis_server.ttl(control(key_prefix)) == -1


async def test_a_key_of_an_earlier_version_is_given_its_life(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
):
    redis_server.hset(control(key_prefix), mapping={"generation": 1, "longest_ttl": 0})
    await acquire(redis_manager, "acme")
    assert redis_server.ttl(control(key_prefix)) > 0


async def test_a_stream_that_outlives_the_key_is_found_and_brings_it_back(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
):
    await acquire(redis_manager, "acme", ttl=60 * DAY)
    redis_server.delete(control(key_prefix))
    assert await redis_manager.astatus("chat", owner="b", tenant="acme") is None
    assert not redis_server.exists(control(key_prefix))  # a foreign look is a missing one's
    assert await redis_manager.astatus("chat", owner="a", tenant="acme") is not None
    longest = redis_server.hget(control(key_prefix), "longest_ttl")
    assert longest is not None
    assert int(longest) > 59 * DAY * 1000


async def test_in_memory_it_expires_too(memory_manager: StreamManager):
    store = get_engine("default").store
    assert isinstance(store, MemoryStore)
    now = store._clock()
    store._clock = lambda: now
    await store.set_control("acme", longest_ttl=300)
    await store.set_control("kept", generation=2)
    now += MIN_CONTROL_SECONDS / 2
    await store.get_control("acme", "a", keep=MIN_CONTROL_SECONDS)
    now += MIN_CONTROL_SECONDS / 2
    assert (await store.get_control("acme", "a")).longest_ttl == 300
    now += MIN_CONTROL_SECONDS / 2
    assert (await store.get_control("acme", "a")).generation is None
    assert (await store.get_control("kept", "a")).generation == 2
    await store.set_control("new", longest_ttl=300)
    now += MIN_CONTROL_SECONDS
    await store.set_control("newer", longest_ttl=300)
    assert set(store._space.controls) == {"kept", "newer"}
