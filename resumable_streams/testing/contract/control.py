"""Control: generation, TTL and revocations of a tenant."""

from dataclasses import replace

from ...stores.base import BaseStore
from ...types import PUBLIC, Claim, Control
from ..acts import KEY, TERMS
from ..listener import listening
from .base import StoreTests

__all__ = ["Controls"]


class Controls(StoreTests):
    """The part of the contract in this module."""

    async def test_a_tenant_nobody_governed_has_no_standing(self, store: BaseStore) -> None:
        assert await store.get_control("acme", "ada") == Control()

    async def test_generation_and_longest_lifetime_only_grow(self, store: BaseStore) -> None:
        async with self.another(store) as other:
            assert await store.set_control("acme", longest_ttl=60.5) == 1
            assert await other.set_control("acme", generation=3) == 3
            assert await store.set_control("acme", generation=2, longest_ttl=5) == 3
            expected = Control(generation=3, longest_ttl=60.5)
            assert await other.get_control("acme", "ada") == expected
            assert await store.get_control("acme", PUBLIC) == expected
            assert await store.get_control("acme", "ada", keep=60) == expected
            assert await store.get_control("acm", "ada", keep=60) == Control()
            assert await store.get_control("acm", "ada") == Control()

    async def test_the_override_of_a_lifetime_can_be_removed(self, store: BaseStore) -> None:
        await store.set_control("acme", generation=2, ttl=7.5)
        assert (await store.get_control("acme", "ada")).ttl == 7.5
        await store.set_control("acme", generation=3)
        assert (await store.get_control("acme", "ada")).ttl == 7.5
        await store.set_control("acme", ttl=0)
        assert await store.get_control("acme", "ada") == Control(generation=3)

    async def test_a_revocation_divides_old_streams_from_new_ones(self, store: BaseStore) -> None:
        old = (await store.acquire(KEY, Claim(), TERMS)).info
        first = await store.revoke("acme", "ada", keep=30)
        mark = await store.revoke("acme", "ada", keep=30)
        assert mark > first
        terms = replace(TERMS, seen_mark=mark)
        new = (await store.acquire(replace(KEY, stream_id="new"), Claim(), terms)).info
        control = await store.get_control("acme", "ada")
        assert control.revoked_at == mark
        assert not control.admits(old)
        assert control.admits(new)
        for tenant, owner in (("acme", "eve"), ("acme", PUBLIC), ("other", "ada")):
            assert await store.get_control(tenant, owner) == Control()

    async def test_a_revocation_is_kept_as_long_as_it_was_asked_to(self, store: BaseStore) -> None:
        await store.revoke("acme", PUBLIC, keep=self.short)
        assert (await store.get_control("acme", "public")).revoked_at is None
        assert (await store.get_control("acme", PUBLIC)).revoked_at is not None

        async def is_forgotten() -> bool:
            return (await store.get_control("acme", PUBLIC)).revoked_at is None

        await self.eventually(is_forgotten)

    async def test_who_did_not_see_a_revocation_is_barred_by_it(self, store: BaseStore) -> None:
        """It came between the look and the election, or the clocks of two servers differ."""
        first = await store.revoke("acme", "ada", keep=30)
        await store.revoke("acme", "ada", keep=30)
        late = (await store.acquire(KEY, Claim(), replace(TERMS, seen_mark=first))).info
        assert not (await store.get_control("acme", "ada")).admits(late)

    async def test_changes_of_control_reach_every_feed(self, store: BaseStore) -> None:
        async with self.another(store) as other, listening(store, KEY) as (heard, _):
            await other.revoke("revoked", "ada", keep=30)
            await other.set_control("rotated", generation=2)
            # A store of several servers may tell a change once for each, and "any" at any time.
            await heard.hear(lambda: {"revoked", "rotated"} <= set(heard.control_changes))
            await other.announce("purged")
            await other.announce(KEY)
            await heard.hear(
                lambda: "purged" in heard.control_changes and KEY in heard.disturbances
            )
