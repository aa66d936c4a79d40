"""Where the connection comes from: a URL, or a django-redis entry of CACHES.

Connect, authentication, TLS and parsing are redis-py's; we only decide what a connection is made
with. Ours blocks for as long as it takes (time limits are kept per command, in `wire`), speaks
RESP2 and never decodes.
"""

import asyncio
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from django.core.cache import InvalidCacheBackendError, caches
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Sentinel
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisError

from ...exceptions import InvalidStoreError

__all__ = ["Connect", "connect_from_cache", "connect_from_url", "open_connection"]

Connect = Callable[[], AbstractConnection]
"""Make a new connection object, not yet connected."""

OURS: Mapping[str, Any] = {
    "decode_responses": False,
    "protocol": 2,
    "socket_timeout": None,
    "health_check_interval": 0,
    # By default every new connection looks redis-py's version up, on disk and on the event loop.
    **({"driver_info": None} if find_spec("redis.driver_info") else {}),
}

# What of a cache's connection also describes ours; the rest (parsers, timeouts, decoding, retries)
# is about how a cache uses it.
FROM_CACHE = {
    "host", "port", "db", "path", "username", "password", "credential_provider", "client_name",
    "socket_keepalive", "socket_keepalive_options", "socket_type",
    "ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data",
    "ssl_check_hostname", "ssl_password", "ssl_min_version", "ssl_ciphers",
}  # fmt: skip


def _maker(pool: ConnectionPool) -> Connect:
    return lambda: pool.connection_class(**pool.connection_kwargs)


async def open_connection(connect: Connect, *, timeout: float) -> AbstractConnection:  # noqa: ASYNC109
    """Make a connection and connect it within `timeout` seconds.

    redis-py limits the connect; what it sends afterwards (AUTH, SELECT) could wait for ever for a
    server that accepts and doesn't answer.
    """
    connection = connect()
    try:
        async with asyncio.timeout(timeout):
            await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


def connect_from_url(url: str, *, connect_timeout: float, alias: str) -> Connect:
    """Connect to a `redis://`, `rediss://` or `unix://` URL; its query string may set more."""
    try:
        pool = ConnectionPool.from_url(url)
        pool.connection_kwargs.update(OURS, socket_connect_timeout=connect_timeout)
        connect = _maker(pool)
        connect()  # not connected: only to find options that no connection has
    except (ValueError, TypeError, RedisError):
        # The cause is not chained: it may quote the URL, and with it a password.
        raise InvalidStoreError(
            f"LOCATION of the stream alias {alias!r} is not a redis://, rediss:// or unix:// URL, "
            f"or it has options that a connection does not know."
        ) from None
    return connect


def connect_from_cache(cache_alias: str, *, connect_timeout: float, alias: str) -> Connect:
    """Connect to where the django-redis cache `cache_alias` writes, Sentinel included."""
    try:
        cache: Any = caches[cache_alias]
        theirs = cache.client.get_client(write=True).connection_pool
    except (AttributeError, InvalidCacheBackendError) as error:
        raise InvalidStoreError(
            f"CACHE_ALIAS {cache_alias!r} of the stream alias {alias!r} is not a django-redis "
            f"cache with one primary."
        ) from error
    given = {k: v for k, v in theirs.connection_kwargs.items() if k in FROM_CACHE}
    given.update(OURS, socket_connect_timeout=connect_timeout)
    sentinel = getattr(theirs, "sentinel_manager", None)
    if sentinel is not None:
        return _connect_to_primary(theirs.service_name, sentinel, given)
    kind = theirs.connection_class.__name__
    pool: ConnectionPool = BlockingConnectionPool(connection_class=_async_kind(kind), **given)
    return _maker(pool)


def _async_kind(name: str) -> type[AbstractConnection]:
    if "Unix" in name:
        return UnixDomainSocketConnection
    return SSLConnection if "SSL" in name else Connection


def _connect_to_primary(service: str, sentinel: Any, given: dict[str, Any]) -> Connect:
    nodes = [
        (s.connection_pool.connection_kwargs["host"], s.connection_pool.connection_kwargs["port"])
        for s in sentinel.sentinels
    ]
    manager = Sentinel(nodes, sentinel_kwargs=sentinel.sentinel_kwargs)
    given.pop("host", None)
    given.pop("port", None)
    pool = SentinelConnectionPool(service, manager, is_master=True, **given)
    return _maker(pool)
