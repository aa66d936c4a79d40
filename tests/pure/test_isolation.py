"""Whatever is done in whatever order, nobody reads a byte of a stream that is not theirs.

The model knows, for each (tenant, generation, id), who has acquired it and what it holds. Streams
are addressed by names that look alike on purpose: prefixes of each other, glob characters, colons.
"""

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resumable_streams import (
    PUBLIC,
    Owner,
    StreamDoesNotExist,
    StreamFailed,
    StreamManager,
    StreamReader,
)
from resumable_streams.control import revoke
from resumable_streams.control.saved import SavedRows
from resumable_streams.engine import get_engine
from resumable_streams.identifiers import owner_digest
from resumable_streams.operating.bulk import Progress, StreamBatches, purge
from resumable_streams.operating.selection import Selection
from resumable_streams.process.runtime import runtime
from resumable_streams.types import StreamStatus
from tests.tools.streams import MEMORY, REDIS

tenants = st.sampled_from(["4", "42", "4-2", "g1", "a_", "default"]) | st.from_regex(
    r"[A-Za-z0-9_-]{1,64}", fullmatch=True
)
stream_ids = st.sampled_from(["1", "g1", "1:meta", "a.b", "a:b", "g2:x"]) | st.from_regex(
    r"[A-Za-z0-9_.:-]{1,256}", fullmatch=True
)
OWNERS: list[Owner] = ["user:1", "user:12", "*", "?", "[a]", "{1}", "a\nb", "public", "=a", PUBLIC]
texts: st.SearchStrategy[Owner] = st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20
)
owners = st.sampled_from(OWNERS) | texts
ACTIONS = [
    *("acquire", "acquire", "acquire", "resume", "resume", "read on", "rotate", "revoke"),
    *("purge tenant", "purge owner", "purge generation", "delete", "cancel"),
]


@dataclass
class Names:
    """Be few tenants, ids and owners, so that the steps of a plan meet."""

    tenants: list[str]
    stream_ids: list[str]
    owners: list[Owner]


names = st.builds(
    Names,
    tenants=st.lists(tenants, min_size=2, max_size=3, unique=True),
    stream_ids=st.lists(stream_ids, min_size=1, max_size=3, unique=True),
    owners=st.lists(owners, min_size=2, max_size=3, unique=True),
)
indices = st.integers(min_value=0, max_value=5)
plans = st.lists(
    st.tuples(st.sampled_from(ACTIONS), indices, indices, indices, st.booleans()),
    min_size=1,
    max_size=25,
)


@dataclass
class Held:
    """Be a stream as the model has it."""

    owner: Owner
    body: bytes
    revoked: bool = False

    def may(self, owner: Owner) -> bool:
        return owner == self.owner or self.owner is PUBLIC


Place = tuple[str, int, str]  # tenant, generation, id


@dataclass
class World:
    """Do the steps of a plan to the streams and to the model, and compare."""

    names: Names
    generations: dict[str, int] = field(default_factory=dict)
    held: dict[Place, Held] = field(default_factory=dict)
    open: list[tuple[StreamReader, Held]] = field(default_factory=list)
    made: int = 0

    def place(self, tenant: str, stream_id: str) -> Place:
        return tenant, self.generations.get(tenant, 1), stream_id

    async def step(self, plan: tuple[str, int, int, int, bool]) -> None:
        action, tenant_at, id_at, owner_at, is_elsewhere = plan
        some = self.names
        tenant = some.tenants[tenant_at % len(some.tenants)]
        stream_id = some.stream_ids[id_at % len(some.stream_ids)]
        owner = some.owners[owner_at % len(some.owners)]
        manager = StreamManager("elsewhere" if is_elsewhere else "default")
        method = getattr(self, action.replace(" ", "_"))
        await method(manager, tenant, stream_id, owner)

    async def acquire(self, manager: StreamManager, tenant: str, stream_id: str, owner: Owner):
        self.made += 1
        body = f"{tenant}/{stream_id}/{owner_digest(owner)}/{self.made}".encode()
        place = self.place(tenant, stream_id)
        held = self.held.get(place)
        try:
            reader = await manager.arun(stream_id, [body], owner=owner, tenant=tenant)
        except StreamDoesNotExist:
            assert held is not None
            assert not held.may(owner) or (held.revoked and held.owner != owner)
            return
        if held is None or (held.revoked and held.owner == owner):
            self.held[place] = held = Held(owner, body)  # what was revoked is in nobody's way
        assert held.may(owner)
        assert not held.revoked
        assert await everything(reader) == held.body

    async def resume(self, manager: StreamManager, tenant: str, stream_id: str, owner: Owner):
        held = self.held.get(self.place(tenant, stream_id))
        reader = await manager.aresume(stream_id, owner=owner, tenant=tenant)
        if held is None or held.revoked or not held.may(owner):
            assert reader is None
            return
        assert reader is not None
        self.open.append((reader, held))

    async def read_on(self, *_: Any):
        """Read what was granted before; whatever has happened since, it is the same stream."""
        while self.open:
            reader, held = self.open.pop()
            try:
                assert await everything(reader) in (held.body, b"")
            except StreamFailed:  # revoked or purged since
                continue

    async def rotate(self, manager: StreamManager, tenant: str, stream_id: str, owner: Owner):
        store = get_engine(manager.alias).store
        generation = self.generations.get(tenant, 1) + 1
        self.generations[tenant] = await store.set_control(tenant, generation=generation)
        assert self.generations[tenant] == generation

    async def revoke(self, manager: StreamManager, tenant: str, stream_id: str, owner: Owner):
        await revoke(manager.alias, tenant, owner)
        for (of, _, _), held in self.held.items():
            held.revoked |= of == tenant and held.owner == owner

    async def purge_tenant(self, manager: StreamManager, tenant: str, *_: Any):
        await self.purge(manager, Selection(tenant=tenant))

    async def purge_generation(self, manager: StreamManager, tenant: str, *_: Any):
        await self.purge(manager, Selection(tenant=tenant, before_generation=2))

    async def purge_owner(self, manager: StreamManager, tenant: str, _: str, owner: Owner):
        await self.purge(manager, Selection(tenant=tenant, owner=owner))

    async def purge(self, manager: StreamManager, selection: Selection) -> None:
        def is_meant(place: Place, held: Held) -> bool:
            return (
                place[0] == selection.tenant
                and (selection.before_generation is None or place[1] < 2)
                and selection.owner in (None, held.owner)
            )

        progress = Progress()
        await purge(StreamBatches(get_engine(manager.alias).store, selection, batch=2), progress)
        meant = [place for place, held in self.held.items() if is_meant(place, held)]
        assert progress.done == len(meant)
        for place in meant:
            del self.held[place]

    async def delete(self, manager: StreamManager, tenant: str, stream_id: str, owner: Owner):
        place = self.place(tenant, stream_id)
        held = self.held.get(place)
        may = held is not None and not held.revoked and held.owner == owner
        assert await manager.adelete(stream_id, owner=owner, tenant=tenant) is may
        if may:
            del self.held[place]

    async def cancel(self, manager: StreamManager, tenant: str, stream_id: str, owner: Owner):
        held = self.held.get(self.place(tenant, stream_id))
        info = await manager.acancel(stream_id, owner=owner, tenant=tenant)
        may = held is not None and not held.revoked and held.owner == owner
        assert (info is not None) is may
        assert info is None or info.status is StreamStatus.DONE

    async def settle(self) -> None:
        """Compare everything that is left, for everybody."""
        await self.read_on()
        for tenant in self.names.tenants:
            for stream_id in self.names.stream_ids:
                for owner in self.names.owners:
                    await self.resume(StreamManager(), tenant, stream_id, owner)
        store = get_engine("default").store
        left = {(k.tenant, k.generation, k.stream_id) async for k in store.scan()}
        assert left == set(self.held)
        for reader, held in self.open:
            assert await everything(reader) == held.body


async def everything(reader: StreamReader) -> bytes:
    return b"".join([data async for data in reader])


def play(entry: dict[str, Any], names: Names, plan: list[Any]) -> None:
    """Play a plan on streams of its own, on a loop of its own."""

    async def scene() -> None:
        world = World(names)
        try:
            async with asyncio.timeout(5):
                for step in plan:
                    await world.step(step)
                await world.settle()
        finally:
            await runtime.aclose()

    entry = {**entry, "KEY_PREFIX": f"isolation-{uuid.uuid4().hex}"}
    with override_settings(RESUMABLE_STREAMS={"default": entry, "elsewhere": entry}):
        run(scene())


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


@pytest.fixture
def saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no database: what is in force is in the store, and nothing loses it here."""
    monkeypatch.setattr(SavedRows, "_query", lambda self, tenants: {})


@settings(max_examples=150, deadline=None)
@given(names=names, plan=plans)
@pytest.mark.lengthy
def test_nobody_reads_a_foreign_byte_and_no_purge_touches_a_neighbour(names, plan):
    play({"BACKEND": MEMORY, "LOCATION": "isolation"}, names, plan)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=names, plan=plans)
def test_nor_on_a_server(redis_url, saves_nothing, names, plan):
    play({"BACKEND": REDIS, "LOCATION": redis_url}, names, plan)


@settings(max_examples=60, deadline=None)
@given(
    names=names,
    before=plans,
    at_once=st.lists(st.tuples(indices, indices, indices), min_size=2, max_size=8),
    change=st.sampled_from(["rotate", "revoke", "purge"]),
)
@pytest.mark.lengthy
def test_what_starts_while_an_operator_acts_sees_its_own_bytes_or_none(
    names, before, at_once, change
):
    """Acquires and resumes in flight with a rotate, a revoke or a purge, in any interleaving."""

    async def scene() -> None:
        world = World(names)
        try:
            async with asyncio.timeout(5):
                for step in before:
                    await world.step(step)
                await _meet(names, at_once, change)
        finally:
            await runtime.aclose()

    entry = {
        "BACKEND": MEMORY,
        "LOCATION": "isolation",
        "KEY_PREFIX": f"isolation-{uuid.uuid4().hex}",
    }
    with override_settings(RESUMABLE_STREAMS={"default": entry, "elsewhere": entry}):
        run(scene())


async def _meet(names: Names, at_once: list[tuple[int, int, int]], change: str) -> None:
    tenant, owner = names.tenants[0], names.owners[0]
    engine = get_engine("default")

    async def act() -> None:
        if change == "rotate":
            in_force = (await engine.store.get_control(tenant, owner)).generation or 1
            await engine.store.set_control(tenant, generation=in_force + 1)
        elif change == "revoke":
            await revoke("default", tenant, owner)
        else:
            await purge(
                StreamBatches(engine.store, Selection(tenant=tenant, owner=owner), batch=1),
                Progress(),
            )

    async def ask(at: tuple[int, int, int], is_run: bool) -> None:
        some = names.tenants[at[0] % len(names.tenants)]
        stream_id = names.stream_ids[at[1] % len(names.stream_ids)]
        who = names.owners[at[2] % len(names.owners)]
        mark = f"{some}/{stream_id}/{owner_digest(who)}/".encode()
        manager = StreamManager("elsewhere" if at[1] % 2 else "default")
        try:
            reader = (
                await manager.arun(stream_id, [mark + b"late"], owner=who, tenant=some)
                if is_run
                else await manager.arequire_resume(stream_id, owner=who, tenant=some)
            )
            got = await everything(reader)
        except (StreamDoesNotExist, StreamFailed):
            return
        if reader.info.owner is PUBLIC:
            mark = f"{some}/{stream_id}/{owner_digest(PUBLIC)}/".encode()
        assert got.startswith(mark)
        assert (reader.info.owner, reader.info.tenant) in ((who, some), (PUBLIC, some))

    asking = [ask(at, number % 2 == 0) for number, at in enumerate(at_once)]
    await asyncio.gather(*asking[::2], act(), *asking[1::2])
