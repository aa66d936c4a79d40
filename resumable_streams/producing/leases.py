"""The lease of this process, without which its streams count as lost.

A process lives as long as its heartbeats reach the store: one script for all its streams. It
*holds* the streams it produces, from before the source starts until the end is told. When a
heartbeat finds that another process has been silent for a lease, this one takes that one over
(`takeover`). The failures, and the state after each:

    we die, at any step           our deadline passes, and somebody takes over what we held; ends
                                  that we were telling are told once more
    we are silent for a lease     the same, though we live: the next heartbeat says that we were
                                  judged. Our streams are lost; we go on under another name
    the store is away             nobody's heartbeat succeeds. We judge only when all of ours have,
                                  in time, for a whole lease: so an outage kills nobody
    the store lost these keys     everybody is new to it, holds again what it held, and judges
                                  nobody for a lease
    the one that takes over dies  its own deadline in `dying` passes, and another one goes on

A heartbeat also brings the announcements since the last one, so that a revocation or a cancel
reaches this process even without a push.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from typing import Protocol

from ..exceptions import StoreUnavailable
from ..signals import heartbeat_failed
from ..stores.base import BaseStore
from ..stores.processes import Beat
from ..types import Claim, Fate, Holding, StreamKey

__all__ = ["LeaseKeeper", "News", "Producing"]

logger = logging.getLogger("resumable_streams.leases")


class Producing(Protocol):
    """A producer, as far as its lease is concerned."""

    claim: Claim
    holding: Holding

    def is_quiet(self, now: float) -> bool:
        """Return whether it is time to renew the TTL of its stream; by `time.monotonic`."""

    def was_renewed(self, now: float) -> None:
        """Note that the TTL of its stream is renewed."""

    def lose_claim(self) -> None:
        """Stop: the stream is not ours any more."""

    def is_long(self, now: float) -> bool:
        """Return whether it is time to renew its place in index and slot; by `time.monotonic`."""

    async def keep_place(self) -> None:
        """Renew that."""


class News(Protocol):
    """A listener to the news that heartbeats bring."""

    def disturbed(self, key: StreamKey) -> None:
        """Hear that something was done to a stream."""

    def control_changed(self, tenant: str) -> None:
        """Hear that what is in force in a tenant changed."""

    def missed_news(self) -> None:
        """Hear that all of this may have happened."""

    def passed(self, holders: Sequence[str]) -> None:
        """Hear of dead processes; only while we can judge."""

    def cut_off(self) -> None:
        """Hear that no heartbeat has succeeded for a lease."""


class LeaseKeeper:
    """The lease of this process at a store, and the other processes that live.

    Lives on the home loop. `lease` and `store_timeout` are seconds.
    """

    def __init__(self, store: BaseStore, *, lease: float, store_timeout: float, news: News):
        self.process = secrets.token_hex(8)
        self._store = store
        self._table = store.processes
        self._news = news
        self._lease = lease
        # So often that what is left of the lease outlasts a store that is away.
        self._interval = max(lease / 6, min(lease / 3, (lease - store_timeout) / 2))
        self._loop = asyncio.get_running_loop()
        self._one_beat = asyncio.Lock()
        self._position = ""
        self._is_known = False
        self._last: float | None = None
        self._in_time_since: float | None = None
        self._living: dict[str, float] = {}  # process: until when, by the loop's clock
        self._producers: set[Producing] = set()
        self._beating: asyncio.Task[None] | None = None
        self._first_beat: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to beat; does nothing when that was done."""
        if self._beating is None:
            self._first_beat = self._loop.create_task(
                self.beat(), name="resumable_streams.leases.first", context=Context()
            )
            self._first_beat.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._beating = self._loop.create_task(
                self._beat_forever(self._first_beat),
                name="resumable_streams.leases",
                context=Context(),
            )

    async def ready(self) -> str:
        """Return the name of this process, once the store knows it; StoreUnavailable if it can't.

        Cancellation here doesn't matter: the heartbeat goes on for the others.
        """
        self.start()
        if self._first_beat is not None and not self._is_known:
            await asyncio.wait([self._first_beat])
            if not self._is_known:
                await self.beat()
        return self.process

    async def _beat_forever(self, first: "asyncio.Task[None]") -> None:
        await asyncio.wait([first])
        while True:
            pause = self._interval if self._in_time_since is not None else self._interval / 5
            await asyncio.sleep(pause)
            try:
                await self.beat()
                await self._touch_quiet()
                await self._keep_places()
            except StoreUnavailable as error:
                self._tell_failure(error)
                if self._last is None or self._loop.time() - self._last > self._lease:
                    self._news.cut_off()
            except Exception as error:
                logger.exception("Renewing the lease of this process failed.")
                self._tell_failure(error)

    def _tell_failure(self, error: Exception) -> None:
        if heartbeat_failed.receivers:
            heartbeat_failed.emit(
                type(self._store),
                alias=self._store.alias,
                producers=len(self._producers),
                error=error,
            )

    async def beat(self) -> None:
        """Renew the lease once, and act on what that brings.

        One at a time: of two that hear that we were judged, each would begin anew.
        """
        async with self._one_beat:
            await self._beat()

    async def _beat(self) -> None:
        asked = self._loop.time()
        try:
            beat = await self._table.beat(self.process, lease=self._lease, position=self._position)
        except BaseException:
            self._in_time_since = None
            raise
        if beat.is_judged:
            self._begin_anew()
            await self._beat()
            return
        if beat.is_new and self._is_known:  # the store lost what it knew of everybody
            self._in_time_since = None
            await self._hold_again()
        self._is_known = True
        self._count(asked)
        self._living = {process: asked + left for process, left in beat.living.items()}
        self._hear(beat)
        if beat.passed and self.can_judge:
            self._news.passed(beat.passed)

    def _count(self, asked: float) -> None:
        """Note a heartbeat that succeeded; one that comes late starts the count anew."""
        is_late = self._last is None or asked - self._last > self._lease / 2
        if self._in_time_since is None or is_late:
            self._in_time_since = asked
        self._last = asked

    def _hear(self, beat: Beat) -> None:
        self._position = beat.position
        if beat.is_gap:
            self._news.missed_news()
        for about in beat.news:
            if isinstance(about, str):
                self._news.control_changed(about)
            else:
                self._news.disturbed(about)

    async def passed(self) -> Sequence[str]:
        """Return the holders that are dead, as the store sees it now."""
        async with self._one_beat:
            beat = await self._table.beat(self.process, lease=self._lease, position=self._position)
        if beat.is_judged:
            return ()  # the next heartbeat acts on it
        self._hear(beat)
        return beat.passed

    async def until_judge(self) -> None:
        """Wait until our own heartbeats show that the silence of others is not ours."""
        await self.ready()
        while not self.can_judge:  # noqa: ASYNC110 - it is time that has to pass
            await asyncio.sleep(self._interval / 5)

    @property
    def can_judge(self) -> bool:
        """Whether the silence of another process means that it is dead, and not that we are."""
        since = self._in_time_since
        return since is not None and self._loop.time() - since > self._lease

    def lives(self, holder: str) -> bool:
        """Return whether a holder is known to live, without asking."""
        if holder == self.process:
            return True
        return self._living.get(holder, 0.0) > self._loop.time()

    def _begin_anew(self) -> None:
        logger.error(
            "This process was silent for longer than its lease (LEASE, %g seconds), so another one "
            "took over its %d streams. Something blocks its event loop or stops the process.",
            self._lease,
            len(self._producers),
        )
        self.process = secrets.token_hex(8)
        self._is_known = False
        self._in_time_since = None
        lost, self._producers = self._producers, set()
        for producer in lost:
            producer.lose_claim()

    async def hold(self, holding: Holding) -> bool:
        """Hold a stream from now on; False if we were judged meanwhile."""
        me = self.process
        if await self._table.hold(me, holding):
            return True
        return await self.was_forgotten() and await self._table.hold(me, holding)

    async def was_forgotten(self) -> bool:
        """Return whether the store had lost what it knew of us, which it has again then."""
        me = self.process
        (fate,) = await self._table.fates([me])
        if fate is not Fate.UNKNOWN:
            return False
        await self.beat()
        return self.process == me  # else we were judged

    async def _hold_again(self) -> None:
        process = self.process
        await asyncio.gather(
            *(self._table.hold(process, producer.holding) for producer in self._producers)
        )

    # What this process produces.

    def add(self, producer: Producing) -> None:
        self._producers.add(producer)

    def discard(self, producer: Producing) -> None:
        self._producers.discard(producer)

    async def _touch_quiet(self) -> None:
        """Keep the keys of streams that have nothing to say: what is appended does it itself."""
        now = time.monotonic()
        quiet = [one for one in self._producers if one.is_quiet(now)]
        held = await self._store.touch([(p.holding.key, p.claim) for p in quiet]) if quiet else []
        for producer, is_held in zip(quiet, held, strict=True):
            if is_held:
                producer.was_renewed(now)
            else:
                producer.lose_claim()

    async def _keep_places(self) -> None:
        """Keep the places of long streams, in whose TTL the index would take them for lost ones."""
        now = time.monotonic()
        await asyncio.gather(*(one.keep_place() for one in self._producers if one.is_long(now)))

    async def aclose(self) -> None:
        """Stop beating. A process that holds nothing is forgotten; any other is taken over."""
        tasks = [task for task in (self._beating, self._first_beat) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._is_known:
            with suppress(StoreUnavailable):  # somebody finds that it holds nothing
                await self._table.leave(self.process)
