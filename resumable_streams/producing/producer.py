"""From the source to the store: gather, append, end.

Two tasks and a bounded buffer between them. One advances the source, and encodes each item as the
format of the stream writes it, once for all readers; the other appends, one append in flight, and
chunks encoded meanwhile *gather* and leave with the next append. A slow source pays one round trip
a chunk and waits for none; a fast one is limited by bytes, not by round trips; a full buffer makes
the source wait.

The failures, and the state after each (`appender` has those of an append):

    the store lost acknowledged     the stream ends data_lost, unless they can be sent again
    bytes
    the store is away for longer    we stop, and our readers are told; when it is back:
    than STORE_TIMEOUT              producer_lost
    the claim is lost               we stop at once and write nothing more
    we are cancelled (drain)        the source is closed, the stream ends interrupted
    the process dies                somebody takes it over: producer_lost

The first cause decides, once, how the stream ends; writing and telling the end is one step that no
cancellation enters a second time.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..conf import AliasSettings
from ..exceptions import (
    StoreUnavailable,
    StreamClaimLost,
    StreamDoesNotExist,
    StreamError,
    StreamFailed,
    StreamFinalized,
    StreamLimitExceeded,
)
from ..identifiers import holding_of, slot_of
from ..process.runtime import runtime
from ..reading.tail import Tail
from ..signals import StreamSignal, stream_started, whose
from ..stores.base import BaseStore
from ..stores.patience import patiently
from ..types import CancellationReason, Claim, ErrorCode, StreamInfo, StreamStatus
from .appender import Appender
from .buffer import ChunkBuffer
from .continuing import Continuation
from .fast_path import FastPath
from .sources import (
    Item,
    Source,
    SourceContext,
    in_thread,
    is_for_the_process,
    open_source,
)
from .telling import Ending

__all__ = ["Producer"]

logger = logging.getLogger("resumable_streams.producer")

CLOSE_SECONDS = 5.0


class SourceFailed(Exception):
    """An exception of the source, as the cause, told apart from those of the store."""


class NotContinued(StreamFailed):
    """A source that goes on with a log, but not with the item that the log has a part of."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.PRODUCER_LOST,
            "The log ends inside an item, and the source that goes on did not yield the same one "
            "again. Have `recover` start after `items` items.",
        )


class HookFailed(Exception):
    """An exception of a receiver, as the cause, told apart from the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """How a stream is to end; without a status it is not ours any more.

    `cause` is what it failed with, which is what `stream_failed` tells.
    """

    status: StreamStatus | None
    code: str = ""
    detail: str = ""
    cause: BaseException | None = None


class Producer:
    """The production of one stream whose claim we hold, from its source to its end.

    `tell` is called with the end once it is written, unless somebody else goes on with the stream.
    """

    def __init__(
        self,
        *,
        store: BaseStore,
        settings: AliasSettings,
        claim: Claim,
        tail: Tail,
        source: Source,
        continuation: Continuation,
        tell: Callable[[Ending], Awaitable[None]],
    ):
        self.key = tail.key
        self.claim = claim
        self.tail = tail
        self._appender = Appender(
            store,
            tail,
            claim,
            patience=settings.store_timeout,
            tell=self._notify,
        )
        self.holding = holding_of(tail.info)
        self._ttl = tail.info.ttl
        self.gathered: asyncio.Task[None] | None = None
        self._tell = tell
        self._store = store
        self._settings = settings
        self._source = source
        self._encoder = continuation.encoder
        self._rest = continuation.rest
        self._started = self._placed = time.monotonic()
        self._buffer = ChunkBuffer()
        self._context = SourceContext()
        self._most = settings.limits.max_chunk_bytes

    async def run(self) -> None:
        """Produce until the end, and tell it. A cancellation (a drain) ends it as interrupted."""
        conclusion = await self._produce()
        await _see_through(self._conclude(conclusion), name=f"end {self.key.stream_id}")

    async def _produce(self) -> Conclusion:
        self.tail.stop_with(self._ended_elsewhere)
        self.gathered = gather = asyncio.create_task(
            self._gather(), name=f"resumable_streams.source {self.key.stream_id}"
        )
        try:
            path = FastPath(
                self._store, self.tail, self._appender, self._buffer, tell=self._notify_now
            )
            while left := await path.follow():
                await self._appender.append(left.chunks, offset=left.offset, spent=left.spent)
            conclusion = Conclusion(status=StreamStatus.DONE)
        except asyncio.CancelledError:
            conclusion = Conclusion(status=StreamStatus.ERROR, code=ErrorCode.INTERRUPTED)
            self._context.reason = CancellationReason.INTERRUPTED
        except Exception as error:
            conclusion = self._diagnose(error)
            self._stopped_by(error)
        await _see_through(self._stop(gather), name=f"close {self.key.stream_id}")
        return conclusion

    def is_quiet(self, now: float) -> bool:
        """Return whether it is time to renew the TTL of the stream: appends do it by themselves."""
        return now - self._appender.renewed_at > self._ttl / 3

    def was_renewed(self, now: float) -> None:
        self._appender.renewed_at = now

    def is_long(self, now: float) -> bool:
        """Return whether it is time to renew its place in the index of its owner, and in its slot.

        Appends renew the TTL of the stream alone: both are elsewhere in a cluster.
        """
        return now - self._placed > self._ttl / 3

    async def keep_place(self) -> None:
        """Renew that; what fails, the next heartbeat tries again."""
        info = self.tail.info
        with suppress(StoreUnavailable):
            with suppress(StreamLimitExceeded):  # the store had lost it, and others took its place
                await self._store.reserve(self.holding, ttl=self._ttl)
            if info.slot:
                slot = slot_of(self.key, info.owner, info.slot)
                await self._store.settle(
                    slot, epoch=info.epoch, stream_id=info.stream_id, keep=2 * self._ttl
                )
            self._placed = time.monotonic()

    def _ended_elsewhere(self) -> None:
        """Stop: the stream was cancelled, deleted, revoked, taken over, or cannot be looked up."""
        # As the failure, where there is one: the store may not have it as an end yet, and while we
        # live nobody but us writes it.
        info = self.tail.info
        self._abort(self.tail.failure or StreamFinalized(info.status, info.error_code))

    def lose_claim(self) -> None:
        """Stop: the store says that somebody else produces this stream, or nobody any more."""
        self._abort(StreamClaimLost())

    def _abort(self, error: StreamError) -> None:
        # Before the source hears of it: while an append is under way, that is earlier than we do.
        self._stopped_by(error)
        self._buffer.abort(error)

    def _stopped_by(self, error: Exception) -> None:
        """Have the source know why it is stopped; the first reason stays."""
        if self._context.reason is None:
            self._context.reason = _reason(error, self.tail)

    # From the source.

    async def _gather(self) -> None:
        self._context.enter()
        try:
            if stream_started.receivers:
                await self._notify(stream_started)
            async with open_source(self._source) as items:
                await self._gather_from(items)
        except HookFailed as error:
            self._buffer.close(error)
        except BaseException as error:
            is_ours = is_for_the_process(error)
            if not self._source_failed(error) and not is_ours:
                logger.error("A source failed while it was closed.", exc_info=error)
            if is_ours:
                raise

    async def _gather_from(self, items: AsyncIterator[Item]) -> None:
        """Gather until the source ends; that is said before it is closed, which may take long."""
        try:
            async for item in items:
                if self._encoder.blocks(item):
                    data = await in_thread(partial(self._encoder.encode, item))
                else:
                    data = self._encoder.encode(item)
                if not await self._put(self._without_rest(item, data)):
                    return
            if not await self._put(self._encode_end()):
                return
        except NotContinued as error:
            logger.error("%s Until then such a stream ends: %s.", error.detail, error.code)
            self._refuse_more(error)
        except BaseException as error:
            # Also a cancellation: ours comes when nobody takes any more, one of the source's own
            # making must end the stream. And what was raised after ours must be told by somebody.
            if not self._source_failed(error) or is_for_the_process(error):
                raise
        else:
            self._buffer.close()

    def _without_rest(self, item: Item, data: bytes) -> bytes:
        """Return the bytes of an item, without those of it that the log has already."""
        if not self._rest:
            return data
        rest, self._rest = self._rest, b""
        if isinstance(item, bytes | bytearray | memoryview):  # from the end of the log on
            return data
        if not data.startswith(rest):
            raise NotContinued
        return data[len(rest) :]

    def _encode_end(self) -> bytes:
        if self._rest:
            raise NotContinued
        return self._encoder.end()

    async def _put(self, data: bytes) -> bool:
        """Have the bytes of one item appended; False when nobody takes any more."""
        if self._most is not None and len(data) > self._most:
            self._refuse_more(StreamLimitExceeded("MAX_CHUNK_BYTES", self._most))
            return False
        return not data or await self._buffer.put(data)

    def _refuse_more(self, error: StreamError) -> None:
        self._stopped_by(error)
        self._buffer.close(error)

    def _source_failed(self, error: BaseException) -> bool:
        failure = SourceFailed()
        failure.__cause__ = error
        return self._buffer.close(failure)

    async def _stop(self, gather: asyncio.Task[None]) -> None:
        """Close the source, within bounds; it may be deaf to its cancellation."""
        self._buffer.abort()
        gather.cancel()
        await asyncio.wait([gather], timeout=CLOSE_SECONDS)

    # The end.

    def _diagnose(self, error: Exception) -> Conclusion:
        code, cause = _diagnose(error)
        if code is None:  # what the stream is now is for the store to say
            return Conclusion(status=None)
        if code in _FAULTS:
            logger.error("%s", f"{_FAULTS[code]} {whose(cause)}".strip(), exc_info=cause)
        elif isinstance(cause, StreamLimitExceeded):
            logger.warning("A stream was ended: %s Raise it in LIMITS, or yield less.", cause)
        elif isinstance(cause, StoreUnavailable) and cause.reason:
            logger.error("A stream cannot go on: %s", cause)
        detail = _words(cause) if self._settings.debug else ""
        return Conclusion(status=StreamStatus.ERROR, code=code, detail=detail, cause=cause)

    async def _conclude(self, conclusion: Conclusion) -> None:
        try:
            try:
                info = await self._end(conclusion)
            except StreamFailed as lost:  # acknowledged bytes, older than our window
                conclusion = self._diagnose(lost)
                info = await self._end(conclusion)
            ending = self._settle(info, conclusion)
        except StoreUnavailable as error:
            ending = await self._give_up(error, conclusion)
        if ending is not None:
            await self._tell(ending)

    async def _end(self, conclusion: Conclusion) -> StreamInfo | None:
        """Write the end, unless the stream is not ours any more; return what it is then."""
        if conclusion.status is not None:
            try:
                return await self._appender.end(
                    conclusion.status, code=conclusion.code, detail=conclusion.detail
                )
            except (StreamFailed, StoreUnavailable):
                raise
            except StreamError:
                pass  # it ended elsewhere, or somebody else goes on with it
        return await self._appender.look()

    def _settle(self, info: StreamInfo | None, conclusion: Conclusion) -> Ending | None:
        """Tell the readers here how it ended, by us or elsewhere; None if somebody goes on."""
        self.tail.release_producer()
        self.tail.learn(info)
        info = self.tail.own(info)
        if info is None:
            return self._ending(StreamStatus.ERROR, ErrorCode.EXPIRED)
        return self._ending_in(info, conclusion)

    async def _give_up(self, error: StoreUnavailable, conclusion: Conclusion) -> Ending | None:
        """End without the store: our readers are told now, everybody else when it is back.

        In a drain we do not wait for that: the process that takes over this one tells the end.
        """
        logger.error("A stream could not be finalized: %s", error)
        self.tail.release_producer()
        self.tail.fail(error)
        holder, epoch = self.tail.info.holder, self.tail.info.epoch
        try:
            info = await patiently(
                lambda: self._store.reap(self.key, epoch, holder=holder),
                lambda pause: runtime.is_draining,
            )
        except StoreUnavailable:
            return None
        if info is None or info.error_code == ErrorCode.PRODUCER_LOST:
            return self._ending(StreamStatus.ERROR, ErrorCode.STORE_UNAVAILABLE, error)
        # The end was written, and only the answer was lost.
        return self._ending_in(info, conclusion)

    def _ending_in(self, info: StreamInfo, conclusion: Conclusion) -> Ending | None:
        """Return the end that the store has; None if somebody goes on."""
        if info.is_streaming:
            return None
        if info.status is StreamStatus.CANCELLED and self.tail.cut_off:
            return self._ending(info.status, self.tail.cut_off)
        is_ours = info.status is conclusion.status and info.error_code == conclusion.code
        return self._ending(info.status, info.error_code, conclusion.cause if is_ours else None)

    def _ending(
        self, status: StreamStatus, code: str, cause: BaseException | None = None
    ) -> Ending:
        return Ending(
            status=status,
            error_code=code,
            size=self.tail.window.end,
            duration=time.monotonic() - self._started,
            owner=self.tail.info.owner,
            failure=cause,
            usage=dict(self._context.usage),
        )

    # Signals.

    async def _notify(
        self, signal: StreamSignal, *, hook_errors: str | None = None, **named: Any
    ) -> None:
        with _as_failures_of_hooks():
            hook_errors = hook_errors or self._settings.hook_errors
            named |= self._about()
            await signal.notify(type(self._store), hook_errors=hook_errors, **named)

    def _notify_now(self, signal: StreamSignal, **named: Any) -> None:
        """Do the same where no receiver is awaited."""
        with _as_failures_of_hooks():
            hook_errors, named = self._settings.hook_errors, named | self._about()
            signal.notify_now(type(self._store), hook_errors=hook_errors, **named)

    def _about(self) -> dict[str, Any]:
        return {
            "alias": self._settings.alias,
            "tenant": self.key.tenant,
            "generation": self.key.generation,
            "stream_id": self.key.stream_id,
            "epoch": self.tail.info.epoch,
            "owner": self.tail.info.owner,
        }


@contextmanager
def _as_failures_of_hooks() -> Iterator[None]:
    # Not as they are: a StreamGap or a StreamLimitExceeded of a receiver's own must not look like
    # the store's, after which bytes are sent again.
    try:
        yield
    except Exception as error:
        raise HookFailed from error


async def _see_through(work: Coroutine[Any, Any, None], *, name: str) -> None:
    """Await work that a cancellation of ours must not end; we are not cancelled then.

    A cancellation asks a producer to end, and this work is part of the end. A drain waits for it
    within bounds of its own.
    """
    task = asyncio.create_task(work, name=f"resumable_streams.{name}")
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    task.result()


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


def _words(error: BaseException) -> str:
    """Return the name of an exception and its message, if it has one that can be read."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:  # of `__str__`: the stream has to end all the same
        return name


def _reason(error: Exception, tail: Tail) -> CancellationReason | None:
    """Return why a source is stopped by what its producer met; None: it has failed by itself."""
    lost, gone = CancellationReason.PRODUCER_LOST, CancellationReason.EXPIRED
    code: str | None = _diagnose(error)[0]
    if code is None:  # the store says that the stream is not ours any more; the tail may know more
        code = gone if isinstance(error, StreamDoesNotExist) else tail.ending or lost
        if isinstance(error, StreamFinalized) and error.status == StreamStatus.CANCELLED:
            code = error.code or CancellationReason.CANCELLED
    if code == ErrorCode.SOURCE_FAILED:
        return None
    return CancellationReason(code) if code in list(CancellationReason) else lost
