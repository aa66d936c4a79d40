"""Taking over the streams of dead processes: end or hand on each, and tell its end.

A dead process moves to `dying` with a deadline of the process that handles it, so one of many does,
and another one if that one dies. Each stream is judged by its own state, by compare and set: a
stream that another process continues is left alone.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from contextvars import Context
from typing import Any

from ..exceptions import StoreUnavailable
from ..identifiers import holding_of
from ..process.lasting import Lasting, as_a_whole
from ..process.runtime import runtime
from ..signals import process_taken_over
from ..stores.base import BaseStore
from ..stores.patience import patiently
from ..stores.processes import WAITING, new_waiting
from ..types import Fate, Holding, StreamInfo
from .leases import LeaseKeeper
from .telling import Teller, ending_of

__all__ = ["TakeOver"]

logger = logging.getLogger("resumable_streams.leases")

BATCH = 100


class TakeOver:
    """The end of streams that nobody produces any more.

    `lease` is the time a take-over may take, `election` how long one counts that is not confirmed;
    both in seconds.
    """

    def __init__(
        self,
        store: BaseStore,
        leases: LeaseKeeper,
        teller: Teller,
        *,
        lease: float,
        election: float,
    ):
        self._store = store
        self._table = store.processes
        self._leases = leases
        self._teller = teller
        self._lease = lease
        self._election = election
        self.lasting = Lasting()
        self._ending: set[Holding] = set()  # orphans, by us

    def soon(self, holders: Sequence[str]) -> None:
        """Take over dead holders in the background."""
        for holder in holders:
            self._attempt(self.take(holder), holder)

    def suspect(self, infos: Sequence[StreamInfo]) -> None:
        """Look in the background whether streams are held by somebody; end those that are not."""
        doubtful = [i for i in infos if i.is_streaming and not self._leases.lives(i.holder)]
        if doubtful and self._leases.can_judge:
            self._attempt(self.end_orphans(doubtful), "orphans")

    def _attempt(self, work: Coroutine[Any, Any, object], name: str) -> None:
        async def attempt() -> None:
            try:
                await work
            except StoreUnavailable:
                pass  # a later heartbeat, or a later look, finds it again
            except Exception:
                logger.exception("Taking over the streams of a dead process failed.")

        self.lasting.start(attempt(), name=f"takeover {name}", context=Context())

    async def take(self, holder: str) -> int:
        """End or hand on what a dead holder held, and tell; return how many ends were told.

        If this process dies on the way, the rest is still held by the dead holder, or told by us:
        the next one to take over goes on there.
        """
        taken = await self._table.take(holder, by=self._leases.process, lease=self._lease)
        if taken is None:
            return 0
        left, told = [*taken.held, *taken.telling], 0
        for start in range(0, len(left), BATCH):
            batch = left[start : start + BATCH]
            told += await self._count(self._settle(one, holder) for one in batch)
        await self._table.bury(holder)  # unless something is left, on a server that is away
        if holder.startswith(WAITING):
            return told
        if process_taken_over.receivers:
            process_taken_over.emit(
                type(self._store),
                alias=self._store.alias,
                process=holder,
                held=len(taken.held),
                told=told,
            )
        if left:
            logger.warning(
                "A process was silent for longer than its lease. Streams that it held: %d; "
                "ends told for it: %d.",
                len(left),
                told,
            )
        return told

    @as_a_whole  # of an end that is moved and not told, nobody would tell while we live
    async def _settle(self, holding: Holding, holder: str) -> bool:
        """Take over one stream; return whether its end was told by us."""
        info = await self._end(holding, holder)
        if info is not None and (info.is_streaming or info.holder != holder):
            await self._table.drop(holder, holding)  # somebody else holds it
            return False
        me = self._leases.process
        return await self._teller.tell(holding, ending_of(info), holder=holder, by=me)

    async def _end(self, holding: Holding, holder: str) -> StreamInfo | None:
        """Declare the stream lost, or have it wait for the grace that its terms give it.

        It is known as waiting before it is handed on, so nothing is lost between the two.
        """
        key, heir = holding.key, ""
        if not holder.startswith(WAITING):
            info = await self._store.look(key)
            if info is not None and info.epoch == holding.epoch and info.grace:
                heir = new_waiting()
                await self._table.park(heir, holding, seconds=info.grace)
        info = await self._store.reap(key, holding.epoch, holder=holder, heir=heir)
        if heir and (info is None or info.holder != heir):  # it has ended, or is another's
            await self._table.drop(heir, holding)
        return info

    async def take_all(self) -> int:
        """Take over every holder that is dead now; return how many ends were told.

        Takes a lease at least: see `LeaseKeeper.until_judge`. Take-overs that are under way in this
        process are over, too, when it returns.
        """
        await self._leases.until_judge()
        told = 0
        for holder in await self._leases.passed():
            told += await self.take(holder)
        await self.lasting.wait()  # for what a heartbeat has found before us
        return told

    async def silent(self, infos: Sequence[StreamInfo]) -> list[StreamInfo]:
        """Return which of these streams were left by a dead process."""
        producing = [info for info in infos if not info.holder.startswith(WAITING)]
        fates = await self._table.fates([info.holder for info in producing])
        return [i for i, fate in zip(producing, fates, strict=True) if fate is not Fate.LIVING]

    async def end_orphans(self, infos: Sequence[StreamInfo]) -> int:
        """End what was produced by processes that the store does not know; return how many.

        If it does not know us either, it has lost what it knew, and nothing follows from it.
        """
        me = self._leases.process
        *fates, ours = await self._table.fates([*(info.holder for info in infos), me])
        if ours is not Fate.LIVING or not self._leases.can_judge:
            return 0
        orphans = [
            info
            for info, fate in zip(infos, fates, strict=True)
            if fate is Fate.UNKNOWN and not self._is_on_its_way(info)
        ]
        return await self._count(self._end_orphan_soon(info, me) for info in orphans)

    async def _end_orphan_soon(self, info: StreamInfo, me: str) -> bool:
        """Wait a lease at most for the end of an orphan; once begun, it is told in any case."""
        try:
            async with asyncio.timeout(self._lease):
                return await self._end_orphan(info, me)
        except TimeoutError as error:
            raise StoreUnavailable(self._store.alias) from error

    def _is_on_its_way(self, info: StreamInfo) -> bool:
        """Return whether a stream may have been ordered just now, and not be known as waiting yet.

        If nobody confirms that election, it evaporates by itself.
        """
        return info.holder.startswith(WAITING) and info.ttl <= self._election

    async def _count(self, work: Iterable[Coroutine[Any, Any, bool]]) -> int:
        """Do all of it, and return how often it was done; what could not be is found again."""
        done = await asyncio.gather(*work, return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException) and not isinstance(one, StoreUnavailable):
                raise one
        return sum(one is True for one in done)

    @as_a_whole
    async def _end_orphan(self, info: StreamInfo, me: str) -> bool:
        """End it in our name, so that only one of those who find it tells of it."""
        holding = holding_of(info)
        if holding in self._ending:
            return False
        self._ending.add(holding)
        try:
            found = await self._store.look(holding.key)  # we may have ended it since it was seen
            is_as_seen = found and (found.epoch, found.status) == (info.epoch, info.status)
            return bool(is_as_seen) and await self._end_and_tell(holding, info.holder, me)
        finally:
            self._ending.discard(holding)

    async def _end_and_tell(self, holding: Holding, holder: str, me: str) -> bool:
        """End an orphan; it is ours to tell from before that, so that somebody always tells it."""
        if not await self._table.adopt(holding, by=me):
            return False
        ended = await patiently(  # or nobody would tell what was done, and not answered
            lambda: self._store.reap(holding.key, holding.epoch, holder=holder, by=me),
            lambda pause: runtime.is_draining,
        )
        if ended is None or ended.is_streaming or ended.holder != me:
            await self._table.told(holding, by=me)  # somebody else's
            return False
        await self._teller.tell_moved(holding, ending_of(ended), by=me)
        return True

    async def aclose(self) -> None:
        """Stop; what was not finished, somebody else takes over."""
        await self.lasting.aclose()
