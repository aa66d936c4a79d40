"""Handing over: a stream that goes from one process to another."""

import asyncio

from ...exceptions import StreamClaimLost, StreamDoesNotExist, StreamFinalized
from ...stores.base import MAX_DEATHS, BaseStore
from ...types import ErrorCode, Role, StreamInfo, StreamStatus
from ..acts import KEY, TERMS, body, look, refusal, start, successor
from .base import StoreTests

__all__ = ["HandingOver"]


class HandingOver(StoreTests):
    """The part of the contract in this module."""

    async def test_a_stream_is_handed_over_by_whoever_holds_its_claim(
        self, store: BaseStore
    ) -> None:
        old = await start(store, attrs={"chat": "c1"})
        await store.append(KEY, old, 0, b"old ")
        new = successor(old)
        async with self.another(store) as other:
            for _ in range(2):  # also when the first answer was lost
                info = await other.reclaim(KEY, old.token, new)
                assert (info.size, info.entries, info.epoch) == (4, 1, old.epoch)
                assert (info.owner, info.attrs, info.is_streaming) == ("ada", {"chat": "c1"}, True)
            await refusal(StreamClaimLost, store.append(KEY, old, 4, b"zombie"))
            await refusal(StreamClaimLost, store.finalize(KEY, old, StreamStatus.DONE))
            await refusal(StreamClaimLost, store.reclaim(KEY, old.token, successor(new)))
            assert await store.touch([(KEY, old), (KEY, new)]) == [False, True]
            assert (await store.acquire(KEY, old, TERMS)).role is Role.CONSUMER
            assert (await store.acquire(KEY, new, TERMS)).role is Role.PRODUCER
            await other.append(KEY, new, 4, b"new")
        assert await body(store) == b"old new"

    async def test_a_stream_in_use_is_handed_to_nobody_else(self, store: BaseStore) -> None:
        claim = await start(store, grace=20)
        await refusal(StreamClaimLost, store.reclaim(KEY, "guess", successor(claim)))
        error = store.reclaim(KEY, "guess", successor(claim), silent="another one")
        await refusal(StreamClaimLost, error)
        await store.append(KEY, claim, 0, b"mine")
        assert (await look(store)).holder == "ours"

    async def test_what_is_missing_ended_or_another_incarnation_is_not_handed_over(
        self, store: BaseStore
    ) -> None:
        old = await start(store)
        await store.delete(KEY)
        await refusal(StreamDoesNotExist, store.reclaim(KEY, old.token, successor(old)))
        new = await start(store)
        error = store.reclaim(KEY, old.token, successor(old), silent="ours")
        await refusal(StreamDoesNotExist, error)
        await store.finalize(KEY, new, StreamStatus.DONE)
        over = await refusal(StreamFinalized, store.reclaim(KEY, new.token, successor(new)))
        assert over.status == "done"

    async def test_of_those_who_would_replace_a_silent_producer_one_does(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"old ")
        claims = [successor(claim, holder=f"p{number}") for number in range(10)]
        async with self.another(store) as other:
            answers = await asyncio.gather(
                *(
                    (store, other)[n % 2].reclaim(KEY, "", c, silent="ours")
                    for n, c in enumerate(claims)
                ),
                return_exceptions=True,
            )
        won = [c for c, a in zip(claims, answers, strict=True) if isinstance(a, StreamInfo)]
        assert len(won) == 1
        assert [type(a) for a in answers].count(StreamClaimLost) == 9
        await refusal(StreamClaimLost, store.append(KEY, claim, 4, b"zombie"))
        await store.append(KEY, won[0], 4, b"new")
        assert await body(store) == b"old new"
        assert (await look(store)).holder == won[0].holder

    async def test_a_stream_that_one_producer_after_the_other_dies_of_is_given_up(
        self, store: BaseStore
    ) -> None:
        claim = await start(store, holder="p0")
        for number in range(1, MAX_DEATHS):
            new = successor(claim, holder=f"p{number}")
            await store.reclaim(KEY, "", new, silent=f"p{number - 1}")
        last = store.reclaim(KEY, "", successor(claim), silent=f"p{MAX_DEATHS - 1}")
        await refusal(StreamFinalized, last)
        assert (await look(store)).error_code == ErrorCode.PRODUCER_LOST

    async def test_a_stream_that_goes_on_outlives_any_number_of_producers(
        self, store: BaseStore
    ) -> None:
        claim = await start(store, holder="p0")
        for size in range(MAX_DEATHS + 1):
            await store.append(KEY, claim, size, b"x")
            claim = successor(claim, holder=f"p{size + 1}")
            await store.reclaim(KEY, "", claim, silent=f"p{size}")
        assert (await look(store)).is_streaming

    async def test_what_a_dead_process_held_is_lost_and_a_zombie_appends_nothing(
        self, store: BaseStore
    ) -> None:
        claim = await start(store, finished_ttl=30)
        await store.append(KEY, claim, 0, b"abc")
        for _ in range(2):  # also when the first answer was lost
            ended = await store.reap(KEY, claim.epoch, holder="ours")
            assert ended is not None
            assert (ended.status, ended.error_code, ended.error, ended.holder) == (
                StreamStatus.ERROR,
                ErrorCode.PRODUCER_LOST,
                "",
                "ours",
            )
        assert (await look(store)).ttl <= 30
        zombie = await refusal(StreamFinalized, store.append(KEY, claim, 3, b"zombie"))
        assert zombie.status == "error"
        late = await store.finalize(KEY, claim, StreamStatus.DONE)
        assert late.error_code == ErrorCode.PRODUCER_LOST
        assert await store.touch([(KEY, claim)]) == [False]
        assert await body(store) == b"abc"

    async def test_only_what_that_process_holds_is_reaped(self, store: BaseStore) -> None:
        claim = await start(store)
        untouched = await store.reap(KEY, claim.epoch, holder="another")
        assert untouched is not None
        assert (untouched.is_streaming, untouched.holder) == (True, "ours")
        assert await store.reap(KEY, "ffffffff", holder="ours") is None
        await store.finalize(KEY, claim, StreamStatus.DONE)
        done = await store.reap(KEY, claim.epoch, holder="ours")
        assert done is not None
        assert done.status is StreamStatus.DONE
        await store.delete(KEY)
        assert await store.reap(KEY, claim.epoch, holder="ours") is None

    async def test_what_is_reaped_goes_on_with_an_heir_or_ends_in_ones_name(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        handed = await store.reap(KEY, claim.epoch, holder="ours", heir="heir")
        assert handed is not None
        assert (handed.is_streaming, handed.holder) == (True, "heir")
        for name in ("me", "you"):
            ended = await store.reap(KEY, claim.epoch, holder="heir", by=name)
            assert ended is not None
            assert (ended.is_streaming, ended.holder) == (False, "me")
