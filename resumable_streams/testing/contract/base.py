"""The base of every part of the contract."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

from ...stores.base import MAX_APPEND_BYTES, BaseStore
from ...types import Limits

__all__ = ["ALL_BYTES", "StoreTests"]

ALL_BYTES = bytes(range(256))
STEP_SECONDS = 0.02
PATIENCE_SECONDS = 10.0


class StoreTests:
    """What every part of the contract needs: limits, a second connection, a clock."""

    limits: ClassVar[Limits] = Limits(
        max_stream_bytes=2 * MAX_APPEND_BYTES,
        max_entries_per_stream=1_000,
        max_streams=3,
        max_streams_per_owner=2,
    )
    """What the store has to be made with: some tests go exactly to these limits."""

    short: ClassVar[float] = 0.25
    """The leases and lifetimes (seconds) that tests let run out."""

    @asynccontextmanager
    async def another(self, store: BaseStore) -> AsyncIterator[BaseStore]:
        """Open a second store object on the same streams, as another process would have."""
        yield store

    async def pass_time(self, seconds: float) -> None:
        """Let the store's clock go on by at least `seconds`."""
        await asyncio.sleep(seconds)

    async def eventually(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Let time pass until `condition` holds."""
        for _ in range(int(PATIENCE_SECONDS / STEP_SECONDS)):
            if await condition():
                return
            await self.pass_time(STEP_SECONDS)
        raise AssertionError("it never came to hold")
