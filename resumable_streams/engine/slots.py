"""Taking a slot, so that an owner has at most one live stream under its name.

    look      at the slot, and at the stream that it names
    end       that stream, if it runs and is to be replaced
    occupy    compare and set: the slot names our epoch, which has not started
    end       the stream named before, if that was elected since we looked
    elect     as without a slot: see `elections`
    settle    compare and set: the slot is ours, and says that we start

A slot is taken while the incarnation it names streams, if its owner may reach that; and for a lease
from `occupy` on, if that one has not started yet. Of two that elect, the one starts that the slot
names.
The deaths, and what is left after each:

    before `occupy`        the slot as it was; it is free if its stream was ended already
    after `occupy`         a slot that comes free after a lease. Nothing runs that it does not name:
                           `occupy` fails where its occupant has started since the look
    after the election     an election that evaporates, or is taken over; the slot, as above
    after `settle`         a stream that is taken over as any other; its slot is free then
"""

from enum import Enum
from typing import Any

from ..exceptions import SlotBusy
from ..signals import stream_cancelled
from ..stores.base import BaseStore
from ..types import (
    CancellationReason,
    Control,
    Occupant,
    OnBusy,
    Owner,
    Slot,
    StreamInfo,
    StreamKey,
)
from . import Engine

__all__ = ["SlotEntry", "SlotLost", "SlotTurn", "find_occupant"]


class SlotLost(Exception):
    """Another stream took the slot before this one started."""


class SlotTurn(Enum):
    """What follows from a look at a slot, if no stream is to be joined."""

    OURS = "ours"  # elect
    AGAIN = "again"  # somebody else is at it: look again soon


def key_in(slot: Slot, stream_id: str) -> StreamKey:
    return StreamKey(tenant=slot.tenant, generation=slot.generation, stream_id=stream_id)


async def find_occupant(
    store: BaseStore, slot: Slot, control: Control
) -> tuple[Occupant | None, StreamInfo | None]:
    """Return the occupant of a slot, and its state if it is live and its owner may reach it."""
    occupant = await store.occupant(slot)
    if occupant is None:
        return None, None
    info = await store.look(key_in(slot, occupant.stream_id))
    is_live = info is not None and info.epoch == occupant.epoch and info.is_streaming
    return occupant, info if info is not None and is_live and control.admits(info) else None


class SlotEntry:
    """The way of one `run` into its slot.

    `others` are the slots of the same name that belong to the other names of who asks, each with
    what is in force for it.
    """

    def __init__(
        self,
        engine: Engine,
        slot: Slot,
        *,
        owner: Owner,
        others: list[tuple[Owner, Slot, Control]],
        on_busy: OnBusy,
        ttl: float,
        request: Any,
    ):
        self._engine = engine
        self._store = engine.store
        self._slot = slot
        self._owner = owner
        self._others = others
        self._on_busy = on_busy
        self._keep = 2 * ttl
        self._request = request

    async def take(self, key: StreamKey, epoch: str, control: Control) -> StreamInfo | SlotTurn:
        """Take the slot for `epoch`, or return the stream to join; raise SlotBusy as asked.

        A stream that is there already under our own id is no matter of slots.
        """
        if await self._store.look(key) is not None:
            return SlotTurn.OURS
        for owner, slot, theirs in self._others:
            _, info = await find_occupant(self._store, slot, theirs)
            if info is not None and (joined := await self._give_way(key, owner, info)):
                return joined
        occupant, info = await find_occupant(self._store, self._slot, control)
        if info is not None:
            self._engine.takeover.suspect([info])
            if info.stream_id == key.stream_id:  # begun since we looked
                return SlotTurn.OURS
            if occupant and self._is_pending(occupant) and self._on_busy is OnBusy.JOIN:
                return SlotTurn.AGAIN  # elected, and perhaps refused before it starts
            if joined := await self._give_way(key, self._owner, info):
                return joined
        elif occupant is not None and self._is_pending(occupant) and self._waits_for(occupant, key):
            return SlotTurn.AGAIN
        return await self._occupy(key, epoch, occupant)

    async def _give_way(self, key: StreamKey, owner: Owner, info: StreamInfo) -> StreamInfo | None:
        """Return a live stream that we are to join; end one that we are to replace."""
        match self._on_busy:
            case OnBusy.JOIN:
                return info
            case OnBusy.REFUSE:
                raise SlotBusy(info.stream_id)
        # Cancelled, or dead, from here on: it is over, and the slot that names it is free.
        await self._end(info.key, info.epoch)
        await self._engine.notify(
            stream_cancelled, info.key, owner, epoch=info.epoch, request=self._request
        )
        return None

    def _is_pending(self, occupant: Occupant) -> bool:
        return not occupant.has_started and occupant.age <= self._engine.settings.lease

    def _waits_for(self, occupant: Occupant, key: StreamKey) -> bool:
        """Return whether to wait for one that is not elected yet; a second call of ours does."""
        if occupant.stream_id == key.stream_id:
            return True
        if self._on_busy is OnBusy.REFUSE:
            raise SlotBusy(occupant.stream_id)
        return self._on_busy is OnBusy.JOIN

    async def _occupy(self, key: StreamKey, epoch: str, seen: Occupant | None) -> SlotTurn:
        now = await self._store.occupy(
            self._slot, epoch=epoch, stream_id=key.stream_id, seen=seen, keep=self._keep
        )
        if now is None or now.epoch != epoch:
            return SlotTurn.AGAIN
        if seen is not None:
            await self._end(key_in(self._slot, seen.stream_id), seen.epoch)
        return SlotTurn.OURS

    async def _end(self, key: StreamKey, epoch: str) -> None:
        await self._store.cancel(key, epoch=epoch, code=CancellationReason.REPLACED)

    async def settle(self, info: StreamInfo) -> None:
        """Confirm that the slot is ours, right before the source starts; raise SlotLost."""
        if not await self._store.settle(
            self._slot, epoch=info.epoch, stream_id=info.stream_id, keep=self._keep
        ):
            raise SlotLost

    async def leave(self, epoch: str) -> None:
        """Free the slot, if it is ours: nothing was elected."""
        await self._store.vacate(self._slot, epoch=epoch)

    def leave_soon(self, epoch: str) -> None:
        """Free the slot in the background, once the store answers."""
        self._engine.see_to(lambda: self.leave(epoch), "leave a slot")
