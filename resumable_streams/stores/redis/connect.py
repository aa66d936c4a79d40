"""Where the connection comes from: a URL, or an entry of CACHES (django-redis, or Django's own).

Connect, authentication, TLS and parsing are redis-py's; we only decide what a connection is made
with. Ours blocks for as long as it takes (time limits are kept per command, in
`connection`), speaks RESP2 and never decodes.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from django.core.cache import InvalidCacheBackendError
from redis.asyncio import ConnectionPool, Sentinel
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import NoPermissionError, ReadOnlyError, RedisError, ResponseError

from ...exceptions import InvalidStoreError
from .caches import caches_of_database, database_of, pool_of_cache
from .diagnosis import address_of

__all__ = ["Connect", "Endpoint", "HostPort", "open_connection"]

Connect = Callable[[], AbstractConnection]
"""Make a new connection object, not yet connected."""

HostPort = tuple[str, int]

PORT, SENTINEL_PORT = 6379, 26379
URL = re.compile(r"rediss?://[^/?#]*(/\d*)?(\?.*)?$|unix://", re.IGNORECASE)

# By default every new connection introduces itself with CLIENT SETINFO, which is a right of its own
# that Redis 7.0 cannot grant; newer drivers look their version up, on disk and on the event loop.
_HAS_DRIVER_INFO = find_spec("redis.driver_info") is not None
QUIET: Mapping[str, Any] = (
    {"driver_info": None} if _HAS_DRIVER_INFO else {"lib_name": None, "lib_version": None}
)

OURS: Mapping[str, Any] = {
    "decode_responses": False,
    "protocol": 2,
    "socket_timeout": None,
    "health_check_interval": 0,
    **QUIET,
}

# Have the system notice a peer that is gone, and whatever is on the way that we are still there.
KEEPALIVE: Mapping[str, Any] = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        getattr(socket, name): value
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    },
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


async def open_connection(
    connect: Connect,
    *,
    timeout: float,  # noqa: ASYNC109
    refuses_replica: bool = False,
) -> AbstractConnection:
    """Make a connection and connect it within `timeout` seconds.

    redis-py limits the connect; what it sends afterwards (AUTH, SELECT) could wait for ever for a
    server that accepts and doesn't answer.
    """
    connection = connect()
    try:
        async with asyncio.timeout(timeout):
            await connection.connect()
            if refuses_replica:
                await _refuse_replica(connection)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


async def _refuse_replica(connection: AbstractConnection) -> None:
    """Raise ReadOnlyError if this is no primary: what is read here may be older than a revocation.

    A script that says that it may write is refused there, though it writes nothing. It needs no
    right that we do not need anyhow.
    """
    await connection.send_command("EVAL", "#!lua flags=allow-oom\nreturn 1", 0)
    try:
        await connection.read_response()
    except (ReadOnlyError, NoPermissionError):
        raise
    except ResponseError:
        pass  # cannot persist, lacks replicas, is busy: it says so again to whom it concerns


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The server, or servers, that connections go to; raises InvalidStoreError for a wrong one.

    Nothing is connected here.
    """

    alias: str
    location: str = field(repr=False)  # may hold a password
    cache_alias: str | None
    connect_timeout: float

    def server(self) -> Connect:
        """Connect to the server of LOCATION, or to where the cache writes (Sentinel included)."""
        return _maker(self._from_cache() if self.cache_alias else self._from_url())

    def address(self) -> str:
        """Return where that is, without user and password."""
        return address_of(self.server()())

    def primary(self, sentinels: Sequence[str], service: str) -> Connect:
        """Connect to whatever is the primary of `service` when the connection is made."""
        return _maker(self._behind(sentinels, service))

    def _behind(self, sentinels: Sequence[str], service: str) -> ConnectionPool:
        pool = self._from_url()
        nodes = [_address(one, SENTINEL_PORT) for one in sentinels]
        kind, kwargs = pool.connection_class, pool.connection_kwargs
        return _sentinel_pool(service, nodes, {}, kind, kwargs)

    def cluster(self, more: Sequence[str]) -> tuple[list[HostPort], Callable[[HostPort], Connect]]:
        """Return the nodes that may be asked first, and how to connect to any."""
        pool = self._from_url()
        kind, kwargs = pool.connection_class, dict(pool.connection_kwargs)

        def connect_to(address: HostPort) -> Connect:
            return lambda: kind(**{**kwargs, "host": address[0], "port": address[1]})

        first = (kwargs.get("host", "localhost"), int(kwargs.get("port", PORT)))
        return [first, *(_address(one, PORT) for one in more)], connect_to

    def emptied_by(self, sentinels: Sequence[str], service: str) -> list[str]:
        """Return the names of the caches whose `clear` empties the database that we write to."""
        if self.cache_alias:
            return caches_of_database(database_of(pool_of_cache(self.cache_alias)))
        pool = self._behind(sentinels, service) if sentinels else self._from_url()
        return caches_of_database(database_of(pool))

    def _ours(self, kind: type[AbstractConnection], theirs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what connections of a kind are made with, whatever else was asked for."""
        ours = {**OURS, "socket_connect_timeout": self.connect_timeout}
        if issubclass(kind, Connection) and "socket_keepalive" not in theirs:
            ours |= KEEPALIVE
        return ours

    def _from_url(self) -> ConnectionPool:
        """Read a `redis://`, `rediss://` or `unix://` URL; its query string may set more."""
        # The driver takes what has another form for the server on this machine, or for database 0.
        if not URL.match(self.location):
            raise InvalidStoreError(
                f"LOCATION of the stream alias {self.alias!r} is not a URL of the form "
                f"redis://host:port/0 (rediss:// for TLS) or unix:///path?db=0: mind the two "
                f"slashes after the colon, and the number of the database at the end."
            )
        try:
            pool = ConnectionPool.from_url(self.location)
            pool.connection_kwargs.update(self._ours(pool.connection_class, pool.connection_kwargs))
            _maker(pool)()  # not connected: only to find options that no connection has
        except (ValueError, TypeError, RedisError):
            # The cause is not chained: it may quote the URL, and with it a password.
            raise InvalidStoreError(
                f"LOCATION of the stream alias {self.alias!r} is not a redis://, rediss:// or "
                f"unix:// URL, or it has options that a connection does not know."
            ) from None
        return pool

    def _from_cache(self) -> ConnectionPool:
        try:
            theirs = pool_of_cache(self.cache_alias or "")
        except (AttributeError, InvalidCacheBackendError) as error:
            raise InvalidStoreError(
                f"CACHE_ALIAS {self.cache_alias!r} of the stream alias {self.alias!r} is not a "
                f"cache of django-redis, or Django's own RedisCache, with one primary."
            ) from error
        kwargs = {k: v for k, v in theirs.connection_kwargs.items() if k in FROM_CACHE}
        kind = _async_kind(theirs.connection_class.__name__)
        kwargs.update(self._ours(kind, kwargs))
        sentinel = getattr(theirs, "sentinel_manager", None)
        if sentinel is None:
            return ConnectionPool(connection_class=kind, **kwargs)
        known = [s.connection_pool.connection_kwargs for s in sentinel.sentinels]
        nodes = [(one["host"], int(one["port"])) for one in known]
        return _sentinel_pool(theirs.service_name, nodes, sentinel.sentinel_kwargs, kind, kwargs)


def _address(text: str, default_port: int) -> HostPort:
    host, _, port = text.rpartition(":")
    if not (host and port.isdigit()):
        host, port = text, str(default_port)
    return host.strip("[]"), int(port)


def _async_kind(name: str) -> type[AbstractConnection]:
    if "Unix" in name:
        return UnixDomainSocketConnection
    return SSLConnection if "SSL" in name else Connection


class _PrimaryPool(SentinelConnectionPool):
    """A pool that asks the Sentinels for the primary once a connection, and hangs up."""

    async def get_master_address(self) -> HostPort:
        try:
            address: HostPort = await super().get_master_address()  # type: ignore[no-untyped-call]
            return address
        finally:
            for client in self.sentinel_manager.sentinels:
                await client.aclose(close_connection_pool=True)


def _sentinel_pool(
    service: str,
    sentinels: Sequence[HostPort],
    sentinel_kwargs: Mapping[str, Any],
    kind: type[AbstractConnection],
    kwargs: Mapping[str, Any],
) -> ConnectionPool:
    patience = {"socket_timeout": kwargs["socket_connect_timeout"]}
    manager = Sentinel(list(sentinels), sentinel_kwargs={**QUIET, **patience, **sentinel_kwargs})
    rest = {k: v for k, v in kwargs.items() if k not in ("host", "port")}
    rest["ssl"] = issubclass(kind, SSLConnection)
    pool: ConnectionPool = _PrimaryPool(service, manager, is_master=True, **rest)  # type: ignore[no-untyped-call]
    return pool
