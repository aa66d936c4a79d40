"""The result of `run` and `resume`: one reader of one stream, at its own byte offset."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

from django.core.exceptions import SynchronousOnlyOperation

from ..compat import running_loop
from ..exceptions import (
    StoreUnavailable,
    StreamError,
    StreamFailed,
    StreamLimitExceeded,
    StreamUnfinished,
)
from ..formats import Encodings
from ..reading.tail import Tail
from ..types import Role, StreamInfo, StreamKey, StreamStatus
from . import Engine

__all__ = ["StreamReader", "collect"]


class StreamReader:
    """The bytes of one stream, for `async for` or (in sync code) `for`.

    Iteration ends when the stream is done or cancelled, which `info.status` tells. It raises
    StreamFailed when the stream ended with an error, ShuttingDown when this process drains and
    StoreUnavailable when the store stays away: after the last two, resume from `offset`.

    A cancelled `__anext__` loses nothing, and nothing that happens to a reader stops production.
    The code that iterates closes the reader; the end of the iteration, and garbage collection, do
    too.
    """

    def __init__(
        self,
        engine: Engine,
        key: StreamKey,
        info: StreamInfo,
        *,
        role: Role,
        control_version: int,
        offset: int = 0,
        live: bool = True,
    ):
        self.stream_id = key.stream_id
        self.role = role
        self.offset = offset
        self._engine = engine
        self._key = key
        self._info = info
        self._live = live
        self._control_version = control_version
        self._tail: Tail | None = None  # attached by the first read
        self._reading = False
        self._is_cleared = False
        self._closed = False

    @property
    def alias(self) -> str:
        """The alias of RESUMABLE_STREAMS that the stream belongs to."""
        return self._engine.settings.alias

    @property
    def info(self) -> StreamInfo:
        """The stream as this process last knew it; the terminal state after the end."""
        return self._info if self._tail is None else self._tail.info

    @property
    def encodings(self) -> Encodings | None:
        """Where readers of this process share what they made of the bytes they just got.

        None where sharing is of no use: there is one reader, or this one is behind the others.
        """
        return None if self._tail is None else self._tail.encodings_at(self.offset)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            raise StopAsyncIteration
        if asyncio.get_running_loop() is self._engine.loop:
            data = await self._next()
        else:
            data = await asyncio.wrap_future(self._engine.submit(self._next()))
        return self._advance(data, StopAsyncIteration)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._closed:
            raise StopIteration
        if running_loop() is not None:  # which would wait for itself
            raise SynchronousOnlyOperation("An event loop runs in this thread: use `async for`.")
        return self._advance(self._engine.wait_for(self._next()), StopIteration)

    async def _next(self) -> bytes | None:
        self._reading = True
        try:
            while not self._closed:
                if self._tail is None:
                    self._tail = self._engine.hub.open(self._info, self._key, live=self._live)
                if not self._is_cleared:
                    await self._clear(self._tail)
                    continue  # unless it was closed meanwhile, when nothing would wake it
                data = await self._tail.next(self.offset, live=self._live)
                if data != b"":
                    return data
            return None
        except StreamError:  # its last word: nobody has to close what has ended
            self.close()
            raise
        finally:
            self._reading = False

    async def _clear(self, tail: Tail) -> None:
        """Before the first byte, apply a change of control that arrived before there was a tail.

        `control_version` is the hub's count from before the control was read; later changes find
        the tail.
        """
        is_unsure = self._engine.hub.control_version != self._control_version
        if is_unsure and await self._engine.enforce_control([tail]):
            raise StoreUnavailable(self.alias)
        self._is_cleared = True

    def _advance(self, data: bytes | None, end: type[Exception]) -> bytes:
        if data is None or self._closed:
            self.close()
            raise end
        self.offset += len(data)
        return data

    def close(self) -> None:
        """Stop reading; safe from any thread, any number of times."""
        if self._closed:
            return
        self._closed = True
        if self._reading or self._tail is not None:
            with suppress(RuntimeError):  # the loop is gone, and the subscription with it
                self._engine.loop.call_soon_threadsafe(self._detach)

    def _detach(self) -> None:
        if self._tail is not None:
            self._engine.hub.close(self._tail)
            if self._reading:  # in another task, which ends now
                self._tail.wake()

    async def aclose(self) -> None:
        """Close the reader; for `contextlib.aclosing`."""
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StreamReader {self.stream_id} {self.role} at byte {self.offset}>"


async def collect(reader: StreamReader, most: int | None) -> bytes:
    """Return all bytes of a stream that has ended, at most so many, and close its reader."""
    info = reader.info
    try:
        if info.is_streaming:
            raise StreamUnfinished(info.size)
        if info.status is StreamStatus.ERROR:
            raise StreamFailed(info.error_code, info.error)
        if most is not None and info.size > most:
            raise StreamLimitExceeded("max_bytes", most)
        return b"".join([data async for data in reader])
    finally:
        reader.close()
