"""Appends without a task: while all goes well, each step of an append is a callback.

A task that waits for chunks, and for each answer, costs two wake-ups and ten frames a chunk. Here
the buffer tells of chunks, one callback a loop turn begins the append of all that have come, and
the connection calls back with its answer, where it reads it.

Everything but success leaves this path: the first bytes of a stream, a receiver that is told of
each append, a chunk larger than an append, a refusal, a connection that is away or breaks. The
producer takes the chunks then, appends them with its `Appender`, and comes back:

    an append was refused, or its    it may have been carried out; the `Appender` sends it again
    answer is lost                   from the same offset, and finds out
    cancelled                        the append in flight may be stored, or not; nobody is shown it
"""

import asyncio
import time
from dataclasses import dataclass

from ..reading.tail import Tail
from ..signals import stream_appended
from ..stores.base import MAX_APPEND_BYTES, BaseStore
from .appender import Appender
from .buffer import ChunkBuffer

__all__ = ["FastPath"]


@dataclass(frozen=True, slots=True)
class InFlight:
    """An append in flight; when it began is by `time.perf_counter`."""

    chunks: list[bytes]
    offset: int
    data: bytes
    began: float


class FastPath:
    """The appends of one stream, one in flight, for as long as nothing is special about them."""

    def __init__(self, store: BaseStore, tail: Tail, appender: Appender, buffer: ChunkBuffer):
        self._store = store
        self._tail = tail
        self._appender = appender
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._in_flight: InFlight | None = None
        self._left: list[bytes] = []
        self._done: asyncio.Future[None] | None = None  # while somebody waits in `take`
        self._is_due = False
        self.spent = 0.0
        """How many seconds passed until the append failed whose chunks `take` has returned."""

    async def take(self) -> list[bytes]:
        """Append until there are chunks for the `Appender`; return these, or none at the end.

        Raises the error of the buffer.
        """
        # The first bytes are waited for, and receivers of `stream_appended` may take their time.
        if not self._appender.end_offset or stream_appended.receivers:
            return await self._buffer.take()
        self.spent = 0.0
        self._done = self._loop.create_future()
        self._buffer.on_news = self._soon
        try:
            self._go_on()
            await self._done
        finally:
            self._buffer.on_news = self._done = self._in_flight = None
        left, self._left = self._left, []
        return left or await self._buffer.take()

    def _soon(self) -> None:
        """Go on in the next turn of the loop, with all that comes in this one."""
        if not self._is_due and self._in_flight is None:
            self._is_due = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_due = False
        if self._done is None or self._done.done() or self._in_flight is not None:
            return
        try:
            if self._buffer.is_over:
                self._done.set_result(None)
            elif chunks := self._buffer.take_now():
                self._begin(chunks)
        except Exception as error:  # nobody else would hear of it, and the stream would hang
            self._done.set_exception(error)

    def _begin(self, chunks: list[bytes]) -> None:
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        offset = self._appender.end_offset
        self._in_flight = InFlight(chunks, offset, data, time.perf_counter())
        is_special = len(data) > MAX_APPEND_BYTES or stream_appended.receivers
        if is_special or not self._store.begin_append(
            self._tail.key, self._appender.claim, offset, data, len(chunks), self._answered
        ):
            self._leave(chunks)

    def _leave(self, chunks: list[bytes]) -> None:
        self._left = chunks
        if self._done is not None:
            self._done.set_result(None)

    def _answered(self, is_stored: bool) -> None:
        """Take the answer, called by the store."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None or self._done is None or self._done.done():  # cancelled meanwhile
            return
        if not is_stored:
            self.spent = time.perf_counter() - in_flight.began
            self._leave(in_flight.chunks)
            return
        try:
            self._appender.show(in_flight.offset, in_flight.data, in_flight.began)
        except Exception as error:
            self._done.set_exception(error)
        else:
            self._go_on()
