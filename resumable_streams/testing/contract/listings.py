"""Indexes: the streams of an owner, or the live ones of a tenant, in pages."""

from dataclasses import replace

from ...stores.base import BaseStore
from ...types import Holding, Listed, StreamStatus
from ..acts import KEY, SLOT, holding, look, start
from .base import StoreTests

__all__ = ["Listings"]


class Listings(StoreTests):
    """The part of the contract in this module."""

    async def walk(self, store: BaseStore, *, limit: int, **named: int) -> list[Holding]:
        """Walk through all pages of an owner's index."""
        found: list[Holding] = []
        after: Listed | None = None
        owner = holding().owner_digest
        while page := await store.listed(KEY.tenant, owner, limit=limit, after=after, **named):
            assert len(page) <= limit
            found += [one.holding for one in page]
            after = page[-1]
        return found

    async def enter(self, store: BaseStore, count: int) -> list[Holding]:
        """Enter streams of one owner, released at once as the quotas want it."""
        entered = [
            holding(replace(KEY, stream_id=f"s:{number}"), epoch=f"{number:08x}")
            for number in range(count)
        ]
        for one in entered:
            await store.reserve(one, ttl=30)
            await store.release(one)
        return entered

    async def test_live_streams_are_listed_until_they_are_released(self, store: BaseStore) -> None:
        one, two = holding(), holding(replace(KEY, stream_id="b"))
        assert await self.walk(store, limit=10) == []
        await store.reserve(one, ttl=30)
        await self.pass_time(0.01)
        await store.reserve(two, ttl=30)
        assert await self.walk(store, limit=10) == [two, one]  # the newest first
        assert [entry.holding for entry in await store.listed(KEY.tenant)] == [two, one]
        assert await store.listed("other") == []
        assert await store.listed(KEY.tenant, "0" * 32) == []
        await store.release(two)
        assert await self.walk(store, limit=10) == [one]

    async def test_the_index_of_a_generation_keeps_ended_streams(self, store: BaseStore) -> None:
        (one,) = await self.enter(store, 1)
        assert await self.walk(store, limit=10) == []
        assert await self.walk(store, limit=10, generation=KEY.generation) == [one]
        assert await self.walk(store, limit=10, generation=KEY.generation + 1) == []

    async def test_pages_meet_every_stream_once(self, store: BaseStore) -> None:
        entered = await self.enter(store, 25)
        for limit in (1, 7, 25, 100):
            found = await self.walk(store, limit=limit, generation=KEY.generation)
            assert len(found) == len(entered)
            assert set(found) == set(entered)

    async def test_a_page_goes_on_behind_a_stream_that_is_gone(self, store: BaseStore) -> None:
        await self.enter(store, 6)
        owner, generation = holding().owner_digest, KEY.generation
        first = await store.listed(KEY.tenant, owner, generation=generation, limit=3)
        await store.delete(first[-1].holding.key)
        rest = await store.listed(
            KEY.tenant, owner, generation=generation, limit=9, after=first[-1]
        )
        assert len(rest) == 3
        assert not set(rest) & set(first)

    async def test_a_deleted_stream_leaves_index_and_slot(self, store: BaseStore) -> None:
        await self.finish_in_slot(store)
        assert await store.delete(KEY)
        assert await self.walk(store, limit=10, generation=KEY.generation) == []
        assert await store.occupant(SLOT) is None

    async def test_a_purged_stream_leaves_index_and_slot(self, store: BaseStore) -> None:
        for _ in range(2):  # a store may go another way after the first
            await self.finish_in_slot(store)
            assert await store.purge(KEY)
            assert await self.walk(store, limit=10, generation=KEY.generation) == []
            assert await store.occupant(SLOT) is None

    async def finish_in_slot(self, store: BaseStore) -> None:
        """Have a stream that ended in the index of its owner and in a slot."""
        claim = await start(store, slot=SLOT.name)
        one = holding(epoch=claim.epoch)
        await store.reserve(one, ttl=30)
        await store.finalize(KEY, claim, StreamStatus.DONE)
        await store.release(one)
        await store.settle(SLOT, epoch=claim.epoch, stream_id=KEY.stream_id, keep=30)
        assert (await look(store)).slot == SLOT.name
