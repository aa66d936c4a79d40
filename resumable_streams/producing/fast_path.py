"""Appends without a task: while all goes well, each step of an append is a callback.

A task that waits for chunks, and for each answer, costs two wake-ups and ten frames a chunk. Here
the buffer tells of chunks, the store is asked once to append them, takes all that have gathered
when its next write leaves, and calls back where it reads the answer.

Everything but success leaves this path: the first bytes of a stream, an async receiver of
`stream_appended`, a chunk larger than an append, a refusal, a connection that is away or breaks.
The producer takes the chunks then, appends them with its `Appender`, and comes back:

    an append was refused, or its    it may have been carried out; the `Appender` sends it again
    answer is lost                   from the same offset, and finds out
    cancelled                        the append in flight may be stored, or not; nobody is shown it
"""

import asyncio
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass

from ..reading.tail import Tail
from ..signals import stream_appended
from ..stores.base import MAX_APPEND_BYTES, BaseStore, PendingAppend
from .appender import Appender
from .buffer import ChunkBuffer

__all__ = ["FastPath"]


@dataclass(frozen=True, slots=True)
class Left:
    """Chunks that left the fast path; from an append that failed: its offset, and its seconds."""

    chunks: list[bytes]
    offset: int | None = None
    spent: float = 0.0


@dataclass(frozen=True, slots=True)
class InFlight:
    """An append in flight; when it began is by `time.perf_counter`."""

    chunks: list[bytes]
    offset: int
    data: bytes
    began: float


class FastPath(PendingAppend):
    """The appends of one stream, one at a time, for as long as nothing is special about them."""

    def __init__(
        self,
        store: BaseStore,
        tail: Tail,
        appender: Appender,
        buffer: ChunkBuffer,
        *,
        tell: Callable[..., None],
    ):
        self._store = store
        self._tail = tail
        self._appender = appender
        self._buffer = buffer
        self._tell = tell
        self._is_pending = False  # the store will ask for bytes
        self._in_flight: InFlight | None = None
        self._left: Left | None = None
        self._done: asyncio.Future[None] | None = None  # while somebody waits in `follow`
        self._context = copy_context()
        self._is_open = _begins_appends(type(store))

    async def follow(self) -> Left | None:
        """Append until there are chunks for the `Appender`; return these, or None at the end.

        Raises the error of the buffer.
        """
        # The first bytes are waited for, and async receivers may take their time.
        if self._is_open and self._appender.end_offset and not self._is_awaited:
            await self._follow()
        left, self._left = self._left, None
        if left is None and (chunks := await self._buffer.take()):
            left = Left(chunks)
        return left

    @property
    def _is_awaited(self) -> bool:
        return stream_appended.is_awaited(type(self._store))

    async def _follow(self) -> None:
        self._context = copy_context()  # receivers are told in that of the producer
        self._done = asyncio.get_running_loop().create_future()
        self._buffer.on_news = self._go_on
        try:
            self._go_on()
            await self._done
        finally:
            self._buffer.on_news = self._done = self._in_flight = None

    def _go_on(self) -> None:
        """Have the store append what there is, unless it is about to; or leave at the end."""
        if self._is_pending or self._in_flight is not None or self._has_left:
            return
        if self._buffer.has_chunks:
            self._is_pending = True
            if not self._store.begin_append(self._tail.key, self._appender.claim, self):
                self._is_pending = False
                self._leave()
        elif self._buffer.is_over:
            self._leave()

    @property
    def _has_left(self) -> bool:
        return self._done is None or self._done.done()

    def _leave(self, left: Left | None = None) -> None:
        """Leave, without chunks if they are in the buffer still."""
        if self._done is not None and not self._done.done():
            self._left = left
            self._done.set_result(None)

    # Called by the store.

    def take(self) -> tuple[int, bytes, int] | None:
        self._is_pending = False
        if self._has_left:
            return None
        chunks = self._buffer.take_now()
        if not chunks:  # the stream was stopped meanwhile
            self._go_on()
            return None
        if len(chunks[0]) > MAX_APPEND_BYTES or self._is_awaited:
            self._leave(Left(chunks))
            return None
        data = b"".join(chunks)
        self._in_flight = InFlight(chunks, self._appender.end_offset, data, time.perf_counter())
        return self._in_flight.offset, data, len(chunks)

    def answered(self, is_stored: bool) -> None:
        in_flight, self._in_flight, self._is_pending = self._in_flight, None, False
        if self._has_left:  # cancelled meanwhile
            return
        if in_flight is None:  # nothing has left
            self._leave()
        elif is_stored:
            self._show(in_flight)
        else:
            spent = time.perf_counter() - in_flight.began
            self._leave(Left(in_flight.chunks, in_flight.offset, spent))

    def _show(self, sent: InFlight) -> None:
        duration = time.perf_counter() - sent.began
        try:
            self._appender.show(sent.offset, sent.data, sent.began)
            if stream_appended.receivers:
                self._context.run(
                    self._tell,
                    stream_appended,
                    offset=sent.offset,
                    size=len(sent.data),
                    chunks=len(sent.chunks),
                    duration=duration,
                )
        except Exception as error:  # nobody else would hear of it, and the stream would hang
            if self._done is not None and not self._done.done():
                self._done.set_exception(error)
        else:
            self._go_on()


def _begins_appends(store: type[BaseStore]) -> bool:
    """Return whether `begin_append` does as `append`, which a subclass may have changed alone."""
    for kind in store.__mro__:
        if "begin_append" in vars(kind):
            return kind is not BaseStore
        if "append" in vars(kind):
            return False
    return False
