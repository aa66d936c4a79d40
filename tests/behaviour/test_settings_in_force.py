"""Settings that change while the process runs, as tests of a site do: the new ones hold, whole."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from pytest_django import Settings
from redis import Redis

from resumable_streams import ShuttingDown, StreamFailed, StreamLimitExceeded, streams
from resumable_streams.engine import get_engine
from resumable_streams.exceptions import InvalidStoreError
from resumable_streams.owners import get_identity
from resumable_streams.process.runtime import runtime
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished
from tests.tools.streams import MEMORY, REDIS

Override = Callable[..., Any]


@pytest.fixture
def base(key_prefix: str, settings: Settings) -> dict[str, Any]:
    """Configure the store in memory; return the settings of its alias."""
    entry = {"BACKEND": MEMORY, "KEY_PREFIX": key_prefix, "LOCATION": "in force"}
    settings.RESUMABLE_STREAMS = {"default": entry}
    return entry


@pytest.fixture
def override(base: dict[str, Any]) -> Override:
    """Return a function that overrides settings of the alias, as a context."""
    return lambda **entry: override_settings(RESUMABLE_STREAMS={"default": {**base, **entry}})


async def use(stream_id: str = "s") -> None:
    """Run a stream, so that everything is made that settings are read for."""
    await read_all(await streams.arun(stream_id, finished([b"ab"]), owner="a"))


async def test_how_long_streams_live(override: Override) -> None:
    await use("before")
    with override(TTL=500, FINISHED_TTL=50):
        await use("within")
        info = await streams.astatus("within", owner="a")
        assert info is not None
        assert info.ttl == pytest.approx(50) or info.expires - info.created < 60
    await use("after")
    info = await streams.astatus("after", owner="a")
    assert info is not None
    assert info.expires - info.created > 80_000


async def test_where_streams_are_kept(override: Override, key_prefix: str) -> None:
    await use()
    with override(KEY_PREFIX=f"{key_prefix}-other"):
        assert await streams.astatus("s", owner="a") is None
    with override(LOCATION="elsewhere"):
        assert await streams.astatus("s", owner="a") is None
    assert await streams.astatus("s", owner="a") is not None


async def test_limits(override: Override) -> None:
    await use()
    with override(LIMITS={"MAX_STREAM_BYTES": 1}), pytest.raises(StreamFailed, match="limit"):
        await use("long")
    with override(LIMITS={"MAX_STREAMS": 1}):
        tap = Tap(b"x")
        await read_until(await streams.arun("one", tap, owner="a"), 1)
        with pytest.raises(StreamLimitExceeded):
            await streams.arun("two", finished([b"x"]), owner="a")
        tap.end()
    await use("fits")


async def test_leases_and_times(override: Override) -> None:
    await use()
    with override(LEASE=7, SWEEP=2, STORE_TIMEOUT=3):
        await use("s2")
        settings = get_engine("default").settings
        assert (settings.lease, settings.sweep, settings.store_timeout) == (7, 2, 3)
    await use("s3")
    assert get_engine("default").settings.lease == 15


async def test_how_long_a_drain_waits(override: Override) -> None:
    await use()
    with override(DRAIN_TIMEOUT=60):
        await use("s2")
        assert runtime.grace == 60
    await use("s3")
    assert runtime.grace == 10


async def test_the_backend(override: Override, redis_url: str, redis_server: Redis) -> None:
    await use()
    assert isinstance(get_engine("default").store, MemoryStore)
    with override(BACKEND=REDIS, LOCATION=redis_url):
        assert isinstance(get_engine("default").store, RedisStore)
    assert isinstance(get_engine("default").store, MemoryStore)


async def test_aliases(base: dict[str, Any]) -> None:
    with override_settings(RESUMABLE_STREAMS={"default": base, "drafts": base}):
        await read_all(await streams.using("drafts").arun("s", finished([b"x"]), owner="a"))
        drafts = streams.using("drafts")
    with pytest.raises(InvalidStoreError, match="drafts"):
        await drafts.arun("s", finished([b"x"]), owner="a")
    assert list(runtime.resources) == []


async def test_a_debug_setting(override: Override, settings: Settings) -> None:
    await use()
    settings.DEBUG = True
    with pytest.raises(StreamFailed) as failure:
        await read_all(await streams.arun("bad", Tap(OSError("no disk")), owner="a"))
    assert "no disk" in failure.value.detail


async def test_what_stays_as_it_was_is_left_alone(base: dict[str, Any], override: Override) -> None:
    tap = Tap(b"x")
    reader = await streams.arun("s", tap, owner="a")
    await read_until(reader, 1)
    with override(), override_settings(LANGUAGE_CODE="de"):
        tap.end(b"y")
        assert await read_all(reader) == b"y"


async def test_streams_of_the_settings_before_end_in_writing(override: Override) -> None:
    tap = Tap(b"x")
    reader = await streams.arun("s", tap, owner="a")
    await read_until(reader, 1)
    with override(TTL=500):
        with pytest.raises(ShuttingDown):
            await anext(reader)
        await tap.closed.wait()
        again = await streams.arequire_resume("s", owner="a")
        with pytest.raises(StreamFailed, match="interrupted"):
            await read_all(again)


# Callables.


async def me(request: HttpRequest) -> str:
    return "me"


async def you(request: HttpRequest) -> str:
    return "you"


async def test_whose_a_request_is(
    override: Override, rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with override(OWNER=f"{__name__}.me", TENANT=f"{__name__}.you"):
        identity = await get_identity(rf.get("/"), using="default")
        assert (identity.owners, identity.tenant) == (("me",), "you")
        monkeypatch.setattr(f"{__name__}.me", you)
        assert (await get_identity(rf.get("/"), using="default")).owners == ("you",)
    with override(OWNER=f"{__name__}.you"):
        identity = await get_identity(rf.get("/"), using="default")
        assert (identity.owners, identity.tenant) == (("you",), None)


# Connections.


@pytest.fixture
def on_redis(
    base: dict[str, Any], settings: Settings, redis_url: str, redis_server: Redis
) -> dict[str, Any]:
    entry = {**base, "BACKEND": REDIS, "LOCATION": redis_url}
    redis_server.hset(f"{base['KEY_PREFIX']}:default:control", "generation", 1)
    settings.RESUMABLE_STREAMS = {"default": entry}
    return entry


def clients(server: Redis) -> int:
    return sum(one["name"] != "suite" for one in server.client_list())


def test_sync_code_waits_until_connections_are_closed(
    on_redis: dict[str, Any], redis_server: Redis
) -> None:
    before = clients(redis_server)
    assert b"".join(streams.run("s", finished([b"ab"]), owner="a")) == b"ab"
    assert clients(redis_server) > before
    with override_settings(RESUMABLE_STREAMS={"default": {**on_redis, "TTL": 500}}):
        assert runtime.resources == {}
        assert b"".join(streams.resume("s", owner="a") or ()) == b"ab"


async def test_a_thread_beside_the_home_loop_waits_too(
    on_redis: dict[str, Any], redis_server: Redis
) -> None:
    await use()
    engine = get_engine("default")

    def override() -> None:
        with override_settings(RESUMABLE_STREAMS={"default": {**on_redis, "TTL": 500}}):
            assert runtime.resources == {}
            assert streams.status("s", owner="a") is not None

    await sync_to_async(override)()
    assert get_engine("default") is not engine


async def test_closing_the_runtime_waits_for_what_is_being_closed(
    on_redis: dict[str, Any], redis_server: Redis
) -> None:
    await use()
    before = clients(redis_server)
    with override_settings(RESUMABLE_STREAMS={"default": {**on_redis, "TTL": 500}}):
        await use("s2")
    await runtime.aclose()
    assert before > 0
    assert not [task for task in asyncio.all_tasks() if "retire" in task.get_name()]


async def test_a_cache_that_moves(
    on_redis: dict[str, Any], settings: Settings, redis_url: str
) -> None:
    entry = {k: v for k, v in on_redis.items() if k != "LOCATION"} | {"CACHE_ALIAS": "streams"}
    backend = "django_redis.cache.RedisCache"
    settings.CACHES = {"streams": {"BACKEND": backend, "LOCATION": redis_url}}
    settings.RESUMABLE_STREAMS = {"default": entry}
    await use()
    there = redis_url.rpartition("/")[0] + "/7"
    with override_settings(CACHES={"streams": {"BACKEND": backend, "LOCATION": there}}):
        with Redis.from_url(there, client_name="suite") as other:
            other.hset(f"{entry['KEY_PREFIX']}:default:control", "generation", 1)
        assert await streams.astatus("s", owner="a") is None
    assert await streams.astatus("s", owner="a") is not None


@pytest.fixture
def standing_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return a loop that runs now and then, as the loops of test runners do."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(runtime.aclose())
    loop.close()


def test_a_loop_that_stands_still_meanwhile(
    override: Override, standing_loop: asyncio.AbstractEventLoop
) -> None:
    standing_loop.run_until_complete(use("s1"))
    with override(KEY_PREFIX="another"):
        standing_loop.run_until_complete(use("s2"))
        assert standing_loop.run_until_complete(streams.astatus("s1", owner="a")) is None
