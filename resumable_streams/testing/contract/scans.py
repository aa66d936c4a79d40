"""Scans: the streams present, tenant by tenant."""

import asyncio
from dataclasses import replace

from ...stores.base import BaseStore
from ...types import StreamKey
from ..acts import KEY, scanned, start
from .base import StoreTests

__all__ = ["Scans"]


class Scans(StoreTests):
    """The part of the contract in this module."""

    async def test_a_scan_keeps_to_tenant_and_generation(self, store: BaseStore) -> None:
        places = [("4", 1), ("4", 2), ("4", 12), ("42", 1), ("42", 2), ("_4-", 1)]
        for tenant, generation in places:
            for stream_id in ("a", "a:b", "g1"):
                key = StreamKey(tenant=tenant, generation=generation, stream_id=stream_id)
                await store.append(key, await start(store, key), 0, b"x")
        await store.set_control("4", generation=1)
        await store.revoke("4", "ada", keep=30)
        everything = {f"{t}/{g}/{s}" for t, g in places for s in ("a", "a:b", "g1")}
        assert await scanned(store) == everything
        assert await scanned(store, "4") == {n for n in everything if n.startswith("4/")}
        assert await scanned(store, "4", 1) == {"4/1/a", "4/1/a:b", "4/1/g1"}
        assert await scanned(store, None, 2) == {n for n in everything if "/2/" in n}
        for nobody in ("*", "?", "[0-9]", "4*", "5"):
            assert await scanned(store, nobody) == set()

    async def test_a_scan_meets_every_stream_that_is_there(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(300)]
        await asyncio.gather(*(start(store, key) for key in keys))
        met = set()
        async for key in store.scan("acme"):
            met.add(key)
            if key != keys[0]:
                await store.delete(key)
        assert met == set(keys)
        assert await scanned(store) == {"acme/1/s0"}
