"""The entries of CACHES that are Redis: the databases that `cache.clear()` would empty.

django-redis and Django's own backend both answer `clear` with FLUSHDB: everything in that database
is gone, streams included. Nothing is connected here.
"""

from collections.abc import Hashable, Mapping
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.redis import RedisCache

__all__ = ["caches_of_database", "database_of", "pool_of_cache"]

HERE = {"127.0.0.1", "::1", "localhost", ""}
PORT = 6379


def pool_of_cache(alias: str) -> Any:
    """Return the pool of connections with which a cache writes.

    Raises whatever making the cache raises, and AttributeError for one that is not Redis.
    """
    cache: Any = caches[alias]
    if isinstance(cache, RedisCache):  # Django's own
        return cache._cache.get_client(None, write=True).connection_pool
    return cache.client.get_client(write=True).connection_pool


def database_of(pool: Any) -> Hashable:
    """Return what tells one database from another: for pools of redis-py, sync or async."""
    kwargs: Mapping[str, Any] = pool.connection_kwargs
    number = int(kwargs.get("db") or 0)
    manager = getattr(pool, "sentinel_manager", None)
    if manager is not None:
        known = [one.connection_pool.connection_kwargs for one in manager.sentinels]
        return frozenset(_server(one) for one in known), pool.service_name, number
    return kwargs.get("path") or _server(kwargs), number


def _server(kwargs: Mapping[str, Any]) -> tuple[str, int]:
    host = str(kwargs.get("host") or "").lower()
    return "localhost" if host in HERE else host, int(kwargs.get("port") or PORT)


def caches_of_database(database: Hashable) -> list[str]:
    """Return the names of the caches whose `clear` empties a database."""
    return [alias for alias in caches if _database(alias) == database]


def _database(alias: str) -> Hashable:
    try:
        return database_of(pool_of_cache(alias))
    except Exception:  # not Redis, or wrong in a way that is for Django to say
        return None
