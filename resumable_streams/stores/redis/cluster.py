"""A cluster: one connection for commands and one for pushes to every primary.

The map of slots is asked of any node that answers, when we start and whenever something says that
it has changed: a redirection, a connection that broke, a subscription that the server ended. While
a primary is down and nobody has taken its place, commands for its slots raise StoreUnavailable, and
their callers try again; the map is asked for again meanwhile.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextvars import Context
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

from ...exceptions import Diagnosis, StoreUnavailable
from ...types import StreamKey
from ..base import Feed, Listener
from ..outages import log_outage
from .connect import Connect, HostPort
from .connection import Argument, Command, CommandConnection, Deferred
from .feed import RedisFeed
from .keys import KeySpace
from .nodes import NewConnection, Nodes

__all__ = ["ClusterNodes"]

logger = logging.getLogger("resumable_streams.redis")

SLOTS = 16_384
MAX_REDIRECTIONS = 5
REFRESH_PAUSE_SECONDS = 0.2
LOST_REMEDY = (
    "Check that its nodes run, that this machine reaches them, and that every hash slot has a "
    "primary (CLUSTER NODES)."
)


class ClusterNodes(Nodes):
    """The primaries of a cluster: which of them has a key, and a connection to each."""

    publish = "SPUBLISH"  # stays in the shard: a push costs one server, not all

    def __init__(
        self,
        seeds: list[HostPort],
        connect_to: Callable[[HostPort], Connect],
        new_connection: NewConnection,
        *,
        alias: str,
        connect_timeout: float,
    ):
        self._seeds = seeds
        self._connect_to = connect_to
        self._new_connection = new_connection
        self._alias = alias
        self._connect_timeout = connect_timeout
        self._connections: dict[HostPort, CommandConnection] = {}
        self._slots: list[HostPort | None] = [None] * SLOTS
        self._refreshing: asyncio.Task[None] | None = None
        self._feeds: set[ClusterFeed] = set()
        self._asked_at = 0.0
        self._closed = False

    async def execute(
        self,
        key: str,
        *arguments: Argument,
        then: Command | None = None,
        may_wait: bool = False,
    ) -> Any:
        for redirections in range(MAX_REDIRECTIONS):
            if redirections > 1:  # the nodes do not agree: give them time
                await self.refresh()
            address = await self.address(key)
            try:
                return await self._ask(address, *arguments, then=then, may_wait=may_wait)
            except AskError as redirection:  # a MovedError is one, too
                self._learn_slot(redirection, asked=address)
            except StoreUnavailable:
                self.refresh_soon()
                raise
        raise self._lost("the nodes of the cluster disagree about where this key is")

    async def _ask(
        self, address: HostPort, *arguments: Argument, then: Command | None, may_wait: bool
    ) -> Any:
        """Ask a node, or the one that it names where the key has gone ahead of its slot."""
        try:
            connection = self._connection(address)
            return await connection.execute(*arguments, then=then, may_wait=may_wait)
        except MovedError:
            raise
        except AskError as ask:
            ahead = self._connection(_address_in(ask, asked=address))
            return await ahead.execute_asking(*arguments, then=then)

    def defer(self, key: str, command: Deferred) -> bool:
        address = self.known_address(key)
        return address is not None and self._connection(address).defer(command)

    def _learn_slot(self, redirection: AskError, *, asked: HostPort) -> None:
        """Know at once where one slot has gone, and ask for the rest of the map."""
        if isinstance(redirection, MovedError):
            self._slots[redirection.slot_id] = _address_in(redirection, asked=asked)
        self.refresh_soon()

    async def address(self, key: str) -> HostPort:
        """Return the primary of a key."""
        slot = key_slot(key.encode())
        address = self._slots[slot]
        if address is None:
            await self.refresh()
            address = self._slots[slot]
        if address is None:
            raise self._lost(f"the cluster has no primary of hash slot {slot}")
        return address

    def known_address(self, key: str) -> HostPort | None:
        """Return the primary of a key as far as it is known already."""
        return self._slots[key_slot(key.encode())]

    def _connection(self, address: HostPort) -> CommandConnection:
        connection = self._connections.get(address)
        if connection is None:
            connection = self._connections[address] = self._new_connection(
                self._connect_to(address)
            )
        return connection

    async def broadcast(self, channel: str, message: str) -> None:
        """Push through the first node that answers: in a cluster each tells all others."""
        first = await self.address(channel)
        for address in [first, *(self.primaries - {first})]:
            try:
                await self._connection(address).execute("PUBLISH", channel, message)
                return
            except StoreUnavailable as error:
                self.refresh_soon()
                trouble = error
        raise trouble

    async def connections(self) -> list[CommandConnection]:
        await self.refresh()
        return [self._connection(address) for address in self.primaries]

    @property
    def primaries(self) -> set[HostPort]:
        return {address for address in self._slots if address is not None}

    async def connect(self, key: str) -> Connect:
        return self._connect_to(await self.address(key))

    # The map.

    def refresh_soon(self) -> None:
        """Ask for the map in the background, once at a time."""
        if not self._closed:
            self._refresh_task()

    def _refresh_task(self) -> asyncio.Task[None]:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(
                self._refresh(), name="resumable_streams.redis.cluster", context=Context()
            )
            self._refreshing.add_done_callback(lambda t: t.cancelled() or t.exception())
        return self._refreshing

    async def refresh(self) -> None:
        """Ask for the map; raise StoreUnavailable if no node answers."""
        await asyncio.wait([task := self._refresh_task()])
        if task.cancelled():
            raise StoreUnavailable(self._alias)  # closed
        task.result()

    async def _refresh(self) -> None:
        loop = asyncio.get_running_loop()
        # Not in a row while the cluster heals. Whoever comes during the pause gets what follows.
        await asyncio.sleep(self._asked_at + REFRESH_PAUSE_SECONDS - loop.time())
        self._asked_at = loop.time()
        known = [*self.primaries, *self._connections]
        random.shuffle(known)
        for address in dict.fromkeys([*known, *self._seeds]):
            try:
                ranges = await self._connection(address).execute("CLUSTER", "SLOTS")
            except StoreUnavailable:
                continue
            self._learn(ranges, asked=address)
            await self._drop_strangers()
            return
        raise self._lost("no node of the cluster answered")

    def _lost(self, words: str) -> StoreUnavailable:
        """Return, and log, that the cluster as a whole does not say where to ask."""
        seeds = ", ".join(f"{host}:{port}" for host, port in self._seeds)
        found = Diagnosis(server=f"the cluster of {seeds}", words=words, remedy=LOST_REMEDY)
        error = StoreUnavailable(self._alias, diagnosis=found)
        log_outage(error)
        return error

    def _learn(self, ranges: list[Any], *, asked: HostPort) -> None:
        slots: list[HostPort | None] = [None] * SLOTS
        for first, last, primary, *_ in ranges:
            host = primary[0].decode() if primary[0] else asked[0]
            address = (host, int(primary[1]))
            slots[first : last + 1] = [address] * (last + 1 - first)
        self._slots = slots
        for feed in self._feeds:
            feed.place_all()

    async def _drop_strangers(self) -> None:
        """Close connections to nodes that are no primaries any more."""
        for address in [one for one in self._connections if one not in self.primaries]:
            await self._connections.pop(address).aclose()

    def open_feed(self, keys: KeySpace, listener: Listener) -> Feed:
        feed = ClusterFeed(self, keys, listener)
        self._feeds.add(feed)
        feed.place_all()
        self.refresh_soon()
        return feed

    def subscriber(self, address: HostPort, feed: "ClusterFeed") -> RedisFeed:
        return RedisFeed(
            self._connect_to(address),
            feed.keys,
            feed.listener,
            alias=self._alias,
            connect_timeout=self._connect_timeout,
            is_sharded=True,
            on_trouble=self.refresh_soon,
        )

    def forget(self, feed: "ClusterFeed") -> None:
        self._feeds.discard(feed)

    async def aclose(self) -> None:
        self._closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        for connection in self._connections.values():
            await connection.aclose()


def _address_in(redirection: AskError, *, asked: HostPort) -> HostPort:
    """Return where a node sends us; one that does not know its own name leaves the host out."""
    return redirection.host or asked[0], int(redirection.port)


class ClusterFeed(Feed):
    """The news of a cluster: each stream is watched at the primary of its hash slot."""

    def __init__(self, nodes: ClusterNodes, keys: KeySpace, listener: Listener):
        self.keys = keys
        self.listener = listener
        self._nodes = nodes
        self._subscribers: dict[HostPort, RedisFeed] = {}
        self._placed: dict[StreamKey, HostPort | None] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def watch(self, key: StreamKey) -> None:
        self._placed[key] = None
        self._place(key)

    def unwatch(self, key: StreamKey) -> None:
        address = self._placed.pop(key, None)
        if address is not None and address in self._subscribers:
            self._subscribers[address].unwatch(key)

    def place_all(self) -> None:
        """Follow the map: a subscriber for each primary, every stream at its own."""
        for address in [one for one in self._subscribers if one not in self._nodes.primaries]:
            self._close(self._subscribers.pop(address))
        for address in self._nodes.primaries:  # all of them: hints may come from any
            if address not in self._subscribers:
                self._subscribers[address] = self._nodes.subscriber(address, self)
        for key in list(self._placed):
            self._place(key)

    def _place(self, key: StreamKey) -> None:
        old, new = self._placed[key], self._nodes.known_address(self.keys.log(key))
        if old == new and new in self._subscribers:
            return
        if old is not None and old in self._subscribers:
            self._subscribers[old].unwatch(key)
        if new is None or new not in self._subscribers:
            self._placed[key] = None  # until the map is known
            self._nodes.refresh_soon()
        else:
            self._placed[key] = new
            self._subscribers[new].watch(key)

    def _close(self, subscriber: RedisFeed) -> None:
        task = asyncio.create_task(subscriber.aclose(), name="resumable_streams.redis.unplug")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        self._nodes.forget(self)
        await asyncio.gather(*self._closing, *(s.aclose() for s in self._subscribers.values()))
