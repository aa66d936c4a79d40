"""The events of streams, as Django signals.

Every receiver is told, even if another one raises, in this order: those marked `@inline`, on the
event loop (keep them quick, and off the database); the other sync ones, in the thread of the
request or the producer, where the ORM is allowed (see `threads`); the async ones, awaited.
`stream_appended` and `stream_delivered` come with the bytes: for them every sync receiver is
inline. A signal nobody listens to costs an attribute look-up: nothing is measured for it either.

An exception in a receiver goes, by HOOK_ERRORS, to the caller that caused the event ("raise"), or
to the log. If the event cannot be undone, or nobody waits for it, it is logged in any case; the
comments below say which. No signal carries the bytes of a stream.

Every signal of a stream has `alias`, `tenant`, `generation`, `stream_id` and `owner` (whose stream
it is; for `owner_checked` and the events after it, the asker). All but `owner_checked` have the
`epoch`, which tells one incarnation of an id from the next. `request` is the HttpRequest, the
Channels scope, or None. The sender is the class of the store. Sizes are bytes, durations seconds.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from django.dispatch import Signal

from .process.threads import run_soon, run_sync

__all__ = [
    "StreamSignal",
    "feed_connected",
    "heartbeat_failed",
    "inline",
    "news_missed",
    "owner_bound",
    "owner_checked",
    "process_taken_over",
    "producer_lost",
    "reader_closed",
    "reader_lagged",
    "reader_opened",
    "stream_acquired",
    "stream_appended",
    "stream_cancelled",
    "stream_deleted",
    "stream_delivered",
    "stream_failed",
    "stream_finalized",
    "stream_first_byte",
    "stream_refused",
    "stream_resumed",
    "stream_started",
]

logger = logging.getLogger("resumable_streams.signals")

Receiver = Callable[..., Any]
R = TypeVar("R", bound=Receiver)

_INLINE = "_resumable_streams_inline"

_told: set[asyncio.Task[None]] = set()  # async receivers of events that wait for nobody


def inline(receiver: R) -> R:
    """Mark a sync receiver that is to run on the event loop: it is quick and asks no database.

    It saves the hop to a thread (about 0.2 ms an event). `@receiver` goes above it.
    """
    setattr(receiver, _INLINE, True)
    return receiver


class StreamSignal(Signal):
    """A Django signal that knows which of its receivers may run on the event loop.

    `is_frequent` is for signals that come with the bytes: all their sync receivers run there, as a
    thread would cost a hundred times as much. `_live_receivers` has given the same pair since
    Django 5.0; it is used here only.
    """

    def __init__(self, name: str = "a signal", *, is_frequent: bool = False) -> None:
        super().__init__()  # without its cache, which refuses None as a sender
        self.name = name
        self.is_frequent = is_frequent

    async def notify(self, sender: Any, *, hook_errors: str, **named: Any) -> None:
        """Tell every receiver; then raise the first error, or log them, as `hook_errors` says."""
        if not self.receivers:
            return
        inline_ones, hopping, async_ones = self._sorted(sender)
        tell = partial(self._tell, sender=sender, named=named)
        failures = tell(inline_ones)
        if hopping:
            failures += await run_sync(partial(tell, hopping))
        for receiver in async_ones:
            failures += await self._await(receiver, sender=sender, named=named)
        _settle(failures, hook_errors)

    def is_awaited(self, sender: Any) -> bool:
        """Return whether any receiver is async, or runs in a thread."""
        if not self.receivers:
            return False
        _, hopping, async_ones = self._sorted(sender)
        return bool(hopping or async_ones)

    def notify_now(self, sender: Any, *, hook_errors: str, **named: Any) -> None:
        """Do the same as `notify`, where nobody `is_awaited`."""
        inline_ones, _, _ = self._sorted(sender)
        _settle(self._tell(inline_ones, sender=sender, named=named), hook_errors)

    def emit(self, sender: Any, **named: Any) -> None:
        """Tell every receiver from where nothing can be awaited; what they raise is logged."""
        if not self.receivers:
            return
        inline_ones, hopping, async_ones = self._sorted(sender)
        tell = partial(self._tell_and_log, sender=sender, named=named)
        tell(inline_ones)
        if hopping:
            self._tell_soon(partial(tell, hopping))
        for receiver in async_ones:
            task = asyncio.create_task(
                self._await_and_log(receiver, sender=sender, named=named),
                name="resumable_streams.receiver",
            )
            _told.add(task)
            task.add_done_callback(_told.discard)

    def _tell_soon(self, tell: Callable[[], None]) -> None:
        try:
            run_soon(tell)
        except RuntimeError as error:  # no thread can be started any more
            logger.warning(
                "Receivers of %s were not told, as the process ends: %s", self.name, error
            )

    def _sorted(self, sender: Any) -> tuple[list[Receiver], list[Receiver], list[Receiver]]:
        """Return the receivers that run here, in a thread, and awaited."""
        sync_ones, async_ones = self._live_receivers(sender)
        if self.is_frequent:
            return sync_ones, [], async_ones
        here: list[Receiver] = []
        hopping: list[Receiver] = []
        for one in sync_ones:
            (here if getattr(one, _INLINE, False) else hopping).append(one)
        return here, hopping, async_ones

    def _tell(
        self, receivers: Sequence[Receiver], *, sender: Any, named: dict[str, Any]
    ) -> list[Exception]:
        """Call sync receivers; return what they raised."""
        failures: list[Exception] = []
        for receiver in receivers:
            try:
                receiver(signal=self, sender=sender, **named)
            except (Exception, SystemExit, GeneratorExit) as error:
                failures.append(self._blame(receiver, error))
        return failures

    def _tell_and_log(
        self, receivers: Sequence[Receiver], *, sender: Any, named: dict[str, Any]
    ) -> None:
        for failure in self._tell(receivers, sender=sender, named=named):
            _log(failure)

    async def _await(
        self, receiver: Receiver, *, sender: Any, named: dict[str, Any]
    ) -> list[Exception]:
        """Await an async receiver; return what it raised."""
        try:
            await receiver(signal=self, sender=sender, **named)
        except (Exception, SystemExit, GeneratorExit) as error:
            return [self._blame(receiver, error)]
        return []

    async def _await_and_log(
        self, receiver: Receiver, *, sender: Any, named: dict[str, Any]
    ) -> None:
        for failure in await self._await(receiver, sender=sender, named=named):
            _log(failure)

    def _blame(self, receiver: Receiver, error: BaseException) -> Exception:
        """Return what a receiver raised, with its name for whoever reads the traceback."""
        if not isinstance(error, Exception):  # nobody ends the process from a receiver
            exit_, error = error, RuntimeError(f"A receiver raised {type(error).__name__}.")
            error.__cause__ = exit_
        note = f"Raised by the receiver {_name(receiver)} of {self.name}."
        if note not in getattr(error, "__notes__", ()):  # some raise the same object again
            error.add_note(note)
        return error


def _name(receiver: Receiver) -> str:
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"


def _settle(failures: Sequence[Exception], hook_errors: str) -> None:
    if failures and hook_errors == "raise":
        raise failures[0]
    for failure in failures:
        _log(failure)


def _log(error: Exception) -> None:
    logger.error("A signal receiver failed. %s", whose(error), exc_info=error)


def whose(error: BaseException) -> str:
    """Say which receiver of which signal raised `error`; nothing where none did."""
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    return next((one for one in notes if one.startswith("Raised by the receiver ")), "")


# --- Who asks ---

# role: Role; attrs; request. For producers and consumers; a producer's source starts after it, so
# a receiver that raises refuses the stream: nothing is left of it, and `run` raises the error.
stream_acquired = StreamSignal("stream_acquired")
# request. After stream_acquired, for producers: the owner was bound in the step that elected. A
# receiver that raises refuses the stream as well.
owner_bound = StreamSignal("owner_bound")
# operation: "run" | "resume" | "status" | "sign" | "cancel" | "delete"; outcome: "match" |
# "foreign" | "missing" | "revoked"; by_link: whether a signed link was shown (the owner is then the
# one who signed it, PUBLIC if it was no good); request. Before anything is done: a receiver that
# raises denies it.
owner_checked = StreamSignal("owner_checked")
# offset, size: of the stream; status: StreamStatus; request. Only for resumes that were granted;
# a receiver that raises denies it.
stream_resumed = StreamSignal("stream_resumed")
# alias; stream_id: None where the request names none; operation: "run" | "resume" | "status" |
# "cancel" | "delete"; reason: RefusalReason, of which the client learns no more than the answer
# says; status: of that answer; error: the exception; request. From our views, for every request
# that they refuse. The sender is the class of the error. Errors are logged.
stream_refused = StreamSignal("stream_refused")
# request. After the act, which a receiver that raises doesn't undo. The end itself is
# stream_finalized.
stream_cancelled = StreamSignal("stream_cancelled")
# request. After the act, as above.
stream_deleted = StreamSignal("stream_deleted")

# --- Production, in the process of the producer ---

# Nothing more. Sync receivers run in the context that the source will have: variables of
# `contextvars` that they set are the source's. A receiver that raises fails the stream.
stream_started = StreamSignal("stream_started")
# size: of the first append; duration: from the start of the producer until it was stored. Once for
# each producer that starts at byte 0; readers have the bytes already. A receiver that raises has
# the same effect as one of stream_appended, which follows.
stream_first_byte = StreamSignal("stream_first_byte")
# offset: where the append started; size: its bytes; chunks: of the source, in it; duration: of the
# append with its retries. A receiver that raises fails the stream: hook_failed, or limit_exceeded
# if it raises StreamLimitExceeded. Its stored bytes stay readable.
stream_appended = StreamSignal("stream_appended", is_frequent=True)
# error_code: ErrorCode; error: the exception; size. Once the end is written, before
# stream_finalized; errors are logged.
stream_failed = StreamSignal("stream_failed")
# status: StreamStatus; error_code; size; duration: since the stream was acquired; usage: the counts
# that the source reported (`report_usage`), {} where another process tells the end. Exactly once
# for every stream_acquired that had the role producer, by the process that produces it, or by
# whichever finds that this one died: also in a command. Once more if the teller dies while it
# tells: the `epoch` says which are the same. Errors are logged.
# The code is "producer_lost" where that process died, "expired" for a stream that was deleted, or
# taken away, or lost with all that the store had, under its producer (`owner` is None where nobody
# remembers it any more), "revoked" or "rotated" (its status is CANCELLED) where that was
# done to it, and "store_unavailable" where the end could not be written in time (readers then see
# producer_lost).
stream_finalized = StreamSignal("stream_finalized")

# --- Readers, in the process of the reader; errors are logged ---

# status: StreamStatus; readers: of this stream in this process, this one included.
reader_opened = StreamSignal("reader_opened")
# size: as last known here; readers: those that are left.
reader_closed = StreamSignal("reader_closed")
# offset, size: of the bytes; latency: until a waiting reader takes them, from the start of the
# append for a producer in this process, else from their arrival here (the clocks of two processes
# don't compare). Not for what is read from the past.
stream_delivered = StreamSignal("stream_delivered", is_frequent=True)
# offset: of the reader; lag: how many bytes it is behind. For each page that a reader of a live
# stream reads from the store, because the bytes are not in memory here any more: it has just
# resumed, or is slow.
reader_lagged = StreamSignal("reader_lagged")
# offset: where the news continues; missing: bytes before it, which readers fetch from the store.
news_missed = StreamSignal("news_missed")

# --- Faults; errors are logged ---

# seen_by: "reader" (another process went silent for a lease) | "producer" (this one did, being
# blocked or cut off); size. Once in each process that follows the stream. The end itself is told by
# stream_finalized.
producer_lost = StreamSignal("producer_lost")
# alias; process: which was silent for a lease, and is dead to all others; held: how many streams it
# held; told: how many ends were told for it. The rest goes on elsewhere, or is told later. Once, by
# the process that takes it over: also in a command.
process_taken_over = StreamSignal("process_taken_over")
# alias; again: False for the first push connection of this process only. Redis; in a cluster there
# is one for each primary, so all but one of them are `again` from the start.
feed_connected = StreamSignal("feed_connected")
# alias; producers: how many streams depend on it; error: the exception. Repeated until it works.
heartbeat_failed = StreamSignal("heartbeat_failed")
