"""What happens to streams, as Django signals.

Receivers run where it happens: sync ones inline around the store call (keep them cheap, and off
the database), async ones are awaited after them. Every receiver is told, whatever another one
raises. A signal nobody listens to costs an attribute look-up: nothing is measured for it either.

What a receiver raises goes, as HOOK_ERRORS says, to whoever caused the event ("raise"), or to the
log. Where the event cannot be undone, and where nobody waits for it, it is logged in any case; the
comments below say which. No signal carries the bytes of a stream.

Every signal of a stream has `alias`, `tenant`, `generation`, `stream_id` and `owner` (whose stream
it is; for `owner_checked` and what follows from it, who asked). All but `owner_checked` have the
`epoch`, which tells one incarnation of an id from the next. `request` is the HttpRequest, the
Channels scope, or None. The sender is the class of the store. Sizes are bytes, durations seconds.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from django.dispatch import Signal

__all__ = [
    "StreamSignal",
    "feed_connected",
    "heartbeat_failed",
    "news_missed",
    "owner_bound",
    "owner_checked",
    "producer_lost",
    "reader_closed",
    "reader_opened",
    "stream_acquired",
    "stream_appended",
    "stream_cancelled",
    "stream_deleted",
    "stream_delivered",
    "stream_failed",
    "stream_finalized",
    "stream_resumed",
    "stream_started",
]

logger = logging.getLogger("resumable_streams.signals")

_told: set[asyncio.Task[None]] = set()  # async receivers of events that wait for nobody


class StreamSignal(Signal):
    """Be a Django signal whose sync receivers run inline, on the event loop.

    `asend` would move them to a thread, at a hundred times the cost, and its caller's thread may
    be waiting for the loop. `_live_receivers` has given the same pair since Django 5.0; it is used
    here only.
    """

    async def notify(self, sender: Any, *, hook_errors: str, **named: Any) -> None:
        """Tell every receiver; then raise the first error, or log them, as `hook_errors` says."""
        if not self.receivers:
            return
        sync_receivers, async_receivers = self._live_receivers(sender)
        errors: list[Exception] = []
        for receiver in sync_receivers:
            try:
                receiver(signal=self, sender=sender, **named)
            except Exception as error:
                errors.append(error)
        for receiver in async_receivers:
            try:
                await receiver(signal=self, sender=sender, **named)
            except Exception as error:
                errors.append(error)
        if errors and hook_errors == "raise":
            raise errors[0]
        for failure in errors:
            _log(failure)

    def emit(self, sender: Any, **named: Any) -> None:
        """Tell every receiver from where nothing can be awaited; what they raise is logged."""
        if not self.receivers:
            return
        sync_receivers, async_receivers = self._live_receivers(sender)
        for receiver in sync_receivers:
            try:
                receiver(signal=self, sender=sender, **named)
            except Exception as error:
                _log(error)
        for receiver in async_receivers:
            waiting = _await(receiver(signal=self, sender=sender, **named))
            task = asyncio.create_task(waiting, name="resumable_streams.receiver")
            _told.add(task)
            task.add_done_callback(_told.discard)


async def _await(receiver: Awaitable[object]) -> None:
    try:
        await receiver
    except Exception as error:
        _log(error)


def _log(error: Exception) -> None:
    logger.error("A signal receiver failed.", exc_info=error)


# --- Who asks ---

# role: Role; attrs; request. For producers and consumers; a producer's source starts after it, so
# a receiver that raises refuses the stream: nothing is left of it, and `run` raises the error.
stream_acquired = StreamSignal()
# request. After stream_acquired, for producers: the owner was bound in the step that elected. A
# receiver that raises refuses the stream as well.
owner_bound = StreamSignal()
# operation: "run" | "resume" | "status" | "sign" | "cancel" | "delete"; outcome: "match" |
# "foreign" | "missing" | "revoked"; by_link: whether a signed link was shown (the owner is then the
# one who signed it, PUBLIC if it was no good); request. Before anything is done: a receiver that
# raises denies it.
owner_checked = StreamSignal()
# offset, size: of the stream; status: StreamStatus; request. Only for resumes that were granted;
# a receiver that raises denies it.
stream_resumed = StreamSignal()
# request. After the act, which a receiver that raises doesn't undo. The end itself is
# stream_finalized, where the producer runs.
stream_cancelled = StreamSignal()
# request. After the act, as above.
stream_deleted = StreamSignal()

# --- Production, in the process of the producer ---

# Nothing more. Sync receivers run in the context that the source will have: variables of
# `contextvars` that they set are the source's. A receiver that raises fails the stream.
stream_started = StreamSignal()
# offset: where the append started; size: its bytes; chunks: of the source, in it; duration: of the
# append with its retries. A receiver that raises fails the stream: hook_failed, or limit_exceeded
# if it raises StreamLimitExceeded. What was written stays readable.
stream_appended = StreamSignal()
# error_code: ErrorCode; error: the exception; size. Before stream_finalized; errors are logged.
stream_failed = StreamSignal()
# status: StreamStatus; error_code; size; duration: since the producer started. Once for every
# stream_acquired that had the role producer, in the process that produces it (or refused to, before
# stream_started), unless that dies first; errors are logged.
# The code is "expired" for a stream that was deleted, or taken away, under its producer,
# "data_lost" where the store lost all that it had, and "store_unavailable" where the end could not
# be written (readers then see producer_lost).
stream_finalized = StreamSignal()

# --- Readers, in the process of the reader; errors are logged ---

# status: StreamStatus; readers: of this stream in this process, this one included.
reader_opened = StreamSignal()
# size: as last known here; readers: those that are left.
reader_closed = StreamSignal()
# offset, size: of the bytes; latency: until a waiting reader takes them, from the start of the
# append for a producer in this process, else from their arrival here (the clocks of two processes
# don't compare). Not for what is read from the past.
stream_delivered = StreamSignal()
# offset: where the news continues; missing: bytes before it, which readers fetch from the store.
news_missed = StreamSignal()

# --- Faults; errors are logged ---

# seen_by: "reader" (another process stopped to renew the lease) | "producer" (this one did, being
# blocked or cut off); size. Once in each process that follows the stream as its lease runs out.
producer_lost = StreamSignal()
# alias; again: False for the first push connection of this process only. Redis; in a cluster there
# is one for each primary, so all but one of them are `again` from the start.
feed_connected = StreamSignal()
# alias; producers: how many the batch was for; error: the exception. Repeated until it works.
heartbeat_failed = StreamSignal()
