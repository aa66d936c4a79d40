"""Where commands go: to one primary here, to the primary of a key's slot in `cluster`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

from ..base import Feed, Listener
from .connect import Connect
from .connection import Argument, Command, CommandConnection, Deferred
from .feed import RedisFeed
from .keys import KeySpace

__all__ = ["NewConnection", "Nodes", "OneNode"]

NewConnection = Callable[[Connect], CommandConnection]


class Nodes(ABC):
    """The servers of one store: a connection for commands and one for pushes to each."""

    publish: str
    """The command by which a script pushes to those who watch a stream."""

    @abstractmethod
    def execute(
        self,
        key: str,
        *arguments: Argument,
        then: Command | None = None,
        may_wait: bool = False,
    ) -> Coroutine[Any, Any, Any]:
        """Carry out a command on the slot of `key`, as `CommandConnection.execute` does."""

    @abstractmethod
    def defer(self, key: str, command: Deferred) -> bool:
        """Send a command soon, as `CommandConnection.defer` does."""

    @abstractmethod
    async def broadcast(self, channel: str, message: str) -> None:
        """Push to every process, whatever node it listens to."""

    @abstractmethod
    async def connections(self) -> list[CommandConnection]:
        """Return the connection to each primary: what is on none of them is not there."""

    @abstractmethod
    async def connect(self, key: str) -> Connect:
        """Return how to connect to the primary of `key`, for a connection of one's own."""

    @abstractmethod
    def open_feed(self, keys: KeySpace, listener: Listener) -> Feed:
        """Open the feed."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections for commands."""


class OneNode(Nodes):
    """One primary: a server, or whichever Sentinel names when we connect."""

    publish = "PUBLISH"

    def __init__(
        self,
        connect: Connect,
        new_connection: NewConnection,
        *,
        alias: str,
        connect_timeout: float,
    ):
        self._alias = alias
        self._connect = connect
        self._connect_timeout = connect_timeout
        self._connection = new_connection(connect)

    def execute(
        self,
        key: str,
        *arguments: Argument,
        then: Command | None = None,
        may_wait: bool = False,
    ) -> Coroutine[Any, Any, Any]:
        return self._connection.execute(*arguments, then=then, may_wait=may_wait)

    def defer(self, key: str, command: Deferred) -> bool:
        return self._connection.defer(command)

    async def broadcast(self, channel: str, message: str) -> None:
        await self._connection.execute("PUBLISH", channel, message)

    async def connections(self) -> list[CommandConnection]:
        return [self._connection]

    async def connect(self, key: str) -> Connect:
        return self._connect

    def open_feed(self, keys: KeySpace, listener: Listener) -> Feed:
        return RedisFeed(
            self._connect,
            keys,
            listener,
            alias=self._alias,
            connect_timeout=self._connect_timeout,
        )

    async def aclose(self) -> None:
        await self._connection.aclose()
