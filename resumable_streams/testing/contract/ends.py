"""Ends: decided once."""

import asyncio
from dataclasses import replace

from ...exceptions import StreamClaimLost, StreamFinalized, StreamGap
from ...stores.base import BaseStore
from ...types import Claim, ErrorCode, StreamStatus
from ..acts import KEY, body, look, refusal, start
from .base import StoreTests

__all__ = ["Ends"]


class Ends(StoreTests):
    """The part of the contract in this module."""

    async def test_the_first_end_stays(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        first = await store.finalize(
            KEY, claim, StreamStatus.ERROR, error_code="source_failed", error="ä: no"
        )
        assert (first.status, first.error_code, first.error, first.size) == (
            StreamStatus.ERROR,
            ErrorCode.SOURCE_FAILED,
            "ä: no",
            3,
        )
        again = await store.finalize(KEY, claim, StreamStatus.DONE)
        cancelled = await store.cancel(KEY)
        for info in (again, cancelled, await look(store)):
            assert info is not None
            assert (info.status, info.error_code, info.error) == (
                first.status,
                first.error_code,
                first.error,
            )
        assert await store.touch([(KEY, claim)]) == [False]
        assert await body(store) == b"abc"

    async def test_an_end_beyond_the_log_is_refused_and_names_where_it_ends(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        for status in (StreamStatus.DONE, StreamStatus.ERROR):
            gap = await refusal(StreamGap, store.finalize(KEY, claim, status, size=5))
            assert gap.size == 3
        assert (await look(store)).is_streaming
        await refusal(StreamClaimLost, store.finalize(KEY, Claim(), StreamStatus.DONE, size=5))
        await store.append(KEY, claim, 3, b"de")
        assert (await store.finalize(KEY, claim, StreamStatus.DONE, size=5)).size == 5
        # How it ended stays, whatever the size that the caller believes in.
        again = await store.finalize(KEY, claim, StreamStatus.ERROR, size=9)
        assert (again.status, await body(store)) == (StreamStatus.DONE, b"abcde")

    async def test_an_end_before_the_end_of_the_log_cuts_nothing(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        assert (await store.finalize(KEY, claim, StreamStatus.DONE, size=1)).size == 3
        assert await body(store) == b"abc"

    async def test_any_text_can_be_the_message_of_an_error(self, store: BaseStore) -> None:
        claim = await start(store)
        text = "file \udcff\x00\n" + "x" * 10_000
        await store.finalize(KEY, claim, StreamStatus.ERROR, error_code="x", error=text)
        assert (await look(store)).error.startswith("file ")

    async def test_cancelling_ends_once_and_keeps_what_was_written(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        async with self.another(store) as other:
            assert await other.cancel(KEY, epoch="00000000") is None
            assert (await look(store)).is_streaming
            for epoch in (claim.epoch, None, claim.epoch):
                info = await other.cancel(KEY, epoch=epoch)
                assert info is not None
                assert (info.status, info.size) == (StreamStatus.CANCELLED, 3)
        assert (await refusal(StreamFinalized, store.append(KEY, claim, 3, b"d"))).status == (
            "cancelled"
        )
        info = await store.finalize(KEY, claim, StreamStatus.DONE)
        assert info.status is StreamStatus.CANCELLED
        assert await body(store) == b"abc"

    async def test_of_concurrent_ends_one_is_told_to_all(self, store: BaseStore) -> None:
        async with self.another(store) as other:
            for number in range(10):
                key = replace(KEY, stream_id=f"s{number}")
                claim = await start(store, key)
                ends = await asyncio.gather(
                    store.finalize(key, claim, StreamStatus.DONE),
                    other.cancel(key),
                    other.finalize(key, claim, StreamStatus.ERROR, error_code="interrupted"),
                )
                info = await other.look(key)
                assert {end and end.status for end in ends} == {info and info.status}
