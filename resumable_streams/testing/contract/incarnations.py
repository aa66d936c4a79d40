"""A missing stream, and one that was acquired again."""

import asyncio

from ...exceptions import StreamClaimLost, StreamDoesNotExist
from ...stores.base import BaseStore
from ...types import Claim, StreamStatus
from ..acts import KEY, body, is_gone, look, refusal, scanned, start
from .base import StoreTests

__all__ = ["Incarnations"]


class Incarnations(StoreTests):
    """The part of the contract in this module."""

    async def test_every_verb_says_of_a_missing_stream_that_it_is_missing(
        self, store: BaseStore
    ) -> None:
        claim = Claim()
        await refusal(StreamDoesNotExist, store.append(KEY, claim, 0, b"x"))
        await refusal(StreamDoesNotExist, store.append(KEY, claim, 5, b""))
        await refusal(StreamDoesNotExist, store.finalize(KEY, claim, StreamStatus.DONE))
        await refusal(StreamDoesNotExist, store.reclaim(KEY, claim.token, Claim()))
        assert await store.read(KEY, 0, 10) is None
        assert await store.status([KEY]) == [None]
        assert await store.touch([(KEY, claim)]) == [False]
        assert await store.cancel(KEY) is None
        assert await store.cancel(KEY, epoch=claim.epoch) is None
        assert await store.delete(KEY) is False
        assert await store.delete(KEY, epoch=claim.epoch) is False
        assert await store.expire(KEY, 5) is False
        assert await scanned(store) == set()

    async def test_a_deleted_stream_is_missing_at_once(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        async with self.another(store) as other:
            assert await other.delete(KEY) is True
            assert await other.delete(KEY) is False
        assert await is_gone(store)
        assert await store.read(KEY, 0, 10) is None
        await refusal(StreamDoesNotExist, store.append(KEY, claim, 3, b"d"))
        await refusal(StreamDoesNotExist, store.finalize(KEY, claim, StreamStatus.DONE))
        assert await scanned(store) == set()

    async def test_a_purge_removes_every_incarnation_running_or_not(self, store: BaseStore) -> None:
        async with self.another(store) as other:
            assert await other.purge(KEY) is False
            for ends in (False, True, False, True):
                claim = await start(store)
                await store.append(KEY, claim, 0, b"abc")
                if ends:
                    await store.finalize(KEY, claim, StreamStatus.DONE)
                assert await other.purge(KEY) is True
                assert await other.purge(KEY) is False
                assert await is_gone(store)
                assert await store.read(KEY, 0, 10) is None
                await refusal(StreamDoesNotExist, store.append(KEY, claim, 3, b"d"))
                assert await scanned(store) == set()

    async def test_what_was_acquired_again_is_another_incarnation(self, store: BaseStore) -> None:
        old = await start(store, owner="ada", attrs={"old": "yes"})
        await store.append(KEY, old, 0, b"old bytes")
        await store.delete(KEY)
        new = await start(store, owner="eve")
        info = await look(store)
        assert info.epoch == new.epoch != old.epoch
        assert (info.size, info.entries, info.owner, info.attrs) == (0, 0, "eve", {})
        for offset in (0, 9):
            await refusal(StreamClaimLost, store.append(KEY, old, offset, b"old"))
        await refusal(StreamClaimLost, store.finalize(KEY, old, StreamStatus.DONE))
        assert await store.touch([(KEY, old), (KEY, new)]) == [False, True]
        assert await store.cancel(KEY, epoch=old.epoch) is None
        assert await store.delete(KEY, epoch=old.epoch) is False
        assert (await look(store)).is_streaming
        await store.append(KEY, new, 0, b"new")
        assert await body(store) == b"new"
        assert await store.delete(KEY, epoch=new.epoch) is True
        assert await is_gone(store)

    async def test_no_old_byte_enters_a_stream_that_was_acquired_again(
        self, store: BaseStore
    ) -> None:
        async with self.another(store) as other:
            for _ in range(10):
                old = await start(store)
                appending = asyncio.create_task(self._append_until_refused(store, old))
                await self.eventually(lambda: self._has_grown(other))
                await other.delete(KEY)
                new = await start(other, owner="eve")
                size = 0
                for _ in range(10):
                    size = await other.append(KEY, new, size, b"new")
                assert await appending in (StreamClaimLost, StreamDoesNotExist)
                await refusal(StreamClaimLost, store.finalize(KEY, old, StreamStatus.ERROR))
                info = await look(store)
                assert (info.status, info.owner) == (StreamStatus.STREAMING, "eve")
                assert info.epoch == new.epoch
                assert await body(store) == b"new" * 10
                await store.delete(KEY)

    async def _append_until_refused(self, store: BaseStore, claim: Claim) -> type[Exception]:
        size = 0
        while True:
            try:
                size = await store.append(KEY, claim, size, b"old")
            except Exception as error:
                return type(error)
            await asyncio.sleep(0)  # a store without I/O would never let anyone else run

    async def _has_grown(self, store: BaseStore) -> bool:
        await asyncio.sleep(0)
        return (await look(store)).size > 0
