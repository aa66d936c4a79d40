"""Lifetimes: every key has a deadline."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from ...exceptions import StreamClaimLost, StreamDoesNotExist, StreamGap
from ...stores.base import BaseStore
from ...types import Claim, StreamStatus
from ..acts import KEY, TERMS, body, is_gone, look, refusal, scanned, start
from .base import StoreTests

__all__ = ["Lifetimes"]


class Lifetimes(StoreTests):
    """The part of the contract in this module."""

    async def test_appends_and_touches_renew_the_lifetime(self, store: BaseStore) -> None:
        claim = await start(store)
        renewals: list[Callable[[], Awaitable[object]]] = [
            lambda: store.append(KEY, claim, 0, b"abc"),
            lambda: store.append(KEY, claim, 0, b"abc"),
            lambda: store.touch([(KEY, claim)]),
        ]
        for renew in renewals:
            before = await look(store)
            await self.pass_time(0.05)
            await renew()
            after = await look(store)
            assert after.expires - before.expires > 0.04

    async def test_looking_renews_nothing(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        before = await look(store)
        await self.pass_time(0.05)
        await store.read(KEY, 0, 10)
        await store.acquire(KEY, Claim(), TERMS)
        await store.acquire(KEY, claim, TERMS)
        await store.touch([(KEY, Claim())])
        await refusal(StreamClaimLost, store.append(KEY, Claim(), 3, b"d"))
        await refusal(StreamGap, store.append(KEY, claim, 9, b"d"))
        after = await look(store)
        assert abs(after.expires - before.expires) < 0.02
        assert after.created == before.created

    async def test_touches_keep_a_quiet_stream(self, store: BaseStore) -> None:
        claim = await start(store, ttl=4 * self.short)
        for _ in range(6):
            await self.pass_time(self.short)
            assert await store.touch([(KEY, claim)]) == [True]
        assert (await look(store)).is_streaming

    async def test_a_stream_expires_as_a_whole(self, store: BaseStore) -> None:
        claim = await start(store, ttl=self.short)
        await store.append(KEY, claim, 0, b"old")
        await self.eventually(lambda: is_gone(store))
        assert await store.read(KEY, 0, 10) is None
        assert await scanned(store) == set()
        await refusal(StreamDoesNotExist, store.append(KEY, claim, 3, b"zombie"))
        assert await store.delete(KEY) is False
        new = await start(store)
        await store.append(KEY, new, 0, b"new")
        assert await body(store) == b"new"

    async def test_the_end_sets_the_lifetime_of_a_finished_stream(self, store: BaseStore) -> None:
        shorter, longer = replace(KEY, stream_id="shorter"), replace(KEY, stream_id="longer")
        one = await start(store, shorter, ttl=60, finished_ttl=self.short)
        two = await start(store, longer, ttl=20, finished_ttl=60)
        await store.append(shorter, one, 0, b"abc")
        assert (await store.finalize(shorter, one, StreamStatus.DONE)).ttl <= self.short
        assert (await store.finalize(longer, two, StreamStatus.DONE)).ttl > 50
        await self.eventually(lambda: is_gone(store, shorter))
        assert not await is_gone(store, longer)

    async def test_expire_sets_the_lifetime_for_good(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        assert await store.expire(KEY, 20) is True
        assert 19 < (await look(store)).ttl <= 20
        await store.append(KEY, claim, 3, b"def")
        await store.touch([(KEY, claim)])
        assert 19 < (await look(store)).ttl <= 20
        assert 19 < (await store.finalize(KEY, claim, StreamStatus.DONE)).ttl <= 20
        assert await store.expire(KEY, self.short) is True
        await self.eventually(lambda: is_gone(store))
        assert await store.expire(KEY, 20) is False
