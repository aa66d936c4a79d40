"""From the source to the store: gather, append, end.

Two tasks and a bounded buffer between them. One advances the source; the other appends, one append
in flight, and what the source yields meanwhile *gathers* and leaves with the next append. A slow
source pays one round trip a chunk and waits for none; a fast one is limited by bytes, not by round
trips; a full buffer makes the source wait.

What can go wrong, and what is left then:

    an append's answer is lost      sent again from the same offset: the store skips what it has
    the store went back in time     it answers with a gap, and we send the missing bytes again from
                                    the window we keep; older than that, the stream ends data_lost
    the store is away               retried with backoff for STORE_TIMEOUT, then we stop; if it
                                    comes back it finds the lease run out: producer_lost
    the claim is lost               we stop at once and write nothing more
    we are cancelled (drain)        the source is closed, the stream ends interrupted
    the process dies                the lease runs out: producer_lost
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from .conf import AliasSettings
from .exceptions import (
    StoreUnavailable,
    StreamClaimLost,
    StreamDoesNotExist,
    StreamError,
    StreamFailed,
    StreamFinalized,
    StreamGap,
    StreamLimitExceeded,
)
from .gathering import Gathering
from .signals import (
    StreamSignal,
    stream_appended,
    stream_failed,
    stream_finalized,
    stream_started,
    whose,
)
from .sources import Chunk, Source, encode, open_source
from .stores.base import MAX_APPEND_BYTES, BaseStore
from .tail import Tail
from .types import Claim, ErrorCode, Standing, StreamInfo, StreamStatus

__all__ = ["Producer"]

logger = logging.getLogger("resumable_streams.producer")

T = TypeVar("T")

FIRST_BACKOFF_SECONDS = 0.02
MAX_BACKOFF_SECONDS = 1.0
CLOSE_SECONDS = 5.0


class SourceFailed(Exception):
    """Carry what the source raised, as the cause, past everything that the store may raise."""


class HookFailed(Exception):
    """Carry what a receiver raised, as the cause, past the same."""


class Producer:
    """Produce one stream whose claim we hold, from its source to its end."""

    def __init__(
        self,
        *,
        store: BaseStore,
        settings: AliasSettings,
        claim: Claim,
        tail: Tail,
        source: Source,
    ):
        self.key = tail.key
        self.claim = claim
        self.tail = tail
        self.renewed_at = time.monotonic()
        self._store = store
        self._settings = settings
        self._source = source
        self._started = time.monotonic()
        self._gathering = Gathering()
        self._most = settings.limits.max_chunk_bytes

    async def run(self) -> None:
        """Produce until the end; raises nothing but a cancellation."""
        self.tail.on_end = self._ended_elsewhere
        gather = asyncio.create_task(
            self._gather(), name=f"resumable_streams.source {self.key.stream_id}"
        )
        is_whole = False
        try:
            while chunks := await self._gathering.take():
                await self._append(chunks)
            is_whole = True
            await self._stop(gather)
            await self._finalize(StreamStatus.DONE)
        except asyncio.CancelledError:
            # The loop's last wish: one bounded write, then the cancellation goes on. Whatever had
            # been stored by then is told as what it is: an end that was reached stays.
            await self._stop(gather)
            if is_whole:
                await self._finalize(StreamStatus.DONE)
            else:
                await self._finalize(StreamStatus.ERROR, ErrorCode.INTERRUPTED)
            raise
        except Exception as error:
            await self._stop(gather)
            await self._fail(error)

    def _ended_elsewhere(self) -> None:
        """Stop: the stream was cancelled, deleted, taken over, or its lease ran out."""
        self._gathering.abort(StreamFinalized(self.tail.info.status))

    def lose_claim(self) -> None:
        """Stop: the store says that somebody else produces this stream, or nobody any more."""
        self._gathering.abort(StreamClaimLost())

    # From the source.

    async def _gather(self) -> None:
        try:
            if stream_started.receivers:
                await self._notify(stream_started)
            async with open_source(self._source) as chunks:
                await self._gather_from(chunks)
        except HookFailed as error:
            self._gathering.close(error)
        except BaseException as error:
            if not self._source_failed(error) and isinstance(error, Exception):
                logger.error("A source failed while it was closed.", exc_info=error)
            if not isinstance(error, Exception):
                raise

    async def _gather_from(self, chunks: AsyncIterator[Chunk]) -> None:
        """Gather until the source ends; that is said before it is closed, which may take long."""
        try:
            async for chunk in chunks:
                data = encode(chunk)
                if self._most is not None and len(data) > self._most:
                    self._gathering.close(StreamLimitExceeded("MAX_CHUNK_BYTES", self._most))
                    return
                if data and not await self._gathering.put(data):
                    return
        except BaseException as error:
            # Also a cancellation: ours comes when nobody takes any more, one of the source's own
            # making must end the stream. And what was raised after ours must be told by somebody.
            if not self._source_failed(error) or not isinstance(error, Exception):
                raise
        else:
            self._gathering.close()

    def _source_failed(self, error: BaseException) -> bool:
        failure = SourceFailed()
        failure.__cause__ = error
        return self._gathering.close(failure)

    async def _stop(self, gather: asyncio.Task[None]) -> None:
        """Close the source, within bounds; it may be deaf to its cancellation."""
        self._gathering.abort()
        gather.cancel()
        await asyncio.wait([gather], timeout=CLOSE_SECONDS)

    # To the store.

    async def _append(self, chunks: list[bytes]) -> None:
        if len(chunks[0]) > MAX_APPEND_BYTES:
            await self._append_in_pieces(chunks[0])
            return
        try:
            await self._store_bytes(b"".join(chunks), len(chunks))
        except StreamLimitExceeded:
            if len(chunks) == 1:
                raise
            # Gathering must not change what a limit lets through: find the chunk that hits it.
            for chunk in chunks:
                await self._store_bytes(chunk, 1)

    async def _append_in_pieces(self, chunk: bytes) -> None:
        for start in range(0, len(chunk), MAX_APPEND_BYTES):
            await self._store_bytes(chunk[start : start + MAX_APPEND_BYTES], int(start == 0))

    async def _store_bytes(self, data: bytes, chunks: int) -> None:
        """Append what follows the last acknowledged byte; readers see it when it is stored."""
        started = time.perf_counter()
        offset = self.tail.window.end
        await self._persist_after_gap(offset, data, chunks)
        self.tail.push(offset, data, started)
        if stream_appended.receivers:
            await self._notify(
                stream_appended,
                offset=offset,
                size=len(data),
                chunks=chunks,
                duration=time.perf_counter() - started,
            )

    async def _persist_after_gap(self, offset: int, data: bytes, chunks: int) -> None:
        while True:
            try:
                await self._persist(offset, data, chunks)
                return
            except StreamGap as gap:
                await self._send_again(gap.size, offset)

    async def _send_again(self, start: int, end: int) -> None:
        """Replace acknowledged bytes that the store has lost since, from our window."""
        while start < end:
            data = self.tail.window.read(start, MAX_APPEND_BYTES)
            if not data:
                raise StreamFailed(ErrorCode.DATA_LOST)
            try:
                await self._persist(start, data, 0)
                start += len(data)
            except StreamGap as gap:  # it went back once more
                start = gap.size

    async def _persist(self, offset: int, data: bytes, chunks: int) -> None:
        await self._patiently(
            lambda: self._store.append(self.key, self.claim, offset, data, chunks=chunks)
        )
        self.renewed_at = time.monotonic()

    async def _patiently(
        self, verb: Callable[[], Awaitable[T]], patience: float | None = None
    ) -> T:
        """Repeat a verb while the store is away, for STORE_TIMEOUT; with backoff and jitter."""
        if patience is None:
            patience = self._settings.store_timeout
        give_up = time.monotonic() + patience
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                return await verb()
            except StoreUnavailable:
                if time.monotonic() + backoff >= give_up:
                    raise
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    # The end.

    async def _fail(self, error: Exception) -> None:
        code, cause = _diagnose(error)
        if code is None:  # not ours any more: what the stream is now is for the store to say
            await self._learn()
            return
        if code in _FAULTS:
            logger.error("%s", f"{_FAULTS[code]} {whose(cause)}".strip(), exc_info=cause)
        detail = f"{type(cause).__name__}: {cause}" if self._settings.debug else ""
        if stream_failed.receivers:
            await self._notify(
                stream_failed,
                hook_errors="log",
                error_code=code,
                error=cause,
                size=self.tail.window.end,
            )
        await self._finalize(StreamStatus.ERROR, code, detail)

    async def _finalize(self, status: StreamStatus, code: str = "", detail: str = "") -> None:
        try:
            info = await self._end(status, code, detail)
        except StreamFailed as lost:  # acknowledged bytes, older than our window
            await self._fail(lost)
        except StoreUnavailable as error:
            # What is left is a stream whose lease runs out: producer_lost.
            logger.error("A stream could not be finalized: %s", error)
            await self._settle_unknown(error)
        except StreamError:
            await self._learn()
        else:
            await self._settle(info)

    async def _end(self, status: StreamStatus, code: str, detail: str) -> StreamInfo:
        """End the stream once the store has, again, all that it acknowledged."""
        end = None if code == ErrorCode.DATA_LOST else self.tail.window.end
        # Who has waited for the store already tries once more, and no longer.
        patience = 0.0 if code == ErrorCode.STORE_UNAVAILABLE else self._settings.store_timeout
        while True:
            try:
                return await self._patiently(
                    lambda: self._store.finalize(
                        self.key, self.claim, status, size=end, error_code=code, error=detail
                    ),
                    patience,
                )
            except StreamGap as gap:
                await self._send_again(gap.size, self.tail.window.end)

    async def _learn(self) -> None:
        tenant, owner = self.key.tenant, self.tail.info.owner
        standing = None
        try:
            info = await self._patiently(lambda: self._store.look(self.key))
            if self.tail.own(info) is None:
                standing = await self._patiently(lambda: self._store.standing(tenant, owner))
        except StoreUnavailable as error:
            await self._settle_unknown(error)
        else:
            await self._settle(info, standing)

    async def _settle(self, info: StreamInfo | None, standing: Standing | None = None) -> None:
        """Tell the readers here, and the receivers, how the stream ended: by us or elsewhere."""
        self.tail.on_end = None
        self.tail.learn(info, standing)
        info = self.tail.own(info)
        if info is None:
            await self._tell_end(StreamStatus.ERROR, self.tail.why_gone(standing))
        elif info.is_streaming:  # somebody else goes on with it
            await self._tell_end(StreamStatus.ERROR, ErrorCode.PRODUCER_LOST)
        else:
            await self._tell_end(info.status, info.error_code)

    async def _settle_unknown(self, error: StoreUnavailable) -> None:
        self.tail.on_end = None
        self.tail.fail(error)
        await self._tell_end(StreamStatus.ERROR, ErrorCode.STORE_UNAVAILABLE)

    async def _tell_end(self, status: StreamStatus, code: str) -> None:
        if stream_finalized.receivers:
            await self._notify(
                stream_finalized,
                hook_errors="log",  # it has been decided, and nobody waits for us
                status=status,
                error_code=code,
                size=self.tail.window.end,
                duration=time.monotonic() - self._started,
            )

    # Signals.

    async def _notify(
        self, signal: StreamSignal, *, hook_errors: str | None = None, **named: object
    ) -> None:
        try:
            await signal.notify(
                type(self._store),
                hook_errors=hook_errors or self._settings.hook_errors,
                alias=self._settings.alias,
                tenant=self.key.tenant,
                generation=self.key.generation,
                stream_id=self.key.stream_id,
                epoch=self.tail.info.epoch,
                owner=self.tail.info.owner,
                **named,
            )
        except Exception as error:
            # Not as it is: a StreamGap or a StreamLimitExceeded of a receiver's own must not look
            # like the store's, after which bytes are sent again.
            raise HookFailed from error


_FAULTS = {
    ErrorCode.SOURCE_FAILED: "The source of a stream failed.",
    ErrorCode.HOOK_FAILED: "A signal receiver failed, and the stream with it.",
}


def _diagnose(error: Exception) -> tuple[ErrorCode | None, BaseException]:
    """Return the code that readers get, and what happened; no code where the claim is lost."""
    match error:
        case StreamFinalized() | StreamClaimLost() | StreamDoesNotExist():
            return None, error
        case StreamLimitExceeded():
            return ErrorCode.LIMIT_EXCEEDED, error
        case StreamFailed():
            return ErrorCode(error.code), error
        case StoreUnavailable():
            return ErrorCode.STORE_UNAVAILABLE, error
        case SourceFailed():
            return ErrorCode.SOURCE_FAILED, error.__cause__ or error
        case HookFailed(__cause__=StreamLimitExceeded() as cause):
            return ErrorCode.LIMIT_EXCEEDED, cause
        case HookFailed():
            return ErrorCode.HOOK_FAILED, error.__cause__ or error
        case _:
            return ErrorCode.HOOK_FAILED, error
