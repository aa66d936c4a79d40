"""A connection that comes from an entry of CACHES, and what clearing a cache does to streams."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from pytest_django import Settings
from redis import Redis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from resumable_streams import checks, streams
from resumable_streams.stores.redis import RedisStore
from resumable_streams.types import Limits
from tests.tools.readers import read_all
from tests.tools.sources import finished
from tests.tools.streams import REDIS

ROOT = Path(__file__).resolve().parents[2]
DJANGO = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"
LOCAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}

Ids = Callable[[], list[str]]


def database(url: str, number: int) -> str:
    """Return the URL of another database on the same server."""
    return f"{url.rpartition('/')[0]}/{number}"


@pytest.fixture
def ids(settings: Settings) -> Ids:
    """Return a function that returns the ids of warnings of ours about caches."""
    settings.DEBUG = True  # no word about memory

    def ids() -> list[str]:
        found = run_checks(tags=[checks.TAG])
        assert all(one.hint for one in found)
        return [str(one.id).removeprefix("resumable_streams.") for one in found]

    return ids


@pytest.fixture
def user(redis_server: Redis) -> Iterator[str]:
    """Make a user of the server who needs a password; return `name:password`."""
    redis_server.execute_command("ACL", "SETUSER", "cache", "on", ">s3cret", "~*", "&*", "+@all")
    yield "cache:s3cret"
    redis_server.execute_command("ACL", "DELUSER", "cache")


@pytest.mark.parametrize("backend", [DJANGO, DJANGO_REDIS])
async def test_streams_live_where_a_cache_writes_with_its_password(
    settings: Settings, redis_url: str, key_prefix: str, user: str, backend: str
) -> None:
    url = database(redis_url, 3)
    theirs = url.replace("redis://", f"redis://{user}@")
    settings.CACHES = {"default": LOCAL, "streams": {"BACKEND": backend, "LOCATION": theirs}}
    settings.RESUMABLE_STREAMS = {
        "default": {"BACKEND": REDIS, "CACHE_ALIAS": "streams", "KEY_PREFIX": key_prefix}
    }
    with Redis.from_url(url, client_name="suite") as server:
        server.hset(f"{key_prefix}:default:control", "generation", 1)
        reader = await streams.arun("s", finished([b"ab", b"c"]), owner="a")
        assert await read_all(reader) == b"abc"
        assert server.exists(f"{key_prefix}:default:g1:{{s}}:data")


@pytest.mark.parametrize("backend", [DJANGO, DJANGO_REDIS])
async def test_clearing_another_cache_leaves_the_streams(
    settings: Settings, redis_server: Redis, redis_url: str, key_prefix: str, backend: str
) -> None:
    redis_server.hset(f"{key_prefix}:default:control", "generation", 1)
    other = database(redis_url, 5)
    settings.CACHES = {
        "default": {"BACKEND": backend, "LOCATION": f"{other}?client_name=suite"},
        "streams": {"BACKEND": backend, "LOCATION": redis_url},
    }
    settings.RESUMABLE_STREAMS = {
        "default": {"BACKEND": REDIS, "CACHE_ALIAS": "streams", "KEY_PREFIX": key_prefix}
    }
    await read_all(await streams.arun("s", finished([b"abc"]), owner="a"))
    await caches["default"].aset("k", 1)
    await caches["default"].aclear()
    assert await caches["default"].aget("k") is None
    assert await read_all(await streams.arequire_resume("s", owner="a")) == b"abc"


@pytest.mark.parametrize(
    ("location", "kind", "expected"),
    [
        ("rediss://u:p@h:7000/2", SSLConnection, {"host": "h", "port": 7000, "db": 2}),
        ("unix:///tmp/no.sock?db=4", UnixDomainSocketConnection, {"path": "/tmp/no.sock", "db": 4}),
        (["redis://primary/1", "redis://replica/1"], None, {"host": "primary", "db": 1}),
    ],
)
def test_the_settings_of_djangos_own_cache_are_read(
    settings: Settings, key_prefix: str, location: Any, kind: Any, expected: dict[str, Any]
) -> None:
    settings.CACHES = {"default": LOCAL, "streams": {"BACKEND": DJANGO, "LOCATION": location}}
    store = RedisStore(
        alias="default",
        key_prefix=key_prefix,
        location=None,
        limits=Limits(),
        cache_alias="streams",
    )
    connection = store._nodes._connect()  # type: ignore[attr-defined]
    assert kind is None or isinstance(connection, kind)
    assert {name: getattr(connection, name) for name in expected} == expected
    if kind is SSLConnection:
        assert (connection.username, connection.password) == ("u", "p")


HERE, THERE = "redis://127.0.0.1:6379/1", "redis://localhost:6379/2"


@pytest.mark.parametrize("backend", [DJANGO, DJANGO_REDIS])
@pytest.mark.parametrize(
    ("caches_at", "entry", "found"),
    [
        ({"default": HERE}, {"CACHE_ALIAS": "default"}, ["W013"]),
        ({"streams": HERE}, {"CACHE_ALIAS": "streams"}, []),
        ({"default": THERE, "streams": HERE}, {"CACHE_ALIAS": "streams"}, []),
        ({"default": HERE, "streams": HERE}, {"CACHE_ALIAS": "streams"}, ["W013"]),
        ({"pages": "redis://localhost/1", "streams": HERE}, {"CACHE_ALIAS": "streams"}, ["W013"]),
        ({"default": HERE}, {"LOCATION": "redis://localhost:6379/1"}, ["W013"]),
        ({"default": HERE}, {"LOCATION": THERE}, []),
        ({"default": HERE}, {"LOCATION": "redis://10.1.1.1:6379/1"}, []),
        (
            {"default": HERE},
            {"LOCATION": HERE, "OPTIONS": {"sentinels": ["127.0.0.1:26379"]}},
            [],
        ),
    ],
)
def test_w013_a_cache_that_is_cleared_takes_the_streams_along(
    settings: Settings,
    ids: Ids,
    backend: str,
    caches_at: dict[str, str],
    entry: dict[str, Any],
    found: list[str],
) -> None:
    settings.CACHES = {
        "default": LOCAL,
        **{name: {"BACKEND": backend, "LOCATION": url} for name, url in caches_at.items()},
    }
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": REDIS, **entry}}
    assert ids() == found


def test_w013_sentinels_name_the_same_database(settings: Settings, ids: Ids) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": DJANGO_REDIS,
            "LOCATION": "redis://mymaster/1",
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "SENTINELS": [("127.0.0.1", 26379)],
                "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
            },
        }
    }
    settings.DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
    options = {"sentinels": ["localhost:26379"]}
    settings.RESUMABLE_STREAMS = {
        "default": {"BACKEND": REDIS, "LOCATION": "redis://mymaster/1", "OPTIONS": options}
    }
    assert ids() == ["W013"]


def test_no_check_trips_over_a_cache_that_cannot_be_made(settings: Settings, ids: Ids) -> None:
    settings.CACHES = {"default": LOCAL, "broken": {"BACKEND": "no.such.Cache"}}
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": REDIS, "LOCATION": HERE}}
    assert ids() == []


@pytest.mark.lengthy
def test_the_example_keeps_its_streams_in_a_cache_of_their_own() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--tag", checks.TAG, "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": HERE, "DJANGO_SETTINGS_MODULE": "example_project.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr
