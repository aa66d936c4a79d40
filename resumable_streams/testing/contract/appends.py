"""Appends: fenced, and exactly once."""

import asyncio

from ...exceptions import StreamClaimLost, StreamFinalized, StreamGap, StreamLimitExceeded
from ...stores.base import MAX_APPEND_BYTES, BaseStore, PendingAppend
from ...types import Claim, StreamStatus
from ..acts import KEY, TERMS, body, look, refusal, start
from .base import ALL_BYTES, StoreTests

__all__ = ["Appends"]


class Pending(PendingAppend):
    """An append of these bytes, or one that has none any more."""

    def __init__(self, offset: int, data: bytes | None) -> None:
        self._offset, self._data = offset, data
        self.taken, self.answers = 0, list[bool]()

    def take(self) -> tuple[int, bytes, int] | None:
        self.taken += 1
        return None if self._data is None else (self._offset, self._data, 1)

    def answered(self, is_stored: bool) -> None:
        self.answers.append(is_stored)


class Appends(StoreTests):
    """The part of the contract in this module."""

    async def test_every_byte_comes_back(self, store: BaseStore) -> None:
        claim = await start(store)
        pieces = [ALL_BYTES, b"\r\n$5\r\n", b"\x00", "ä€😀".encode(), b":1:", b"!", b" " * 7]
        size = 0
        for piece in pieces:
            size = await store.append(KEY, claim, size, piece)
        assert size == len(b"".join(pieces))
        for page in (1, 7, 256, size):
            assert await body(store, page=page) == b"".join(pieces)

    async def test_a_duplicate_append_stores_nothing(self, store: BaseStore) -> None:
        claim = await start(store)
        for _ in range(3):
            assert await store.append(KEY, claim, 0, b"abc") == 3
        assert await store.append(KEY, claim, 3, b"def") == 6
        assert await store.append(KEY, claim, 0, b"abc") == 6
        assert await store.append(KEY, claim, 1, b"bcde") == 6
        info = await look(store)
        assert (await body(store), info.entries) == (b"abcdef", 2)

    async def test_an_overlapping_append_stores_what_is_new(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        assert await store.append(KEY, claim, 1, b"bcdef") == 6
        assert await store.append(KEY, claim, 0, b"abcdef\x00\xff") == 8
        assert await body(store) == b"abcdef\x00\xff"

    async def test_a_gapped_append_is_refused_and_names_the_end(self, store: BaseStore) -> None:
        claim = await start(store)
        assert (await refusal(StreamGap, store.append(KEY, claim, 1, b"x"))).size == 0
        await store.append(KEY, claim, 0, b"abc")
        assert (await refusal(StreamGap, store.append(KEY, claim, 4, b"x"))).size == 3
        assert (await refusal(StreamGap, store.append(KEY, claim, 9, b""))).size == 3
        assert (await body(store), (await look(store)).entries) == (b"abc", 1)

    async def test_concurrent_appends_of_the_same_bytes_store_them_once(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        async with self.another(store) as other:
            for offset in range(0, 2_560, 256):
                sizes = await asyncio.gather(
                    *(one.append(KEY, claim, offset, ALL_BYTES) for one in [store, other] * 3)
                )
                assert set(sizes) == {offset + 256}
        assert (await body(store), (await look(store)).entries) == (ALL_BYTES * 10, 10)

    async def test_an_append_that_has_begun_is_one_that_nobody_awaits(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        log = b"abc"
        for offset, data, then in (
            (3, b"de", b"abcde"),
            (3, b"de", b"abcde"),
            (9, b"gap", b"abcde"),
            (4, b"ef", b"abcdef"),
        ):
            if await self._begins(store, claim, offset, data):
                log = then
            assert await body(store) == log
        await store.finalize(KEY, claim, StreamStatus.DONE)
        assert not await self._begins(store, claim, len(log), b"x")
        assert await body(store) == log

    async def _begins(self, store: BaseStore, claim: Claim, offset: int, data: bytes) -> bool:
        """Return whether an append has begun and was stored: a store may refuse to begin any."""
        pending = Pending(offset, data)
        if not store.begin_append(KEY, claim, pending):
            return False

        async def is_answered() -> bool:
            await asyncio.sleep(0)
            return bool(pending.answers)

        await self.eventually(is_answered)
        assert (pending.taken, len(pending.answers)) == (1, 1)
        return pending.answers[0]

    async def test_an_append_with_nothing_to_store_is_none(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        pending = Pending(3, None)
        if store.begin_append(KEY, claim, pending):

            async def is_taken() -> bool:
                await asyncio.sleep(0)
                return bool(pending.taken)

            await self.eventually(is_taken)
        await store.append(KEY, claim, 3, b"de")
        assert (await body(store), pending.answers) == (b"abcde", [])

    async def test_an_append_of_nothing_only_renews(self, store: BaseStore) -> None:
        claim = await start(store)
        before = await look(store)
        await self.pass_time(0.05)
        assert await store.append(KEY, claim, 0, b"", chunks=1) == 0
        after = await look(store)
        assert (after.size, after.entries) == (0, 0)
        assert after.expires > before.expires

    async def test_chunks_are_counted_as_the_source_had_them(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc", chunks=3)
        await store.append(KEY, claim, 3, b"d", chunks=1)
        await store.append(KEY, claim, 4, b"e", chunks=0)
        info = await look(store)
        assert (info.size, info.entries) == (5, 4)

    async def test_the_largest_append_is_read_in_pages(self, store: BaseStore) -> None:
        claim = await start(store)
        data = (ALL_BYTES * (MAX_APPEND_BYTES // 256 + 1))[1:][:MAX_APPEND_BYTES]
        assert await store.append(KEY, claim, 0, data) == MAX_APPEND_BYTES
        assert await body(store, page=65_521) == data

    async def test_bytes_go_exactly_to_their_limit(self, store: BaseStore) -> None:
        claim, most = await start(store), 2 * MAX_APPEND_BYTES
        await store.append(KEY, claim, 0, bytes(MAX_APPEND_BYTES))
        for data in (bytes(MAX_APPEND_BYTES), bytes(MAX_APPEND_BYTES + 1)):
            over = store.append(KEY, claim, MAX_APPEND_BYTES, data + b"x")
            error = await refusal(StreamLimitExceeded, over)
            assert (error.limit, error.value) == ("MAX_STREAM_BYTES", most)
        assert (await look(store)).size == MAX_APPEND_BYTES
        assert await store.append(KEY, claim, MAX_APPEND_BYTES, bytes(MAX_APPEND_BYTES)) == most
        await refusal(StreamLimitExceeded, store.append(KEY, claim, most, b"x"))
        # What is there already exceeds nothing.
        assert await store.append(KEY, claim, most - 1, b"\x00") == most
        info = await look(store)
        assert (info.size, info.entries, info.is_streaming) == (most, 2, True)

    async def test_entries_go_exactly_to_their_limit(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"a" * 999, chunks=999)
        error = await refusal(StreamLimitExceeded, store.append(KEY, claim, 999, b"bc", chunks=2))
        assert (error.limit, error.value) == ("MAX_ENTRIES_PER_STREAM", 1_000)
        assert await store.append(KEY, claim, 999, b"b", chunks=1) == 1_000
        await refusal(StreamLimitExceeded, store.append(KEY, claim, 1_000, b"c", chunks=1))
        assert await store.append(KEY, claim, 999, b"b", chunks=1) == 1_000
        info = await look(store)
        assert (info.size, info.entries, info.is_streaming) == (1_000, 1_000, True)

    async def test_only_the_claim_may_write(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        await store.acquire(KEY, loser := Claim(), TERMS)
        for thief in (loser, Claim(epoch=claim.epoch)):
            await refusal(StreamClaimLost, store.append(KEY, thief, 3, b"x"))
            await refusal(StreamClaimLost, store.append(KEY, thief, 0, b"abc"))
            await refusal(StreamClaimLost, store.finalize(KEY, thief, StreamStatus.DONE))
            assert await store.touch([(KEY, thief)]) == [False]
        info = await look(store)
        assert (await body(store), info.status) == (b"abc", StreamStatus.STREAMING)

    async def test_nothing_is_appended_after_the_end(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        await store.finalize(KEY, claim, StreamStatus.DONE)
        for offset, data in ((3, b"x"), (0, b"abc"), (9, b"x")):
            error = await refusal(StreamFinalized, store.append(KEY, claim, offset, data))
            assert error.status == "done"
        assert await body(store) == b"abc"
