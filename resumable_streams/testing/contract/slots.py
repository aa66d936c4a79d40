"""Slots: of those who take one, one has it."""

import asyncio
from dataclasses import replace

from ...stores.base import BaseStore
from ...types import Occupant
from ..acts import SLOT
from .base import StoreTests

__all__ = ["Slots"]


async def take(store: BaseStore, epoch: str, seen: Occupant | None = None) -> Occupant:
    """Take the slot if its occupant is as it was seen; return who has it then."""
    found = await store.occupy(SLOT, epoch=epoch, stream_id=f"s-{epoch}", seen=seen, keep=30)
    assert found is not None
    return found


class Slots(StoreTests):
    """The part of the contract in this module."""

    async def test_an_empty_slot_has_no_occupant(self, store: BaseStore) -> None:
        assert await store.occupant(SLOT) is None
        await store.vacate(SLOT, epoch="e1")

    async def test_a_slot_names_who_took_it(self, store: BaseStore) -> None:
        await take(store, "e1")
        found = await store.occupant(SLOT)
        assert found is not None
        assert (found.epoch, found.stream_id, found.has_started) == ("e1", "s-e1", False)
        assert 0 <= found.age < 5
        for other in (
            {"tenant": "b"},
            {"generation": 2},
            {"owner_digest": "0" * 32},
            {"name": "b"},
        ):
            assert await store.occupant(replace(SLOT, **other)) is None

    async def test_a_slot_is_taken_from_the_occupant_that_was_seen(self, store: BaseStore) -> None:
        first = await take(store, "e1")
        assert (await take(store, "e2")).epoch == "e1"  # it was seen empty
        assert (await take(store, "e2", first)).epoch == "e2"
        assert (await take(store, "e3", first)).epoch == "e2"
        assert (await take(store, "e2", first)).epoch == "e2"  # the answer was lost
        await store.vacate(SLOT, epoch="e2")
        seen = replace(first, epoch="e2")
        assert (
            await store.occupy(SLOT, epoch="e4", stream_id="s", seen=seen, keep=30)
        ) is None  # it is empty by now: look again

    async def test_an_occupant_that_starts_is_not_pushed_out(self, store: BaseStore) -> None:
        pending = await take(store, "e1")
        assert await store.settle(SLOT, epoch="e1", stream_id="s-e1", keep=30)
        assert await store.settle(SLOT, epoch="e1", stream_id="s-e1", keep=30)
        found = await take(store, "e2", pending)
        assert (found.epoch, found.has_started) == ("e1", True)
        assert (await take(store, "e2", found)).epoch == "e2"
        assert not await store.settle(SLOT, epoch="e1", stream_id="s-e1", keep=30)
        settled = await store.occupant(SLOT)
        assert settled is not None
        assert (settled.epoch, settled.has_started) == ("e2", False)

    async def test_a_slot_that_was_lost_is_settled_again(self, store: BaseStore) -> None:
        assert await store.settle(SLOT, epoch="e1", stream_id="s-e1", keep=30)
        found = await store.occupant(SLOT)
        assert found is not None
        assert (found.epoch, found.stream_id, found.has_started) == ("e1", "s-e1", True)

    async def test_only_its_occupant_leaves_a_slot(self, store: BaseStore) -> None:
        await take(store, "e1")
        await store.vacate(SLOT, epoch="e2")
        assert await store.occupant(SLOT) is not None
        await store.vacate(SLOT, epoch="e1")
        await store.vacate(SLOT, epoch="e1")
        assert await store.occupant(SLOT) is None

    async def test_a_slot_is_kept_for_as_long_as_was_asked(self, store: BaseStore) -> None:
        await store.occupy(SLOT, epoch="e1", stream_id="s", seen=None, keep=self.short)
        await store.settle(SLOT, epoch="e1", stream_id="s", keep=30)
        await self.pass_time(self.short + 0.05)
        found = await store.occupant(SLOT)
        assert found is not None
        assert found.age >= self.short
        await store.settle(SLOT, epoch="e1", stream_id="s", keep=self.short)
        await self.pass_time(self.short + 0.05)
        assert await store.occupant(SLOT) is None

    async def test_of_concurrent_takers_one_has_the_slot(self, store: BaseStore) -> None:
        async with self.another(store) as other:
            for round_ in range(5):
                before = await store.occupant(SLOT)
                epochs = [f"{round_}{number}" for number in range(20)]
                stores = (store, other) * 10
                found = await asyncio.gather(*map(take, stores, epochs, [before] * 20))
                winners = {one.epoch for one in found}
                assert len(winners) == 1
                assert winners <= set(epochs)
