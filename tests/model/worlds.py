"""The two stores as the machine needs them: with clocks and bytes that it may turn back."""

import time
import uuid
from typing import Any, Protocol

from redis import Redis

from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.types import StreamKey
from tests.tools.streams import MEMORY, REDIS

__all__ = ["MemoryWorld", "RedisWorld", "World"]

LEASE, TTL = 30.0, 3_600.0


class World(Protocol):
    """Configure a store for one run, and do to it what only time and failovers do."""

    def entry(self) -> dict[str, Any]:
        """Return the settings of a fresh alias."""

    def end_lease(self, store: BaseStore, process: str) -> None:
        """Let the lease of a process run out."""

    def end_lifetimes(self, store: BaseStore, keys: list[StreamKey]) -> None:
        """Let every stream expire."""

    def rewind(self, store: BaseStore, key: StreamKey, size: int) -> None:
        """Bring an older state of the stream back: only its first `size` bytes are there."""


class MemoryWorld:
    def __init__(self) -> None:
        self.ahead = 0.0

    def entry(self) -> dict[str, Any]:
        self.ahead = 0.0
        return {
            "BACKEND": MEMORY,
            "LOCATION": uuid.uuid4().hex,
            "OPTIONS": {"clock": lambda: time.time() + self.ahead},
        }

    def end_lease(self, store: BaseStore, process: str) -> None:
        assert isinstance(store, MemoryStore)
        store._space.table.processes[process] = 0.0

    def end_lifetimes(self, store: BaseStore, keys: list[StreamKey]) -> None:
        self.ahead += TTL + 1

    def rewind(self, store: BaseStore, key: StreamKey, size: int) -> None:
        assert isinstance(store, MemoryStore)
        del store._space.streams[key].log[size:]


class RedisWorld:
    def __init__(self, url: str, server: Redis):
        self._url = url
        self._server = server
        self._keys = KeySpace("")

    def entry(self) -> dict[str, Any]:
        prefix = f"model-{uuid.uuid4().hex}"
        self._keys = KeySpace(prefix)
        self._server.hset(self._keys.control("default"), "generation", 1)
        return {"BACKEND": REDIS, "LOCATION": self._url, "KEY_PREFIX": prefix}

    def end_lease(self, store: BaseStore, process: str) -> None:
        self._server.zadd(self._keys.shared("processes"), {process: 1})

    def end_lifetimes(self, store: BaseStore, keys: list[StreamKey]) -> None:
        for key in keys:
            self._server.delete(self._keys.meta(key), self._keys.log(key))

    def rewind(self, store: BaseStore, key: StreamKey, size: int) -> None:
        pipe = self._server.pipeline(transaction=True)
        pipe.set(self._keys.log(key), (self._server.get(self._keys.log(key)) or b"")[:size])
        pipe.hset(self._keys.meta(key), "size", size)
        pipe.execute()
