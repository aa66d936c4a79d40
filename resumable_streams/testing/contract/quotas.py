"""Quotas: how many streams are live at once."""

import asyncio
from dataclasses import replace

from ...exceptions import StreamLimitExceeded
from ...identifiers import owner_digest
from ...stores.base import BaseStore
from ...types import PUBLIC
from ..acts import KEY, holding, refusal
from .base import StoreTests

__all__ = ["Quotas"]


class Quotas(StoreTests):
    """The part of the contract in this module."""

    async def test_live_streams_of_a_tenant_are_limited(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(4)]
        ada, eve, joe, zoe = map(holding, keys)
        eve, joe, zoe = (
            replace(one, owner_digest=owner_digest(name))
            for one, name in ((eve, "eve"), (joe, "joe"), (zoe, "zoe"))
        )
        for one in (ada, eve, joe):
            await store.reserve(one, ttl=30)
            await store.reserve(one, ttl=30)  # not counted again
        error = await refusal(StreamLimitExceeded, store.reserve(zoe, ttl=30))
        assert (error.limit, error.value) == ("MAX_STREAMS", 3)
        await store.reserve(replace(zoe, key=replace(keys[3], tenant="other")), ttl=30)
        assert set(await store.live("acme")) == {ada, eve, joe}
        await store.release(ada)
        await store.release(ada)
        await store.reserve(zoe, ttl=30)
        assert set(await store.live("acme")) == {eve, joe, zoe}

    async def test_live_streams_of_an_owner_are_limited(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(4)]
        mine = [holding(key, owner="public") for key in keys]
        await store.reserve(mine[0], ttl=30)
        await store.reserve(mine[1], ttl=30)
        for _ in range(3):  # what was refused does not count
            error = await refusal(StreamLimitExceeded, store.reserve(mine[2], ttl=30))
            assert (error.limit, error.value) == ("MAX_STREAMS_PER_OWNER", 2)
        await store.reserve(holding(keys[2], owner=PUBLIC), ttl=30)
        assert set(await store.live("acme", mine[0].owner_digest)) == set(mine[:2])
        await store.release(mine[0])
        await refusal(StreamLimitExceeded, store.reserve(mine[3], ttl=30, others=1))
        await store.reserve(mine[3], ttl=30)

    async def test_of_concurrent_reservations_the_limit_is_let_through(
        self, store: BaseStore
    ) -> None:
        async with self.another(store) as other:
            answers = await asyncio.gather(
                *(
                    (store, other)[number % 2].reserve(
                        holding(replace(KEY, stream_id=f"s{number}"), owner=f"owner {number}"),
                        ttl=30,
                    )
                    for number in range(20)
                ),
                return_exceptions=True,
            )
        assert answers.count(None) == 3

    async def test_the_store_knows_its_limits(self, store: BaseStore) -> None:
        assert store.limits == self.limits
