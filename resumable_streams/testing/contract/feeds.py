"""The feed: written bytes are pushed."""

import asyncio
from dataclasses import replace

from ...exceptions import StreamClaimLost, StreamGap, StreamLimitExceeded
from ...stores.base import BaseStore
from ...types import Claim, StreamKey, StreamStatus
from ..acts import KEY, refusal, start
from ..listener import listening
from .base import ALL_BYTES, StoreTests

__all__ = ["Feeds"]


class Feeds(StoreTests):
    """The part of the contract in this module."""

    async def test_a_watched_stream_is_confirmed_then_pushed(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"before")
        async with self.another(store) as other, listening(store, KEY) as (heard, _):
            await other.append(KEY, claim, 6, ALL_BYTES)
            await other.append(KEY, claim, 262, b":1:!")
            await heard.hear(lambda: len(heard.appends) == 2)
            assert heard.appends == [
                (KEY, claim.epoch, 6, ALL_BYTES),
                (KEY, claim.epoch, 262, b":1:!"),
            ]
            assert heard.disturbances == []

    async def test_only_what_was_stored_is_pushed(self, store: BaseStore) -> None:
        claim = await start(store)
        async with listening(store, KEY) as (heard, _):
            await store.append(KEY, claim, 0, b"abc")
            await store.append(KEY, claim, 0, b"abc")
            await refusal(StreamGap, store.append(KEY, claim, 9, b"gap"))
            await refusal(StreamClaimLost, store.append(KEY, Claim(), 3, b"claim"))
            await refusal(StreamLimitExceeded, store.append(KEY, claim, 3, b"limit", chunks=10_000))
            await store.touch([(KEY, claim)])
            await store.append(KEY, claim, 1, b"bcd")
            await store.append(KEY, claim, 4, b"e")
            await heard.hear(lambda: len(heard.appends) >= 3)
            assert [(offset, data) for _, _, offset, data in heard.appends] == [
                (0, b"abc"),
                (3, b"d"),
                (4, b"e"),
            ]

    async def test_all_feeds_hear_each_byte_once_and_in_order(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(5)]
        claims = [await start(store, key) for key in keys]
        pieces = [ALL_BYTES[: 1 + number * 53 % 256] for number in range(40)]
        expected = b"".join(pieces)

        async def write(key: StreamKey, claim: Claim) -> None:
            size = 0
            for piece in pieces:
                size = await store.append(key, claim, size, piece)

        async with (
            self.another(store) as other,
            listening(store, *keys) as (near, _),
            listening(other, *keys) as (far, _),
        ):
            await asyncio.gather(*map(write, keys, claims))
            for heard in (near, far):
                await heard.hear(lambda heard=heard: len(heard.appends) == 200)  # type: ignore[misc]
                assert [heard.log(key) for key in keys] == [expected] * 5

    async def test_every_end_disturbs(self, store: BaseStore) -> None:
        names = ["done", "error", "cancelled", "deleted", "lost"]
        keys = {name: replace(KEY, stream_id=name) for name in names}
        claims = {name: await start(store, key) for name, key in keys.items()}
        await store.append(keys["deleted"], claims["deleted"], 0, b"abc")
        async with self.another(store) as other, listening(store, *keys.values()) as (heard, _):
            await other.finalize(keys["done"], claims["done"], StreamStatus.DONE)
            await other.finalize(keys["error"], claims["error"], StreamStatus.ERROR)
            await other.cancel(keys["cancelled"])
            await other.delete(keys["deleted"])
            await other.reap(keys["lost"], claims["lost"].epoch, holder="ours")
            await heard.hear(lambda: set(heard.disturbances) == set(keys.values()))
            assert heard.appends == []

    async def test_a_cancel_and_a_delete_reach_feeds_that_do_not_watch(
        self, store: BaseStore
    ) -> None:
        """The producer's process does not watch its own streams."""
        cancelled, deleted = (replace(KEY, stream_id=name) for name in ("cancelled", "deleted"))
        await start(store, cancelled)
        await start(store, deleted)
        async with self.another(store) as other, listening(store, KEY) as (heard, _):
            await other.cancel(cancelled)
            await other.delete(deleted)
            await heard.hear(lambda: {cancelled, deleted} <= set(heard.disturbances))

    async def test_an_unwatched_stream_is_not_pushed_any_more(self, store: BaseStore) -> None:
        marker = replace(KEY, stream_id="marker")
        claim, marker_claim = await start(store), await start(store, marker)
        async with listening(store, KEY) as (heard, feed):
            feed.unwatch(KEY)
            feed.watch(marker)
            await heard.hear(lambda: marker in heard.disturbances)
            await store.append(KEY, claim, 0, b"unheard")
            await store.append(marker, marker_claim, 0, b"heard")
            await heard.hear(lambda: marker in {key for key, *_ in heard.appends})
            assert heard.log(KEY) == b""
            feed.unwatch(KEY)  # harmless

    async def test_a_stream_that_is_watched_again_is_confirmed_again(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        async with listening(store, KEY) as (heard, feed):
            size = 0
            for pause in (0, 0.02):
                feed.unwatch(KEY)
                await asyncio.sleep(pause)
                heard.forget()
                feed.watch(KEY)
                await heard.hear(lambda: KEY in heard.disturbances)
                heard.forget()
                size = await store.append(KEY, claim, size, b"heard")
                await heard.hear(lambda: bool(heard.appends))

    async def test_a_closed_feed_is_silent(self, store: BaseStore) -> None:
        claim = await start(store)
        async with listening(store, KEY) as (closed, feed), listening(store, KEY) as (open_, _):
            await feed.aclose()
            await store.append(KEY, claim, 0, b"abc")
            await store.finalize(KEY, claim, StreamStatus.DONE)
            await open_.hear(lambda: bool(open_.disturbances))
            assert (closed.appends, closed.disturbances) == ([], [])
