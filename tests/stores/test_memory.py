"""The memory store: the contract on a clock of its own, and what only memory has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.testing import StreamStoreContract


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class TestMemoryStore(StreamStoreContract):
    @pytest.fixture(autouse=True)
    def clock(self) -> Clock:
        self._clock = Clock()
        return self._clock

    @pytest.fixture
    async def store(self, key_prefix: str) -> BaseStore:
        return MemoryStore(
            alias="test",
            key_prefix=key_prefix,
            location=None,
            limits=self.limits,
            clock=self._clock,
        )

    @asynccontextmanager
    async def another(self, store: BaseStore) -> AsyncIterator[BaseStore]:
        yield MemoryStore(
            alias="test",
            key_prefix=store.key_prefix,
            location=None,
            limits=self.limits,
            clock=self._clock,
        )

    async def pass_time(self, seconds: float) -> None:
        self._clock.now += seconds
