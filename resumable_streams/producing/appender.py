"""The log of one stream whose claim we hold: fenced appends, and its end.

The failures, and the state after each:

    an append's answer is lost      sent again from the same offset: the store skips what it has
    the store went back in time     it answers with a gap, and we send the missing bytes again from
                                    the window we keep; older than that: StreamFailed, data_lost
    the store is away               retried with backoff for STORE_TIMEOUT, then StoreUnavailable
    the claim is lost               StreamClaimLost; nothing more is written
    cancelled                       the append in flight may be stored, or not; nobody is shown it

One caller at a time: each append starts where the last one ended.
"""

import time
from collections.abc import Awaitable, Callable

from ..exceptions import StreamFailed, StreamGap, StreamLimitExceeded
from ..reading.tail import Tail
from ..signals import stream_appended, stream_first_byte
from ..stores.base import MAX_APPEND_BYTES, BaseStore
from ..stores.patience import for_seconds, patiently
from ..types import Claim, ErrorCode, StreamInfo, StreamStatus

__all__ = ["Appender"]


class Appender:
    """The log of one stream, to append to and to end; readers here see each byte once it is stored.

    `patience` is how many seconds a store that is away is waited for. `tell` sends a signal about
    the stream; it is not called while nobody receives that.
    """

    def __init__(
        self,
        store: BaseStore,
        tail: Tail,
        claim: Claim,
        *,
        patience: float,
        tell: Callable[..., Awaitable[None]],
    ):
        self.claim = claim
        self._made_at = time.perf_counter()
        self.renewed_at = time.monotonic()
        """When the store last renewed the TTL of the stream, by `time.monotonic`."""
        self._store = store
        self._tail = tail
        self._patience = patience
        self._tell = tell

    @property
    def end_offset(self) -> int:
        """Where the next byte goes: the end of what the store has acknowledged."""
        return self._tail.window.end

    async def append(
        self, chunks: list[bytes], *, offset: int | None = None, spent: float = 0.0
    ) -> None:
        """Append the chunks of one `ChunkBuffer.take`, in one entry if they fit.

        If they were sent before, the store may have them: `offset` is where, though more may be
        known by now, and `spent` how many seconds of the patience that has used. Raises what
        `BaseStore.append` does, except StreamGap.
        """
        if len(chunks[0]) > MAX_APPEND_BYTES:
            await self._append_in_pieces(chunks[0])
            return
        try:
            await self._append_entry(b"".join(chunks), len(chunks), offset, spent)
        except StreamLimitExceeded:
            if len(chunks) == 1:
                raise
            # The buffer must not change what a limit lets through: find the chunk that hits it.
            for chunk in chunks:
                await self._append_entry(chunk, 1)

    async def _append_in_pieces(self, chunk: bytes) -> None:
        for start in range(0, len(chunk), MAX_APPEND_BYTES):
            await self._append_entry(chunk[start : start + MAX_APPEND_BYTES], int(start == 0))

    async def _append_entry(
        self, data: bytes, chunks: int, offset: int | None = None, spent: float = 0.0
    ) -> None:
        """Append what follows the last acknowledged byte, then show and tell it."""
        started = time.perf_counter()
        offset = self.end_offset if offset is None else offset
        while True:
            try:
                await self._append_at(offset, data, chunks, spent)
                break
            except StreamGap as gap:
                await self._fill_gap(gap.size, offset)
        self._tail.push(offset, data, started)
        stored = time.perf_counter()
        if not offset and stream_first_byte.receivers:
            duration = stored - self._made_at
            await self._tell(stream_first_byte, size=len(data), duration=duration)
        if stream_appended.receivers:
            await self._tell(
                stream_appended,
                offset=offset,
                size=len(data),
                chunks=chunks,
                duration=stored - started,
            )

    def show(self, offset: int, data: bytes, started: float) -> None:
        """Give readers here bytes that somebody else has appended; when is for measuring only."""
        self._tail.push(offset, data, started)
        self.renewed_at = time.monotonic()

    async def _fill_gap(self, start: int, end: int) -> None:
        """Replace acknowledged bytes that the store has lost since, from the window."""
        while start < end:
            data = self._tail.window.read(start, MAX_APPEND_BYTES)
            if not data:
                raise StreamFailed(ErrorCode.DATA_LOST)
            try:
                await self._append_at(start, data, 0)
                start += len(data)
            except StreamGap as gap:  # it went back once more
                start = gap.size

    async def _append_at(self, offset: int, data: bytes, chunks: int, spent: float = 0.0) -> None:
        """Append at one offset; repeat it while the store is away."""
        await patiently(
            lambda: self._store.append(self._tail.key, self.claim, offset, data, chunks=chunks),
            for_seconds(self._patience - spent),
        )
        self.renewed_at = time.monotonic()

    async def end(self, status: StreamStatus, *, code: str = "", detail: str = "") -> StreamInfo:
        """End the stream once the store has, again, all that it acknowledged.

        Returns how it ended, also if that was before. Raises what `BaseStore.finalize` does, except
        StreamGap; StreamFailed where acknowledged bytes are lost.
        """
        # Bytes that are lost for good do not keep the stream from ending.
        is_lost = code == ErrorCode.DATA_LOST
        # After a wait for the store that was in vain: one more attempt.
        patience = 0.0 if code == ErrorCode.STORE_UNAVAILABLE else self._patience
        while True:
            try:
                return await patiently(
                    lambda: self._store.finalize(
                        self._tail.key,
                        self.claim,
                        status,
                        size=None if is_lost else self.end_offset,
                        error_code=code,
                        error=detail,
                    ),
                    for_seconds(patience),
                )
            except StreamGap as gap:
                await self._fill_gap(gap.size, self.end_offset)

    async def look(self) -> StreamInfo | None:
        """Return the state of the stream; None when it is missing or unreadable."""
        return await patiently(
            lambda: self._store.look(self._tail.key), for_seconds(self._patience)
        )
