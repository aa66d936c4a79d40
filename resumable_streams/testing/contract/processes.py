"""Processes: their leases and holdings, and the ends told for dead ones."""

import asyncio

from ...stores.base import BaseStore
from ...stores.processes import ALL_TENANTS, Census, new_waiting
from ...types import Fate
from ..acts import holding
from .base import StoreTests

__all__ = ["ProcessTables"]


class ProcessTables(StoreTests):
    """The part of the contract in this module."""

    async def test_a_process_lives_until_its_lease_ends(self, store: BaseStore) -> None:
        table = store.processes
        first = await table.beat("ours", lease=30, position="")
        assert (first.is_new, first.is_judged, list(first.passed)) == (True, False, [])
        assert 29 < first.living["ours"] <= 30
        again = await table.beat("ours", lease=30, position=first.position)
        assert (again.is_new, again.is_gap) == (False, False)
        await table.beat("theirs", lease=30, position="")
        assert await table.fates(["ours", "theirs", "nobody"]) == [
            Fate.LIVING,
            Fate.LIVING,
            Fate.UNKNOWN,
        ]
        await table.beat("theirs", lease=self.short, position="")
        await self.pass_time(self.short + 0.05)
        assert await table.fates(["ours", "theirs"]) == [Fate.LIVING, Fate.ENDING]
        beat = await table.beat("ours", lease=30, position=first.position)
        assert set(beat.living) == {"ours"}
        assert list(beat.passed) == ["theirs"]

    async def test_a_census_counts_the_living_and_what_they_hold(self, store: BaseStore) -> None:
        table, one = store.processes, holding()
        assert await table.census() == Census()
        for process in ("ours", "theirs", "dead"):
            await table.beat(process, lease=self.short if process == "dead" else 30, position="")
        await table.hold("ours", one)
        await table.hold("theirs", holding(epoch="ffff0000"))
        await table.hold("dead", holding(epoch="ffff0001"))
        await table.park(new_waiting(), holding(epoch="ffff0002"), seconds=30)
        await self.pass_time(self.short + 0.05)
        tenant = one.key.tenant
        for by_tenant, name in ((False, ALL_TENANTS), (True, tenant)):
            census = await table.census(by_tenant=by_tenant)
            assert (census.living, census.dying) == (2, 0)
            assert census.held == {name: 2}
            assert census.waiting == {name: 1}
        await table.take("dead", by="ours", lease=30)
        assert (await table.census()).dying == 1

    async def test_only_a_living_process_holds_anything(self, store: BaseStore) -> None:
        table, one = store.processes, holding()
        assert await table.hold("ours", one) is False
        await table.beat("ours", lease=30, position="")
        assert await table.hold("ours", one) is True
        await table.leave("ours")  # it holds something, and stays
        assert await table.fates(["ours"]) == [Fate.LIVING]
        await table.drop("ours", one)
        await table.leave("ours")
        assert await table.fates(["ours"]) == [Fate.UNKNOWN]

    async def test_one_takes_over_what_a_dead_process_held_and_told(self, store: BaseStore) -> None:
        table, held, telling = store.processes, holding(), holding(epoch="ffff0000")
        await table.beat("dead", lease=30, position="")
        for one in (held, telling):
            await table.hold("dead", one)
        assert await table.move(telling, holder="dead", by="dead")
        assert await table.take("dead", by="ours", lease=30) is None  # it lives
        await table.beat("dead", lease=self.short, position="")
        await self.pass_time(self.short + 0.05)
        async with self.another(store) as other:
            taken = await table.take("dead", by="ours", lease=2)
            late = await other.processes.take("dead", by="theirs", lease=30)
            assert late is None
            assert taken is not None
            assert (list(taken.held), list(taken.telling)) == ([held], [telling])
            await self.pass_time(2.05)  # whoever took it died, too
            again = await other.processes.take("dead", by="theirs", lease=30)
            assert again is not None
            assert list(again.held) == [held]

    async def test_a_judged_process_is_told_so_and_tells_nothing(self, store: BaseStore) -> None:
        table, one = store.processes, holding()
        for name in ("frozen", "ours"):
            await table.beat(name, lease=self.short if name == "frozen" else 30, position="")
        await table.hold("frozen", one)
        await self.pass_time(self.short + 0.05)
        await table.take("frozen", by="ours", lease=30)
        assert (await table.beat("frozen", lease=30, position="")).is_judged
        assert await table.hold("frozen", one) is False
        assert await table.move(one, holder="frozen", by="frozen") is False
        for _ in range(2):  # also when the first answer was lost
            assert await table.move(one, holder="frozen", by="ours") is True
        await table.told(one, by="ours")
        await table.bury("frozen")
        assert await table.fates(["frozen"]) == [Fate.UNKNOWN]
        assert (await table.beat("frozen", lease=30, position="")).is_judged

    async def test_an_end_is_told_by_one(self, store: BaseStore) -> None:
        table, one = store.processes, holding()
        names = [f"p{number}" for number in range(6)]
        for name in names:
            await table.beat(name, lease=self.short if name == "p0" else 30, position="")
        await table.hold("p0", one)
        assert await table.move(one, holder="p0", by="p1") is False  # it lives
        await self.pass_time(self.short + 0.05)
        await table.take("p0", by="p1", lease=30)
        answers = await asyncio.gather(*(table.move(one, holder="p0", by=name) for name in names))
        assert answers.count(True) == 1
        assert await table.adopt(holding(epoch="ffff0000"), by="p1") is True
        assert await table.adopt(holding(epoch="ffff0000"), by="nobody") is False

    async def test_what_waits_for_a_process_is_taken_over_when_nobody_comes(
        self, store: BaseStore
    ) -> None:
        table, one, two = store.processes, holding(), holding(epoch="ffff0000")
        await table.beat("ours", lease=30, position="")
        holder, claimed = new_waiting(), new_waiting()
        await table.park(holder, one, seconds=self.short)
        await table.park(claimed, two, seconds=self.short)
        await table.drop(claimed, two)  # a process came
        assert await table.fates([holder, claimed]) == [Fate.ENDING, Fate.UNKNOWN]
        await self.pass_time(self.short + 0.05)
        assert list((await table.beat("ours", lease=30, position="")).passed) == [holder]
        taken = await table.take(holder, by="ours", lease=30)
        assert taken is not None
        assert list(taken.held) == [one]
