"""Reads: from any byte, in pages."""

import asyncio
from dataclasses import replace

from ...stores.base import BaseStore, known
from ...types import StreamStatus
from ..acts import KEY, start
from .base import ALL_BYTES, StoreTests

__all__ = ["Reads"]


class Reads(StoreTests):
    """The part of the contract in this module."""

    async def test_a_page_is_up_to_its_limit_from_any_byte(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"0123")
        await store.append(KEY, claim, 4, b"456789")
        for offset in range(12):
            for limit in (1, 3, 5, 10, 1_000):
                page = await store.read(KEY, offset, limit)
                assert page is not None
                assert page.data == b"0123456789"[offset : offset + limit]
                assert (page.info.size, page.info.epoch) == (10, claim.epoch)

    async def test_a_read_during_appends_gets_each_byte_once_and_in_order(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        pieces = [ALL_BYTES[: 1 + number * 37 % 256] for number in range(200)]

        async def write() -> None:
            size = 0
            for piece in pieces:
                size = await store.append(KEY, claim, size, piece)
                await asyncio.sleep(0)
            await store.finalize(KEY, claim, StreamStatus.DONE)

        async def follow(reader: BaseStore, limit: int) -> bytes:
            data = b""
            while True:
                page = await reader.read(KEY, len(data), limit)
                assert page is not None
                data += page.data
                assert page.info.size >= len(data)
                if not page.info.is_streaming and len(data) == page.info.size:
                    return data
                await asyncio.sleep(0)

        async with self.another(store) as other:
            _, *read = await asyncio.gather(
                write(), follow(store, 100), follow(other, 333), follow(other, 100_000)
            )
        assert read == [b"".join(pieces)] * 3

    async def test_states_come_in_the_order_of_the_keys(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(40)]
        for size, key in enumerate(keys[::2]):
            await store.append(key, await start(store, key), 0, b"x" * size)
        asked = keys[::-1] + keys[:2]
        found = [known(one) for one in await store.status(asked)]
        assert [info and info.stream_id for info in found] == [
            key.stream_id if key in keys[::2] else None for key in asked
        ]
        assert [info.size for info in found if info] == [*range(19, -1, -1), 0]
        assert await store.status([]) == []
        assert await store.touch([]) == []
