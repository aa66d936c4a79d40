"""The hub: appended bytes, pushed to every reader of this process.

    feed ──► Hub ──► Tail (one a stream) ──► window ──► readers, each at its own offset
                                       └───► pages from the store, for those who are behind

News arrives from the local producer, directly, or from the store's feed. A feed may lose news,
never invent it. Whenever it may have (`disturbed`), and when a stream is silent whose producer is
not known to live, the tail is *stale*: its state is looked up. The look-ups of one loop turn reach
the store in one write; each tail waits for its own answer only, so an unreadable state does not
affect other streams. Beyond that a sweep looks at a few quiet streams, one after the other.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Sequence

from ..exceptions import StoreUnavailable, StreamFailed
from ..signals import feed_connected, reader_closed, reader_opened
from ..stores.base import BaseStore
from ..stores.patience import for_seconds, patiently
from ..types import ErrorCode, StreamInfo, StreamKey
from .tail import Tail

__all__ = ["Hub"]

logger = logging.getLogger("resumable_streams.hub")

LOOK_AGAIN_SECONDS = 0.2
SWEPT_TAILS = 5


class Hub:
    """All tails of one store in this process, its one feed, and the sweep that keeps them honest.

    Lives on the home loop. `sweep` and `store_timeout` are seconds. `on_control_change` hears that
    control changed; `on_silence` is asked which of the quiet streams have no living producer.
    """

    def __init__(
        self,
        store: BaseStore,
        *,
        sweep: float,
        store_timeout: float,
        on_control_change: Callable[[str | None], None],
        on_silence: Callable[[Sequence[StreamInfo]], Sequence[StreamInfo]],
    ):
        self._store = store
        self._sweep = sweep
        self._store_timeout = store_timeout
        self._loop = asyncio.get_running_loop()
        self._tails: dict[StreamKey, Tail] = {}
        self._settled: set[Tail] = set()  # readers of finished streams, one tail each
        self.control_version = 0  # counts the changes that we heard of
        self._on_control_change = on_control_change
        self._on_silence = on_silence
        self._was_connected = False
        self._closed = False
        self._looks: dict[Tail, asyncio.Task[None]] = {}
        self._stale: set[Tail] = set()
        self._feed = store.open_feed(self)
        self._sweeping = self._loop.create_task(
            self._sweep_forever(), name="resumable_streams.hub.sweep"
        )

    def open(self, info: StreamInfo, key: StreamKey, *, live: bool = True) -> Tail:
        """Return the tail of a stream; close it with `close`.

        A reader of a finished stream, or of the bytes stored now, needs no news. A reader with the
        state of an incarnation that has been replaced since is told so.
        """
        known = self._tails.get(key)
        replaced = known is not None and known.replaces(info)
        if replaced or not (live and info.is_streaming):
            tail = self._tail(info, key)
            self._settled.add(tail)
            if replaced:
                tail.fail(StreamFailed(ErrorCode.EXPIRED))
        elif known is None or known.has_ended or known.info.epoch != info.epoch:
            tail = self._follow(self._tail(info, key))
        else:
            tail = known
        tail.attach()
        if reader_opened.receivers:
            tail.emit(reader_opened, status=info.status, readers=tail.readers)
        return tail

    def open_local(self, info: StreamInfo, key: StreamKey) -> Tail:
        """Return the tail that a producer of this process feeds; end it with `close_local`."""
        tail = self._tails.get(key)
        if tail is not None and self._may_go_on(tail, info):
            self._feed.unwatch(key)
            tail.learn(info)
        else:
            tail = self._tail(info, key)
            self._register(tail)
        tail.attach_producer()
        return tail

    def _may_go_on(self, tail: Tail, info: StreamInfo) -> bool:
        """Return whether the readers of `tail` can be fed by a producer that starts at `info`.

        One that takes a stream over does not know what another one wrote: neither may its tail be
        that of a producer here, nor may readers have bytes that the store has lost since.
        """
        is_same = tail.info.epoch == info.epoch and not (tail.has_ended or tail.is_local)
        return is_same and tail.window.end <= info.size

    def close(self, tail: Tail) -> None:
        """Give up a reader's tail."""
        if not tail.readers:
            return
        tail.detach()
        self._forget_unused(tail)
        if reader_closed.receivers:
            tail.emit(reader_closed, size=tail.window.end, readers=tail.readers)

    def close_local(self, tail: Tail) -> None:
        """Give up a producer's tail; readers that stay are told by the feed from now on."""
        tail.detach_producer()
        if self._tails.get(tail.key) is tail and tail.is_used and not tail.has_ended:
            self._follow(tail)
        self._forget_unused(tail)

    def _forget_unused(self, tail: Tail) -> None:
        if not tail.is_used:
            self._settled.discard(tail)
            self._forget(tail)

    def _tail(self, info: StreamInfo, key: StreamKey) -> Tail:
        return Tail(self._store, info, key, patience=self._store_timeout)

    def _follow(self, tail: Tail) -> Tail:
        # The confirmation of the subscription makes the tail stale: what was appended between the
        # look that made it and the subscription is found then.
        self._register(tail)
        tail.hear(self._loop.time())
        self._feed.watch(tail.key)
        self._on_silence([tail.info])
        return tail

    def _register(self, tail: Tail) -> None:
        old = self._tails.get(tail.key)
        if old is not None and old is not tail:
            # Told before it is forgotten: no news finds it later. Another incarnation ends those
            # who read the old one; the same, from another producer, sends them to resume with that.
            old.learn(tail.info)
            if not old.has_ended:
                old.dismiss()
            self._forget(old)
        self._tails[tail.key] = tail

    def _forget(self, tail: Tail) -> None:
        if self._tails.get(tail.key) is tail:
            del self._tails[tail.key]
            self._stale.discard(tail)
            if look := self._looks.get(tail):
                look.cancel()
            if not tail.is_local:
                self._feed.unwatch(tail.key)

    @property
    def tails(self) -> Sequence[Tail]:
        """All streams that are read or produced in this process now."""
        return [*self._tails.values(), *self._settled]

    # What the feed calls.

    def appended(self, key: StreamKey, epoch: str, offset: int, data: bytes) -> None:
        tail = self._tails.get(key)
        if tail is None:
            return
        if epoch != tail.info.epoch:
            self.suspect(tail)
            return
        tail.push(offset, data, time.perf_counter())
        tail.hear(self._loop.time())

    def disturbed(self, key: StreamKey) -> None:
        tail = self._tails.get(key)
        if tail is not None:
            self.suspect(tail)

    def control_changed(self, tenant: str | None) -> None:
        if tenant is None:  # what a feed says whenever it is connected
            if feed_connected.receivers:
                again = self._was_connected
                feed_connected.emit(type(self._store), alias=self._store.alias, again=again)
            self._was_connected = True
        self.note_control_change(tenant)

    def note_control_change(self, tenant: str | None) -> None:
        """Count a change of control in a tenant (None: perhaps in any), and have it enforced."""
        self.control_version += 1
        self._on_control_change(tenant)

    # What keeps the tails honest.

    def suspect(self, tail: Tail) -> None:
        """Look the tail's state up; once more if a look is on its way, which may be too old."""
        if tail.has_ended or self._closed:
            return
        self._stale.add(tail)
        if tail not in self._looks:
            look = self._loop.create_task(self._look(tail), name="resumable_streams.hub.look")
            self._looks[tail] = look
            look.add_done_callback(lambda _: self._looked(tail))

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep)
            self._sweep_once()

    def _sweep_once(self) -> None:
        """Look at what is silent without a living producer, and at a few that have one.

        The few are those that were not heard of for longest: a safeguard for a push that was lost
        without a trace, at a price that does not grow with the number of readers.
        """
        quiet = self._loop.time() - self._sweep
        silent = [t for t in self._tails.values() if not t.is_local and t.heard_at <= quiet]
        for info in self._on_silence([tail.info for tail in silent]):
            self.suspect(self._tails[info.key])
        for tail in heapq.nsmallest(SWEPT_TAILS, silent, key=lambda tail: tail.heard_at):
            self.suspect(tail)

    def _looked(self, tail: Tail) -> None:
        del self._looks[tail]
        if tail in self._stale and self._tails.get(tail.key) is tail:
            self.suspect(tail)

    async def _look(self, tail: Tail) -> None:
        """Look the tail's state up; while the store is away, again until STORE_TIMEOUT is over."""
        patience = for_seconds(self._store_timeout)
        try:
            await patiently(lambda: self._refresh(tail), patience, most=LOOK_AGAIN_SECONDS)
        except StoreUnavailable as error:
            tail.fail(error)
        except Exception:  # whatever it is: its readers must not wait for ever
            logger.exception("Looking up the state of a stream failed.")
            tail.fail(StoreUnavailable(self._store.alias))

    async def _refresh(self, tail: Tail) -> None:
        self._stale.discard(tail)  # before it is asked: what is heard meanwhile asks once more
        tail.learn(await self._store.look(tail.key))
        tail.hear(self._loop.time())

    async def aclose(self) -> None:
        """End every reader with ShuttingDown, then close the feed."""
        self._closed = True
        for tail in self.tails:
            tail.dismiss()
        tasks = [self._sweeping, *self._looks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._feed.aclose()
