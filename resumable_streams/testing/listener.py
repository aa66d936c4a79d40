"""A listener of a feed that keeps all it hears."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ..stores.base import BaseStore, Feed
from ..types import StreamKey

__all__ = ["RecordingListener", "listening"]


class RecordingListener:
    """A listener that keeps all news, and lets a test wait until it has heard enough."""

    def __init__(self) -> None:
        self.appends: list[tuple[StreamKey, str, int, bytes]] = []
        self.disturbances: list[StreamKey] = []
        self.control_changes: list[str | None] = []
        self._news = asyncio.Event()

    def appended(self, key: StreamKey, epoch: str, offset: int, data: bytes) -> None:
        self.appends.append((key, epoch, offset, data))
        self._news.set()

    def disturbed(self, key: StreamKey) -> None:
        self.disturbances.append(key)
        self._news.set()

    def control_changed(self, tenant: str | None) -> None:
        self.control_changes.append(tenant)
        self._news.set()

    def forget(self) -> None:
        """Start anew."""
        for heard in (self.appends, self.disturbances, self.control_changes):
            heard.clear()

    async def hear(self, condition: Callable[[], bool], *, timeout: float = 10) -> None:  # noqa: ASYNC109
        """Wait until `condition` holds of what was heard; raise TimeoutError if it never does."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def log(self, key: StreamKey) -> bytes:
        """Return the bytes that were pushed for `key`, which have to be without gap or overlap."""
        data = b""
        for _, _, offset, piece in (one for one in self.appends if one[0] == key):
            assert offset == len(data), f"pushed {offset} after {len(data)}"
            data += piece
        return data


@asynccontextmanager
async def listening(
    store: BaseStore, *keys: StreamKey
) -> AsyncIterator[tuple[RecordingListener, Feed]]:
    """Open a feed that watches `keys`, once that is confirmed."""
    listener = RecordingListener()
    feed = store.open_feed(listener)
    try:
        for key in keys:
            feed.watch(key)
        await listener.hear(lambda: set(keys) <= set(listener.disturbances))
        listener.forget()
        yield listener, feed
    finally:
        await feed.aclose()
