"""What happens to streams, as Django signals.

Receivers run where it happens: sync ones inline around the store call (keep them cheap, and off
the database), async ones awaited. A signal nobody listens to costs an attribute look-up. What a
receiver raises is raised to whoever caused the event, or logged, as HOOK_ERRORS says.

Every signal has `alias`, `stream_id`, `tenant` and `owner`; the sender is the class of the store.
No signal carries the bytes of a stream.
"""

import logging
from typing import Any

from django.dispatch import Signal

__all__ = [
    "StreamSignal",
    "owner_bound",
    "owner_checked",
    "stream_acquired",
    "stream_appended",
    "stream_cancelled",
    "stream_deleted",
    "stream_failed",
    "stream_finalized",
    "stream_resumed",
]

logger = logging.getLogger("resumable_streams.signals")


class StreamSignal(Signal):
    """Be a Django signal whose sync receivers run inline, on the event loop."""

    async def notify(self, sender: Any, *, hook_errors: str, **named: Any) -> None:
        """Tell every receiver; then raise the first error, or log it, as `hook_errors` says."""
        if not self.receivers:
            return
        first: Exception | None = None
        sync_receivers, async_receivers = self._live_receivers(sender)
        for receiver in sync_receivers:
            try:
                receiver(signal=self, sender=sender, **named)
            except Exception as error:
                first = first or error
        for receiver in async_receivers:
            try:
                await receiver(signal=self, sender=sender, **named)
            except Exception as error:
                first = first or error
        if first is not None:
            if hook_errors == "raise":
                raise first
            logger.error("A signal receiver failed.", exc_info=first)


# role: Role, attrs, request: the HttpRequest or None. Sent for producers and consumers.
stream_acquired = StreamSignal()
# role is always producer. The owner is bound in the same step that elects.
owner_bound = StreamSignal()
# operation: "run" | "resume" | "status" | "cancel" | "delete"; outcome: "match" | "foreign" |
# "missing" | "revoked"; request.
owner_checked = StreamSignal()
# offset: where the append started; size: its bytes; chunks: of the source; duration: seconds.
stream_appended = StreamSignal()
# status: StreamStatus, error_code, size, duration: seconds since the producer started.
stream_finalized = StreamSignal()
# error_code, error: the exception or None, size. Sent before stream_finalized.
stream_failed = StreamSignal()
# offset, size, status, request. Only for resumes that were granted.
stream_resumed = StreamSignal()
# request. Somebody asked for it; the end itself is stream_finalized, where the producer runs.
stream_cancelled = StreamSignal()
# request.
stream_deleted = StreamSignal()
