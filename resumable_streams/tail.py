"""The hub: what was appended, pushed to every reader of this process.

    feed ──► Hub ──► Tail (one a stream) ──► window ──► readers, each at its own offset
                                       └───► pages from the store, for those who are behind

A `Tail` knows where the log ends and keeps its last bytes in a `Window` that all local readers
share. News arrives from the local producer, directly, or from the store's feed. The rules:

- The next bytes in order extend the window. Bytes that are known are ignored. Bytes beyond a gap
  restart the window: readers below it read pages until they have caught up. A slow reader is the
  same case, so it holds no memory here.
- A feed may lose news, never invent it. Whenever it may have (`disturbed`), and when a stream was
  silent until its lease ran out, the tail is *stale*: its state is looked up, all stale tails of
  the process in one batch. That look-up also declares a dead producer lost.
- A tail ends once: with the terminal state, or with the error its readers get.

Nothing here awaits between taking a byte and handing it over, and a reader asks by offset, so a
cancelled reader loses nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from .exceptions import ShuttingDown, StoreUnavailable, StreamError, StreamFailed
from .signals import (
    StreamSignal,
    feed_connected,
    news_missed,
    producer_lost,
    reader_closed,
    reader_opened,
    stream_delivered,
)
from .stores.base import BaseStore
from .types import ErrorCode, StreamInfo, StreamKey, StreamStatus

__all__ = ["PAGE_BYTES", "Hub", "Tail", "Window"]

logger = logging.getLogger("resumable_streams.tail")

PAGE_BYTES = 262_144
WINDOW_BYTES = 262_144
PAGE_AGAIN_SECONDS = 0.05


class Window:
    """The last bytes of a log: at most `limit` after each append, never less than the newest."""

    __slots__ = ("_buffer", "_last", "_last_start", "limit", "start")

    def __init__(self, start: int, limit: int = WINDOW_BYTES):
        self.start = start
        self.limit = limit
        self._buffer = bytearray()
        self._last = b""  # the newest append as it came: most readers want exactly this object
        self._last_start = start

    @property
    def end(self) -> int:
        return self.start + len(self._buffer)

    def append(self, data: bytes) -> None:
        self._last, self._last_start = data, self.end
        self._buffer += data
        excess = len(self._buffer) - self.limit
        if excess > 0:
            del self._buffer[:excess]
            self.start += excess

    def restart(self, start: int) -> None:
        self.start = self._last_start = start
        self._buffer.clear()
        self._last = b""

    def read(self, offset: int, limit: int = PAGE_BYTES) -> bytes:
        """Return what is here from `offset` on; empty when there is nothing, or not any more."""
        if offset == self._last_start and len(self._last) <= limit:
            return self._last
        if not self.start <= offset < self.end:
            return b""
        at = offset - self.start
        return bytes(self._buffer[at : at + limit])


class Tail:
    """One stream, as this process knows it."""

    __slots__ = (
        "_changed",
        "_dismissed",
        "_failure",
        "_pages",
        "_patience",
        "_store",
        "appended_at",
        "check_at",
        "info",
        "is_local",
        "is_settled",
        "key",
        "on_end",
        "users",
        "window",
    )

    def __init__(
        self, store: BaseStore, info: StreamInfo, key: StreamKey, *, patience: float = 0.0
    ):
        self.key = key
        self.info = info
        self.window = Window(info.size)
        self.users = 0
        self.is_local = False  # fed by a producer of this process, which knows first
        self.is_settled = False  # looked up once subscribed: a gap is a loss from then on
        self.appended_at = 0.0  # of the newest bytes, by `time.perf_counter`
        self.check_at = 0.0
        self.on_end: Callable[[], None] | None = None
        self._store = store
        self._patience = patience  # seconds that a page waits for a store that is away
        self._changed = asyncio.Event()
        self._failure: StreamError | None = None
        self._dismissed = False
        self._pages: dict[int, asyncio.Task[bytes]] = {}

    @property
    def has_ended(self) -> bool:
        return self._failure is not None or not self.info.is_streaming

    def replaces(self, info: StreamInfo) -> bool:
        """Return whether this is the stream that came after `info` under the same id."""
        if self.info.epoch == info.epoch:
            return False
        # One of the same millisecond: a producer of ours was elected, and heard of it, just now.
        return (self.info.created, self.is_local) > (info.created, False)

    def push(self, offset: int, data: bytes, appended_at: float = 0.0) -> None:
        """Take bytes that the store has accepted; when is for measuring only."""
        known = self.window.end
        if offset + len(data) <= known:
            return
        if offset > known:
            self._missed(offset)
            self.window.restart(offset)
        elif offset < known:
            data = data[known - offset :]
        self.window.append(data)
        self.appended_at = appended_at
        self.wake()

    def learn(self, info: StreamInfo | None) -> None:
        """Take the state as the store has it now; None, or another incarnation: it is gone."""
        if self.has_ended:
            return
        if info is None or info.epoch != self.info.epoch:
            self.fail(StreamFailed(ErrorCode.EXPIRED))
            return
        self.info = info
        if info.size > self.window.end:
            self._missed(info.size)
            self.window.restart(info.size)
        self.is_settled = True
        if info.error_code == ErrorCode.PRODUCER_LOST and producer_lost.receivers:
            seen_by = "producer" if self.is_local else "reader"
            self.emit(producer_lost, seen_by=seen_by, size=info.size)
        self.wake()
        if not info.is_streaming and self.on_end:
            self.on_end()

    def fail(self, error: StreamError) -> None:
        """End every reader with `error`, whatever the store says later."""
        if self._failure is None:
            self._failure = error
            self.wake()
            if self.on_end:
                self.on_end()

    def dismiss(self) -> None:
        """End every reader with ShuttingDown; a producer that feeds this tail goes on."""
        self._dismissed = True
        self.wake()

    def wake(self) -> None:
        """Have every waiting reader look again."""
        self._changed.set()
        self._changed.clear()

    async def next(self, offset: int, *, live: bool = True) -> bytes | None:
        """Return bytes from `offset` on; none when there is news but no bytes; None at the end.

        With `live=False` the end is where the log ends now. Raises what ended the stream, once
        the reader has everything that was stored before.
        """
        if self._dismissed:
            raise ShuttingDown
        if isinstance(self._failure, StreamFailed):
            raise self._failure
        if data := self.window.read(offset):
            return data
        if offset < self.window.end:
            return await self._page(offset)
        if self._failure is not None:
            raise self._failure
        if self.info.status is StreamStatus.ERROR:
            raise StreamFailed(self.info.error_code, self.info.error)
        if not live or not self.info.is_streaming:
            return None
        await self._changed.wait()
        if stream_delivered.receivers:
            self._deliver(offset)
        return b""

    def _missed(self, offset: int) -> None:
        if news_missed.receivers and self.is_settled and not self.is_local:
            self.emit(news_missed, offset=offset, missing=offset - self.window.end)

    def _deliver(self, offset: int) -> None:
        """Tell how long it took until a reader that waits at `offset` is given the newest bytes."""
        if self.window.start <= offset < self.window.end:
            self.emit(
                stream_delivered,
                offset=offset,
                size=self.window.end - offset,
                latency=time.perf_counter() - self.appended_at,
            )

    def emit(self, signal: StreamSignal, **named: Any) -> None:
        """Send a signal about this stream."""
        signal.emit(
            type(self._store),
            alias=self._store.alias,
            tenant=self.key.tenant,
            generation=self.key.generation,
            stream_id=self.key.stream_id,
            epoch=self.info.epoch,
            owner=self.info.owner,
            **named,
        )

    async def _page(self, offset: int) -> bytes:
        """Read from the store; readers who are at the same byte share the read."""
        task = self._pages.get(offset)
        if task is None:
            task = asyncio.create_task(self._read(offset), name="resumable_streams.tail.page")
            self._pages[offset] = task
            task.add_done_callback(lambda done: self._page_done(offset, done))
        return await asyncio.shield(task)

    def _page_done(self, offset: int, task: asyncio.Task[bytes]) -> None:
        del self._pages[offset]
        if not task.cancelled():
            task.exception()  # its readers may all be gone; that is no fault

    async def _read(self, offset: int) -> bytes:
        """Read a page; wait while the store is away, or is to get again what it has lost."""
        give_up = time.monotonic() + self._patience
        while True:
            is_late = time.monotonic() >= give_up
            try:
                page = await self._store.read(self.key, offset, PAGE_BYTES)
            except StoreUnavailable:
                if is_late:
                    raise
            else:
                if page is None or page.info.epoch != self.info.epoch:
                    raise StreamFailed(ErrorCode.EXPIRED)
                if page.data:
                    return page.data
                # Evicted, or restored from an old copy, unless a living producer makes it good.
                if is_late or page.info.size > offset or not page.info.is_streaming:
                    raise StreamFailed(ErrorCode.DATA_LOST)
            if self._dismissed:
                raise ShuttingDown
            await asyncio.sleep(PAGE_AGAIN_SECONDS)


class Hub:
    """All tails of one store in this process, its one feed, and the sweep that keeps them honest.

    Lives on the home loop. `lease`, `sweep` and `store_timeout` are seconds.
    """

    def __init__(
        self,
        store: BaseStore,
        *,
        lease: float,
        sweep: float,
        store_timeout: float,
        on_governed: Callable[[str | None], None],
    ):
        self._store = store
        self._lease = lease
        self._sweep = sweep
        self._store_timeout = store_timeout
        self._loop = asyncio.get_running_loop()
        self._tails: dict[StreamKey, Tail] = {}
        self._settled: set[Tail] = set()  # readers of finished streams, one tail each
        self.rulings = 0  # how often the standing of some tenant changed, as far as we heard
        self._on_governed = on_governed
        self._was_connected = False
        self._stale: set[Tail] = set()
        self._wake = asyncio.Event()
        self._feed = store.feed(self)
        self._tasks = [
            self._loop.create_task(self._refresh_forever(), name="resumable_streams.hub.refresh"),
            self._loop.create_task(self._sweep_forever(), name="resumable_streams.hub.sweep"),
        ]

    def open(self, info: StreamInfo, key: StreamKey, *, live: bool = True) -> Tail:
        """Return the tail of a stream; close it with `close`.

        Who reads a finished stream, or what is stored now, needs no news. Who comes with the state
        of an incarnation that has been replaced since, is told so.
        """
        known = self._tails.get(key)
        replaced = known is not None and known.replaces(info)
        if replaced or not (live and info.is_streaming):
            tail = self._tail(info, key)
            self._settled.add(tail)
            if replaced:
                tail.fail(StreamFailed(ErrorCode.EXPIRED))
        elif known is None or known.has_ended or known.info.epoch != info.epoch:
            tail = self._follow(self._tail(info, key))
        else:
            tail = known
        tail.users += 1
        if reader_opened.receivers:
            tail.emit(reader_opened, status=info.status, readers=tail.users - tail.is_local)
        return tail

    def open_local(self, info: StreamInfo, key: StreamKey) -> Tail:
        """Return the tail that a producer of this process feeds; end it with `close_local`."""
        tail = self._tails.get(key)
        if tail is not None and self._may_go_on(tail, info):
            self._feed.unwatch(key)
            tail.learn(info)
        else:
            tail = self._tail(info, key)
            self._register(tail)
        tail.is_local = True
        tail.users += 1
        return tail

    def _may_go_on(self, tail: Tail, info: StreamInfo) -> bool:
        """Return whether the readers of `tail` can be fed by a producer that starts at `info`.

        One that takes a stream over does not know what another one wrote: neither may its tail be
        that of a producer here, nor may readers have bytes that the store has lost since.
        """
        is_same = tail.info.epoch == info.epoch and not (tail.has_ended or tail.is_local)
        return is_same and tail.window.end <= info.size

    def close(self, tail: Tail) -> None:
        if not tail.users:
            return
        self._leave(tail)
        if reader_closed.receivers:
            tail.emit(reader_closed, size=tail.window.end, readers=tail.users - tail.is_local)

    def _leave(self, tail: Tail) -> None:
        if tail.users:
            tail.users -= 1
            if not tail.users:
                self._settled.discard(tail)
                self._forget(tail)

    def close_local(self, tail: Tail) -> None:
        """Give up a producer's tail; readers that stay are told by the feed from now on."""
        tail.is_local = False
        tail.on_end = None
        if self._tails.get(tail.key) is tail and tail.users > 1 and not tail.has_ended:
            tail.is_settled = False
            self._follow(tail)
        self._leave(tail)

    def _tail(self, info: StreamInfo, key: StreamKey) -> Tail:
        return Tail(self._store, info, key, patience=self._store_timeout)

    def _follow(self, tail: Tail) -> Tail:
        # The confirmation of the subscription makes the tail stale: what was appended between the
        # look that made it and the subscription is found then.
        self._register(tail)
        tail.check_at = self._loop.time() + tail.info.lease
        self._feed.watch(tail.key)
        return tail

    def _register(self, tail: Tail) -> None:
        old = self._tails.get(tail.key)
        if old is not None and old is not tail:
            old.learn(tail.info)  # another incarnation, which ends those who read the old one
            if not old.has_ended:  # the same, from another producer: they resume with that one
                old.dismiss()
            self._forget(old)
        self._tails[tail.key] = tail

    def _forget(self, tail: Tail) -> None:
        if self._tails.get(tail.key) is tail:
            del self._tails[tail.key]
            self._stale.discard(tail)
            if not tail.is_local:
                self._feed.unwatch(tail.key)

    @property
    def tails(self) -> Sequence[Tail]:
        """All streams that are read or produced in this process now."""
        return [*self._tails.values(), *self._settled]

    # What the feed calls.

    def appended(self, key: StreamKey, epoch: str, offset: int, data: bytes) -> None:
        tail = self._tails.get(key)
        if tail is None:
            return
        if epoch != tail.info.epoch:
            self.suspect(tail)
            return
        tail.push(offset, data, time.perf_counter())
        # Whoever appended renewed the lease.
        tail.check_at = self._loop.time() + self._lease

    def disturbed(self, key: StreamKey) -> None:
        tail = self._tails.get(key)
        if tail is not None:
            self.suspect(tail)

    def governed(self, tenant: str | None) -> None:
        self.rulings += 1
        if tenant is None:  # what a feed says whenever it is connected
            if feed_connected.receivers:
                again = self._was_connected
                feed_connected.emit(type(self._store), alias=self._store.alias, again=again)
            self._was_connected = True
        self._on_governed(tenant)

    # What keeps the tails honest.

    def suspect(self, tail: Tail) -> None:
        """Look the tail's state up soon, with all others that are stale by then."""
        if not tail.has_ended:
            self._stale.add(tail)
            self._wake.set()

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep)
            now = self._loop.time()
            for tail in self._tails.values():
                if not tail.is_local and tail.check_at <= now:
                    self.suspect(tail)

    async def _refresh_forever(self) -> None:
        failing_since: float | None = None
        while True:
            await self._wake.wait()
            self._wake.clear()
            stale, self._stale = list(self._stale), set()
            try:
                await self._refresh(stale)
                failing_since = None
            except Exception as error:
                if not isinstance(error, StoreUnavailable):
                    logger.exception("Looking up the state of streams failed.")
                failing_since = failing_since or self._loop.time()
                if self._loop.time() - failing_since > self._store_timeout:
                    for tail in stale:
                        tail.fail(StoreUnavailable(self._store.alias))
                else:
                    self._stale.update(stale)
                    self._wake.set()
                    await asyncio.sleep(min(0.2, self._store_timeout / 4))

    async def _refresh(self, stale: Sequence[Tail]) -> None:
        infos = await self._store.status([tail.key for tail in stale])
        now = self._loop.time()
        for tail, info in zip(stale, infos, strict=True):
            tail.learn(info)
            if info is not None:
                tail.check_at = now + info.lease

    async def aclose(self) -> None:
        """End every reader with ShuttingDown, then close the feed."""
        for tail in self.tails:
            tail.dismiss()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._feed.aclose()
