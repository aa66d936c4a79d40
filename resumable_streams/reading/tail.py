"""One stream as a process knows it: the end of its log, its last bytes, and its readers.

A `Tail` keeps the last bytes of the log in a `Window` that all local readers share; those who are
behind it read pages from the store. The rules:

- The next bytes in order extend the window. Bytes that are known are ignored. Bytes beyond a gap
  restart the window: readers below it read pages until they have caught up. A slow reader is the
  same case, so it holds no memory here.
- A tail ends once: with the terminal state, or with the error its readers get.

Nothing here awaits between taking a byte and handing it over, and a reader asks by offset, so a
cancelled reader loses nothing.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ..exceptions import ShuttingDown, StoreUnavailable, StreamError, StreamFailed, fresh
from ..formats import Encodings
from ..signals import StreamSignal, news_missed, producer_lost, reader_lagged, stream_delivered
from ..stores.base import BaseStore
from ..types import ErrorCode, StreamInfo, StreamKey, StreamStatus

__all__ = ["PAGE_BYTES", "Tail", "Window"]

PAGE_BYTES = 262_144
WINDOW_BYTES = 262_144
PAGE_AGAIN_SECONDS = 0.05


class Window:
    """The last bytes of a log: at most `limit` after each append, never less than the newest.

    `encodings` has what readers made of them, until the next append.
    """

    __slots__ = ("_buffer", "_last", "_last_start", "encodings", "limit", "start")

    def __init__(self, start: int, limit: int = WINDOW_BYTES):
        self.start = start
        self.limit = limit
        self._buffer = bytearray()
        self._last = b""  # the newest append as it came: most readers want exactly this object
        self._last_start = start
        self.encodings: Encodings = {}

    @property
    def end(self) -> int:
        return self.start + len(self._buffer)

    def append(self, data: bytes) -> None:
        self._last, self._last_start = data, self.end
        self.encodings = {}
        self._buffer += data
        excess = len(self._buffer) - self.limit
        if excess > 0:
            del self._buffer[:excess]
            self.start += excess

    def restart(self, start: int) -> None:
        self.start = self._last_start = start
        self._buffer.clear()
        self._last = b""
        self.encodings = {}

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
        "_dismissed",
        "_failure",
        "_pages",
        "_patience",
        "_stop_producer",
        "_store",
        "_waiting",
        "appended_at",
        "cut_off",
        "heard_at",
        "info",
        "is_local",
        "is_settled",
        "key",
        "readers",
        "window",
    )

    def __init__(
        self, store: BaseStore, info: StreamInfo, key: StreamKey, *, patience: float = 0.0
    ):
        self.key = key
        self.info = info
        self.window = Window(info.size)
        self.readers = 0
        self.cut_off = ""  # the act of an operator that ended it here: a CutOff
        self.is_local = False  # fed by a producer of this process, which knows first
        self.is_settled = False  # looked up once subscribed: a gap is a loss from then on
        self.appended_at = 0.0  # of the newest bytes, by `time.perf_counter`
        self.heard_at = 0.0  # when there was news of it last, by the loop's clock
        self._stop_producer: Callable[[], None] | None = None
        self._store = store
        self._patience = patience  # seconds that a page waits for a store that is away
        self._waiting: dict[asyncio.Future[None], None] = {}  # the readers that have it all
        self._failure: StreamError | None = None
        self._dismissed = False
        self._pages: dict[int, asyncio.Task[bytes]] = {}

    # Who uses it: readers, and at most one producer of this process.

    @property
    def is_used(self) -> bool:
        return self.is_local or self.readers > 0

    def attach(self) -> None:
        """Count one more reader."""
        self.readers += 1

    def detach(self) -> None:
        """Count one reader less."""
        self.readers -= 1

    def attach_producer(self) -> None:
        """Expect the news of this stream from a producer here, and from nobody else."""
        self.is_local = True

    def stop_with(self, stop: Callable[[], None]) -> None:
        """Have `stop` called when the stream ends by anything but its producer here."""
        self._stop_producer = stop
        if self.has_ended:
            stop()

    def release_producer(self) -> Callable[[], None] | None:
        """Leave the producer alone from now on; return what would have stopped it, if anything."""
        stop, self._stop_producer = self._stop_producer, None
        return stop

    def detach_producer(self) -> None:
        """Expect news from the store again; a gap is no loss until the stream is looked up."""
        self.release_producer()
        self.is_local = self.is_settled = False

    def hear(self, now: float) -> None:
        """Note that there was news of the stream, by the loop's clock."""
        self.heard_at = now

    # What is known of it.

    @property
    def has_ended(self) -> bool:
        return self._failure is not None or not self.info.is_streaming

    @property
    def failure(self) -> StreamError | None:
        """The error that ended the readers here, if it was not an end in the store."""
        return self._failure

    @property
    def ending(self) -> str:
        """How the stream ended, as far as is known here: an error's code, a status, or nothing."""
        if self._failure is not None:
            return self._failure.code if isinstance(self._failure, StreamFailed) else ""
        return "" if self.info.is_streaming else self.info.error_code or self.info.status

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

    def own(self, info: StreamInfo | None) -> StreamInfo | None:
        """Return a state if it is of this incarnation; None: the stream is gone."""
        return info if info is not None and info.epoch == self.info.epoch else None

    def learn(self, info: StreamInfo | None) -> None:
        """Take the state as the store has it now; None: the stream is gone."""
        if self.has_ended:
            return
        info = self.own(info)
        if info is None:
            self.fail(StreamFailed(ErrorCode.EXPIRED))
            return
        if not info.is_streaming and info.size < self.window.end:  # and nobody sends it again
            self.fail(StreamFailed(ErrorCode.DATA_LOST))
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
        if not info.is_streaming and self._stop_producer:
            self._stop_producer()

    def fail(self, error: StreamError) -> None:
        """End every reader with `error`, for good: later news of the store change nothing."""
        if self._failure is None:
            self._failure = error
            self.wake()
            if self._stop_producer:
                self._stop_producer()

    def dismiss(self) -> None:
        """End every reader with ShuttingDown; a producer that feeds this tail goes on."""
        self._dismissed = True
        self.wake()

    def encodings_at(self, offset: int) -> Encodings | None:
        """Return where readers that have just come to the end share their work; None for others."""
        encodings = self.window.encodings  # first: bytes may come in between, from another thread
        return encodings if self.readers > 1 and offset == self.window.end else None

    def wake(self) -> None:
        """Have every waiting reader look again."""
        waiting, self._waiting = self._waiting, {}
        for news in waiting:
            if not news.done():  # its reader was cancelled, and has not gone on yet
                news.set_result(None)

    async def next(self, offset: int, *, live: bool = True) -> bytes | None:
        """Return bytes from `offset` on; none when there is news but no bytes; None at the end.

        With `live=False` the end is where the log ends now. Raises what ended the stream: at once
        where the stream is gone or revoked, else when the reader has all that was stored before.
        Each reader gets an exception of its own.
        """
        # The order matters. First those who get nothing more, though the bytes may be here: this
        # process drains, or the stream was revoked, deleted or lost.
        if self._dismissed:
            raise ShuttingDown
        if isinstance(self._failure, StreamFailed):
            raise fresh(self._failure)
        # Then the bytes: before any other end, so that a stream which failed, and a store that went
        # away, still give what was stored.
        if data := self.window.read(offset):
            return data
        if offset < self.window.end:  # stored, and not in the window any more
            if reader_lagged.receivers and self.info.is_streaming:
                self.emit(reader_lagged, offset=offset, lag=self.window.end - offset)
            return await self._page(offset)
        # Then the ends, for readers who have it all.
        if self._failure is not None:
            raise fresh(self._failure)
        if self.info.status is StreamStatus.ERROR:
            raise StreamFailed(self.info.error_code, self.info.error)
        if not live or not self.info.is_streaming:
            return None
        # Nothing was awaited since the first test, so no news can have come in between.
        news = self._expect_news()
        try:
            await news
        finally:
            self._waiting.pop(news, None)  # where the reader was cancelled
        if stream_delivered.receivers:
            self._deliver(offset)
        return b""

    def _expect_news(self) -> asyncio.Future[None]:
        """Return what the next `wake` completes."""
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[news] = None
        return news

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
        await asyncio.wait([task])  # it goes on for the others when this reader is cancelled
        if isinstance(error := task.exception(), StreamError):
            raise fresh(error)
        return task.result()

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
                if page is None or self.own(page.info) is None:
                    raise StreamFailed(ErrorCode.EXPIRED)
            except StoreUnavailable as error:
                if is_late or error.is_final:
                    raise
            else:
                if page.data:
                    return page.data
                # Evicted, or restored from an old copy, unless a living producer makes it good.
                if is_late or page.info.size > offset or not page.info.is_streaming:
                    raise StreamFailed(ErrorCode.DATA_LOST)
            if self._dismissed:
                raise ShuttingDown
            await asyncio.sleep(PAGE_AGAIN_SECONDS)
