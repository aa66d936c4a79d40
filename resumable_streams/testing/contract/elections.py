"""Elections: one producer, and the owner bound in the same step."""

import asyncio
from dataclasses import replace

from ...exceptions import StreamClaimLost
from ...stores.base import BaseStore, known
from ...types import PUBLIC, Claim, Owner, Role, StreamStatus
from ..acts import KEY, TERMS, body, is_gone, look, refusal, start
from .base import StoreTests

__all__ = ["Elections"]


class Elections(StoreTests):
    """The part of the contract in this module."""

    async def test_the_first_caller_produces_and_everyone_later_consumes(
        self, store: BaseStore
    ) -> None:
        first = await store.acquire(KEY, claim := Claim(), TERMS)
        assert first.role is Role.PRODUCER
        later = await store.acquire(KEY, Claim(), TERMS)
        assert later.role is Role.CONSUMER
        await store.finalize(KEY, claim, StreamStatus.DONE)
        after_the_end = await store.acquire(KEY, Claim(), TERMS)
        assert after_the_end.role is Role.CONSUMER
        assert after_the_end.info.status is StreamStatus.DONE
        assert {first.info.epoch, later.info.epoch, after_the_end.info.epoch} == {claim.epoch}

    async def test_of_fifty_concurrent_callers_one_is_elected(self, store: BaseStore) -> None:
        async with self.another(store) as other:
            claims = [Claim() for _ in range(50)]
            acquired = await asyncio.gather(
                *(
                    (store, other)[number % 2].acquire(KEY, claim, TERMS)
                    for number, claim in enumerate(claims)
                )
            )
            elected = [c for c, a in zip(claims, acquired, strict=True) if a.role is Role.PRODUCER]
            assert len(elected) == 1
            assert {a.info.epoch for a in acquired} == {elected[0].epoch}
            await other.append(KEY, elected[0], 0, b"mine")
            for claim in set(claims) - set(elected):
                await refusal(StreamClaimLost, store.append(KEY, claim, 0, b"not mine"))
            assert await body(store) == b"mine"

    async def test_the_same_claim_is_elected_again(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        again = await store.acquire(KEY, claim, replace(TERMS, owner="eve", ttl=1))
        assert again.role is Role.PRODUCER
        assert (again.info.size, again.info.owner) == (3, "ada")
        assert again.info.ttl > 30

    async def test_a_new_stream_is_empty_and_streaming(self, store: BaseStore) -> None:
        claim = Claim(holder="ours")
        terms = replace(TERMS, ttl=50, pending=20, grace=7, seen_mark=9.5)
        info = (await store.acquire(KEY, claim, terms)).info
        assert (info.tenant, info.generation, info.stream_id) == ("acme", 1, "chat")
        assert (info.status, info.size, info.entries) == (StreamStatus.STREAMING, 0, 0)
        assert (info.error_code, info.error, info.attrs) == ("", "", {})
        assert (info.holder, info.grace, info.seen_mark) == ("ours", 7, 9.5)
        assert 19 < info.ttl <= 20
        assert abs(info.expires - info.created - 20) < 1
        assert await body(store) == b""
        assert await store.confirm(KEY, claim)
        assert 49 < (await look(store)).ttl <= 50

    async def test_an_election_that_nobody_confirms_evaporates(self, store: BaseStore) -> None:
        claim = Claim()
        await store.acquire(KEY, claim, replace(TERMS, pending=self.short))
        assert await store.confirm(KEY, Claim()) is False
        await self.eventually(lambda: is_gone(store))
        assert await store.confirm(KEY, claim) is False
        assert (await store.acquire(KEY, Claim(), TERMS)).role is Role.PRODUCER

    async def test_owner_terms_and_attributes_are_bound_once(self, store: BaseStore) -> None:
        attrs = {"chat": "c1", "text": 'ä "\\\n\x00 {}'}
        await start(store, owner="ada", ttl=40, attrs=attrs)
        bound = dict(attrs)
        attrs["chat"] = "changed"
        later = replace(TERMS, owner="eve", ttl=9, finished_ttl=9, attrs={"x": "y"})
        for info in ((await store.acquire(KEY, Claim(), later)).info, await look(store)):
            assert (info.owner, info.attrs) == ("ada", bound)
            assert info.ttl > 30

    async def test_public_is_nobodys_name(self, store: BaseStore) -> None:
        owners: list[Owner] = [PUBLIC, "public", "PUBLIC", "=", "=public", "Public.PUBLIC", "ä:{}*"]
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(len(owners))]
        for key, owner in zip(keys, owners, strict=True):
            await start(store, key, owner=owner)
        found = [info.owner for info in map(known, await store.status(keys)) if info]
        assert found == owners
        assert [owner is PUBLIC for owner in found] == [True] + [False] * (len(owners) - 1)

    async def test_streams_of_other_tenants_generations_and_ids_are_others(
        self, store: BaseStore
    ) -> None:
        keys = [
            KEY,
            replace(KEY, tenant="acme-2"),
            replace(KEY, generation=11),
            replace(KEY, stream_id="chat:1"),
            replace(KEY, stream_id="Chat"),
        ]
        for number, key in enumerate(keys):
            await store.append(key, await start(store, key), 0, b"%d" % number)
        assert [await body(store, key) for key in keys] == [b"0", b"1", b"2", b"3", b"4"]
        await store.delete(KEY)
        assert [await is_gone(store, key) for key in keys] == [True] + [False] * 4
