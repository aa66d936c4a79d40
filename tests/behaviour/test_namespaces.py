"""Rotate, revoke, retire and purge, while streams are read and produced; races included.

`elsewhere` is what another process has: a hub, a feed and connections of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from redis import Redis

from resumable_streams import (
    PUBLIC,
    Role,
    StoreUnavailable,
    StreamDoesNotExist,
    StreamFailed,
    StreamManager,
    StreamReader,
    StreamStatus,
)
from resumable_streams.control import Unconfirmed, Unsaved, revoke, rotate
from resumable_streams.engine import get_engine
from resumable_streams.models import StreamNamespace
from resumable_streams.operating.bulk import Progress, StreamBatches, purge
from resumable_streams.operating.selection import Selection
from resumable_streams.operating.tenants import retire
from tests.ledger import Ledger, open_ledger
from tests.tools.control import enforced_by, heard_by
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure
from tests.tools.waiting import eventually, within

TENANT = "acme"
DAY = 86_400

Act = Callable[[], Any]


@pytest.fixture(autouse=True)
def ledger(tmp_path, settings, django_db_blocker) -> Iterator[Ledger]:
    with django_db_blocker.unblock(), open_ledger(tmp_path / "ledger.sqlite3", settings) as ledger:
        yield ledger


async def rotate_all() -> None:
    await rotate("default", TENANT)


async def revoke_a() -> None:
    await revoke("default", TENANT, "a")


async def purge_all() -> None:
    await purge(StreamBatches(get_engine("default").store, Selection(tenant=TENANT)), Progress())


ACTS = pytest.mark.parametrize("act", [rotate_all, revoke_a, purge_all])
CONTROL_ACTS = pytest.mark.parametrize("act", [rotate_all, revoke_a])


async def start(manager: StreamManager, stream_id: str = "chat", owner: str = "a") -> Tap:
    """Have a stream of six bytes that goes on."""
    tap = Tap(b"secret")
    await read_until(await manager.arun(stream_id, tap, owner=owner, tenant=TENANT), 6)
    return tap


async def resume(manager: StreamManager, stream_id: str = "chat", owner: str = "a") -> StreamReader:
    return await manager.arequire_resume(stream_id, owner=owner, tenant=TENANT)


async def ends(reader: StreamReader) -> None:
    """Fail unless the reader ends as expired within a second."""
    async with within(1):
        with pytest.raises(StreamFailed) as failure:
            await read_all(reader)
    assert failure.value.code == "expired"


class Gate:
    """Hold the calls of one verb of a store until it is opened."""

    def __init__(self, manager: StreamManager, verb: str, *, before: bool = False):
        store: Any = get_engine(manager.alias).store
        self._verb = getattr(store, verb)
        self._before = before
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        setattr(store, verb, self)

    async def __call__(self, *args: Any, **named: Any) -> Any:
        answer = None if self._before else await self._verb(*args, **named)
        self.reached.set()
        await self.opened.wait()
        return await self._verb(*args, **named) if self._before else answer


# The guarantee.


@ACTS
async def test_attached_readers_and_producers_end_within_a_second_everywhere(
    manager: StreamManager, elsewhere: StreamManager, act: Act
):
    tap = await start(manager)
    readers = [await resume(side) for side in (manager, elsewhere)]
    for reader in readers:
        await read_until(reader, 6)
    waiting = [asyncio.ensure_future(ends(reader)) for reader in readers]
    await act()
    async with within(1):
        await asyncio.gather(*waiting)
        await tap.closed.wait()


@ACTS
async def test_after_it_nothing_old_is_reached_and_what_is_new_works(
    manager: StreamManager, elsewhere: StreamManager, act: Act
):
    await read_all(await manager.arun("old", finished(["old"]), owner="a", tenant=TENANT))
    await act()
    for side in (manager, elsewhere):
        assert await side.aresume("old", owner="a", tenant=TENANT) is None
        assert await side.astatus("old", owner="a", tenant=TENANT) is None
        assert await side.acancel("old", owner="a", tenant=TENANT) is None
        reader = await side.arun(f"new-{side.alias}", finished(["n"]), owner="a", tenant=TENANT)
        assert await read_all(reader) == b"n"
    assert await read_all(await resume(elsewhere, "new-default")) == b"n"


@ACTS
async def test_a_reader_of_a_finished_stream_ends_too(
    manager: StreamManager, elsewhere: StreamManager, act: Act
):
    big = [b"x" * 100_000] * 20
    await read_all(await manager.arun("chat", finished(big), owner="a", tenant=TENANT))
    readers = [await resume(side) for side in (manager, elsewhere)]
    for reader in readers:
        await anext(reader)
    async with enforced_by(manager, elsewhere):
        await act()
    for reader in readers:
        await ends(reader)


@ACTS
async def test_a_slow_reader_of_what_ended_since_gets_nothing_from_memory(
    manager: StreamManager, elsewhere: StreamManager, act: Act
):
    tap = await start(manager)
    readers = [await resume(side) for side in (manager, elsewhere)]
    for reader in readers:
        await read_until(reader, 6)
    tap.end(b"x" * 1_000)
    for reader in readers:  # the process has the bytes and the end, its reader has not asked yet
        await eventually(lambda reader=reader: not reader.info.is_streaming)  # type: ignore[misc]
    async with enforced_by(manager, elsewhere):
        await act()
    for reader in readers:
        await ends(reader)


@CONTROL_ACTS
async def test_other_tenants_and_owners_notice_nothing(
    manager: StreamManager, elsewhere: StreamManager, act: Act
):
    await start(manager)
    other, tap = Tap(b"ot"), Tap(b"ot")
    await read_until(await manager.arun("o", tap, owner="a", tenant="acme2"), 2)
    reader = await elsewhere.arequire_resume("o", owner="a", tenant="acme2")
    if act is revoke_a:
        await read_until(await manager.arun("o", other, owner="aa", tenant=TENANT), 2)
    async with enforced_by(manager, elsewhere):
        await act()
    for source in (other, tap):
        source.end(b"her")
    assert await read_all(reader) == b"other"
    if act is revoke_a:
        assert await read_all(await resume(elsewhere, "o", "aa")) == b"other"


async def test_the_owner_of_public_streams_is_revoked_like_any_other(manager: StreamManager):
    await read_all(await manager.arun("news", finished(["n"]), owner=PUBLIC, tenant=TENANT))
    await revoke("default", TENANT, PUBLIC)
    for owner in (PUBLIC, "b"):
        assert await manager.aresume("news", owner=owner, tenant=TENANT) is None


# Races.


@ACTS
async def test_a_reader_that_attaches_after_it_does_not_follow_an_old_stream(
    manager: StreamManager, elsewhere: StreamManager, act: Act
):
    """A resume that came before is attached by its first read: whenever that is, it ends."""
    await start(manager)
    late = [await resume(side) for side in (manager, elsewhere)]
    async with enforced_by(manager, elsewhere):
        await act()
    for reader in late:
        await ends(reader)


@ACTS
async def test_a_resume_in_flight_ends(manager: StreamManager, elsewhere: StreamManager, act: Act):
    """It has seen what was in force and the state of the stream before, and answers after."""
    await start(manager)
    gate = Gate(elsewhere, "status")
    resuming = asyncio.ensure_future(resume(elsewhere))
    await gate.reached.wait()
    async with heard_by(elsewhere):  # while the resume is on its way
        await act()
    gate.opened.set()
    await ends(await resuming)


@CONTROL_ACTS
@pytest.mark.parametrize("before", [True, False])
async def test_an_acquire_in_flight_is_produced_no_longer_than_a_second(
    manager: StreamManager, elsewhere: StreamManager, act: Act, before: bool
):
    """Before: it has seen what was in force, and is stored after the change."""
    gate = Gate(elsewhere, "acquire", before=before)
    tap = Tap(b"x")
    running = asyncio.ensure_future(elsewhere.arun("chat", tap, owner="a", tenant=TENANT))
    await gate.reached.wait()
    async with heard_by(elsewhere):
        await act()
    gate.opened.set()
    reader = await running
    await ends(reader)
    async with within(1):
        await tap.closed.wait()
    assert await manager.aresume("chat", owner="a", tenant=TENANT) is None


@CONTROL_ACTS
async def test_a_process_that_was_cut_off_from_the_news_learns_when_it_is_back(
    redis_manager: StreamManager, redis_server: Redis, act: Act
):
    elsewhere = redis_manager.using("elsewhere")
    tap = await start(elsewhere)
    reader = await resume(elsewhere)
    await read_until(reader, 6)
    waiting = asyncio.ensure_future(read_all(reader))
    redis_server.client_kill_filter(_type="pubsub")
    await act()
    async with asyncio.timeout(10):
        with pytest.raises(StreamFailed, match="expired"):
            await waiting
        await tap.closed.wait()


async def test_rotations_at_once_never_start_the_same_generation_twice(manager: StreamManager):
    results = await asyncio.gather(
        *(rotate("default", TENANT) for _ in range(6)), return_exceptions=True
    )
    made = [result for result in results if isinstance(result, int)]
    assert made
    assert len(made) == len(set(made))
    control = await get_engine("default").store.get_control(TENANT, "a")
    assert (control.generation, None) == await saved() == (max(made), None)


async def test_an_acquire_during_a_rotation_is_of_one_generation(
    manager: StreamManager, elsewhere: StreamManager
):
    """Whoever acquires meanwhile reads everything, or ends as expired; nothing else."""

    async def one(number: int) -> bytes | str:
        side = (manager, elsewhere)[number % 2]
        try:
            reader = await side.arun(f"s{number}", finished(["ab", "cd"]), owner="a", tenant=TENANT)
            return await read_all(reader)
        except StreamFailed as failure:
            return failure.code

    running = [asyncio.ensure_future(one(number)) for number in range(40)]
    await rotate("default", TENANT)
    assert set(await asyncio.gather(*running)) <= {b"abcd", "expired"}
    late = await elsewhere.arun("s0", finished(["new"]), owner="a", tenant=TENANT)
    assert await read_all(late) in (b"new", b"abcd")


# What is in force, and what of it survives.


async def test_a_lost_control_key_is_restored_from_the_database(
    redis_manager: StreamManager, redis_server: Redis, key_prefix
):
    await retire("default", TENANT, ttl=300)
    for _ in range(3):
        await rotate("default", TENANT)
    redis_server.delete(f"{key_prefix}:{TENANT}:control")
    reader = await redis_manager.arun("chat", finished(["x"]), owner="a", tenant=TENANT)
    assert await read_all(reader) == b"x"
    assert (reader.info.generation, reader.info.ttl <= 300) == (4, True)


async def test_a_store_that_falls_back_is_not_followed(
    redis_manager: StreamManager, redis_server: Redis, key_prefix
):
    """A replica that lagged when it took over knows the generation before the last one."""
    await read_all(await redis_manager.arun("old", finished(["x"]), owner="a", tenant=TENANT))
    await rotate("default", TENANT)
    assert await redis_manager.aresume("old", owner="a", tenant=TENANT) is None
    redis_server.hset(f"{key_prefix}:{TENANT}:control", "generation", 1)
    assert await redis_manager.aresume("old", owner="a", tenant=TENANT) is None
    assert redis_server.hget(f"{key_prefix}:{TENANT}:control", "generation") == b"2"


async def test_a_control_key_that_is_lost_during_an_acquire_does_not_begin_again(
    redis_manager: StreamManager, redis_server: Redis, key_prefix
):
    await rotate("default", TENANT)
    gate = Gate(redis_manager, "set_control", before=True)
    named: dict[str, Any] = {"owner": "a", "tenant": TENANT, "ttl": 10 * DAY}
    running = asyncio.ensure_future(redis_manager.arun("chat", finished(["x"]), **named))
    await gate.reached.wait()
    redis_server.delete(f"{key_prefix}:{TENANT}:control")
    gate.opened.set()
    await read_all(await running)
    assert redis_server.hget(f"{key_prefix}:{TENANT}:control", "generation") == b"2"


async def test_without_the_database_streams_work_while_the_control_key_is_there(
    redis_manager: StreamManager, ledger: Ledger
):
    await rotate("default", TENANT)
    ledger.take_away()
    await read_all(await redis_manager.arun("chat", finished(["x"]), owner="a", tenant=TENANT))
    assert await read_all(await resume(redis_manager)) == b"x"
    await revoke("default", TENANT, "a")
    assert await redis_manager.aresume("chat", owner="a", tenant=TENANT) is None


async def test_without_the_database_and_the_control_key_nothing_is_served(
    redis_manager: StreamManager, redis_server: Redis, key_prefix, ledger: Ledger
):
    await read_all(await redis_manager.arun("chat", finished(["x"]), owner="a", tenant=TENANT))
    await rotate("default", TENANT)
    redis_server.delete(f"{key_prefix}:{TENANT}:control")
    ledger.take_away()
    with pytest.raises(StoreUnavailable):
        await redis_manager.aresume("chat", owner="a", tenant=TENANT)
    with pytest.raises(StoreUnavailable):
        await redis_manager.arun("chat", finished(["y"]), owner="a", tenant=TENANT)
    await revoke("default", TENANT, "a")  # needs neither
    ledger.give_back()
    assert await redis_manager.aresume("chat", owner="a", tenant=TENANT) is None


# Both or neither.


@pytest.fixture(params=[rotate, retire])
def change(request) -> Callable[[], Any]:
    named = {"ttl": 300.0} if request.param is retire else {}
    return lambda: request.param("default", TENANT, **named)


async def in_force(alias: str = "default") -> tuple[int, float | None]:
    control = await get_engine(alias).store.get_control(TENANT, "a")
    return control.generation or 1, control.ttl


async def saved() -> tuple[int, float | None]:
    return await sync_to_async(_saved, thread_sensitive=False)()


def _saved() -> tuple[int, float | None]:
    try:
        row = StreamNamespace.objects.filter(tenant=TENANT).first()
        return (1, None) if row is None else (row.generation, row.ttl)
    finally:
        connections.close_all()


async def test_without_the_database_neither_is_changed(
    manager: StreamManager, ledger: Ledger, change
):
    ledger.take_away()
    with pytest.raises(DatabaseError):
        await change()
    assert await in_force() == (1, None)
    ledger.give_back()
    assert await saved() == (1, None)


async def test_without_the_store_neither_is_changed(
    configure_redis: Configure, closes_runtime: None, change
):
    configure_redis(LOCATION="redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable):
        await change()
    assert await saved() == (1, None)


async def test_a_store_that_goes_away_in_between_is_told_apart(
    configure: Configure, closes_runtime: None, change
):
    configure(STORE_TIMEOUT=0.3)
    store: Any = get_engine("default").store
    real, calls = store.set_control, []

    async def away(*args: Any, **named: Any) -> int:
        calls.append(named)
        if len(calls) > 1:
            raise StoreUnavailable("default")
        generation: int = await real(*args, **named)
        return generation

    store.set_control = away
    with pytest.raises(Unconfirmed, match="may have applied it"):
        await change()
    assert len(calls) > 2
    assert await saved() == (1, None)


async def test_a_store_that_comes_back_in_time_gets_the_change_once(manager: StreamManager, change):
    store: Any = get_engine("default").store
    real, calls = store.set_control, []

    async def stutter(*args: Any, **named: Any) -> int:
        """Lose the answers to what is carried out."""
        calls.append(named)
        generation: int = await real(*args, **named)
        if 1 < len(calls) < 4:
            raise StoreUnavailable("default")
        return generation

    store.set_control = stutter
    await change()
    assert await in_force() == await saved()
    assert await in_force() in [(2, None), (1, 300)]


async def test_a_database_that_fails_to_commit_is_told_apart_and_repeating_heals(
    manager: StreamManager, change, monkeypatch
):
    def fail(self: DatabaseWrapper) -> None:
        raise DatabaseError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(DatabaseWrapper, "_commit", fail)
        with pytest.raises(Unsaved, match="repeat the command"):
            await change()
    assert await in_force() in [(2, None), (1, 300)]
    await change()
    assert await in_force() == await saved()
    assert await in_force() in [(3, None), (1, 300)]


# How long a mark holds.


async def test_a_mark_outlives_every_stream_it_bars(
    redis_manager: StreamManager, redis_server: Redis, key_prefix
):
    named: dict[str, Any] = {"owner": "a", "tenant": TENANT, "ttl": 10 * DAY}
    await read_all(await redis_manager.arun("chat", finished(["x"]), **named))
    await revoke("default", TENANT, "a")
    (mark,) = redis_server.scan_iter(f"{key_prefix}:{TENANT}:revoked:*")
    assert redis_server.ttl(mark) > 2 * 10 * DAY


async def test_a_mark_knows_of_a_long_stream_that_was_acquired_while_it_was_made(
    redis_manager: StreamManager, redis_server: Redis, key_prefix
):
    gate = Gate(redis_manager, "get_control")
    revoking = asyncio.ensure_future(revoke("default", TENANT, "a"))
    await gate.reached.wait()
    elsewhere = redis_manager.using("elsewhere")
    named: dict[str, Any] = {"owner": "a", "tenant": TENANT, "ttl": 10 * DAY}
    await read_all(await elsewhere.arun("chat", finished(["x"]), **named))
    gate.opened.set()
    await revoking
    assert await elsewhere.aresume("chat", owner="a", tenant=TENANT) is None
    (mark,) = redis_server.scan_iter(f"{key_prefix}:{TENANT}:revoked:*")
    assert redis_server.ttl(mark) > 2 * 10 * DAY


async def test_retire_is_for_what_comes_and_on_demand_for_what_is_there(manager: StreamManager):
    await read_all(await manager.arun("1", finished(["x"]), owner="a", tenant=TENANT))
    assert await retire("default", TENANT, ttl=300) == 0
    assert (await resume(manager, "1")).info.ttl > 300
    assert await retire("default", TENANT, ttl=300, existing=True) == 1
    assert (await resume(manager, "1")).info.ttl <= 300
    own = await manager.arun("2", finished(["x"]), owner="a", tenant=TENANT, ttl=600)
    assert await read_all(own) == b"x"
    assert own.info.ttl > 300  # the call's own word comes first
    await retire("default", TENANT, ttl=0)
    assert await in_force() == (1, None)


async def test_a_purge_of_an_owner_spares_what_somebody_else_acquires_meanwhile(
    manager: StreamManager, elsewhere: StreamManager
):
    await read_all(await manager.arun("chat", finished(["a's"]), owner="a", tenant=TENANT))
    gate = Gate(manager, "status")
    selection = Selection(tenant=TENANT, owner="a")
    progress = Progress()
    purging = asyncio.ensure_future(
        purge(StreamBatches(get_engine("default").store, selection), progress)
    )
    await gate.reached.wait()
    assert await elsewhere.adelete("chat", owner="a", tenant=TENANT)
    await read_all(await elsewhere.arun("chat", finished(["b's"]), owner="b", tenant=TENANT))
    gate.opened.set()
    await purging
    assert progress.done == 0
    assert await read_all(await resume(elsewhere, "chat", "b")) == b"b's"


async def test_a_foreign_run_of_a_revoked_id_learns_nothing(manager: StreamManager):
    await read_all(await manager.arun("chat", finished(["a's"]), owner="a", tenant=TENANT))
    await revoke("default", TENANT, "a")
    tap = Tap()
    with pytest.raises(StreamDoesNotExist):
        await manager.arun("chat", tap, owner="b", tenant=TENANT)
    assert tap.calls == 0


async def test_stopped_batches_end_after_the_one_at_work(manager: StreamManager):
    for number in range(10):
        source: AsyncIterator[Any] = finished(["x"])
        await read_all(await manager.arun(f"s{number}", source, owner="a", tenant=TENANT))
    batches = StreamBatches(get_engine("default").store, Selection(tenant=TENANT), batch=3)
    progress = Progress(on_change=lambda progress: batches.stop())
    with pytest.raises(Exception, match="Interrupted"):
        await purge(batches, progress)
    assert progress.done == 3
    infos = [await manager.astatus(f"s{n}", owner="a", tenant=TENANT) for n in range(10)]
    assert [info and info.status for info in infos].count(StreamStatus.DONE) == 7


async def test_an_id_whose_stream_was_revoked_is_free_for_its_owner_and_for_nobody_else(
    manager: StreamManager, elsewhere: StreamManager
):
    """An idempotency key, say, that a client sends again after its owner has come back."""
    await read_all(await manager.arun("i-1", [b"old"], owner="a", tenant=TENANT))
    await revoke("default", TENANT, "a")
    with pytest.raises(StreamDoesNotExist):
        await elsewhere.arun("i-1", [b"foreign"], owner="b", tenant=TENANT)
    again = await elsewhere.arun("i-1", [b"new"], owner="a", tenant=TENANT)
    assert (again.role, await read_all(again)) == (Role.PRODUCER, b"new")
    joined = await manager.arun("i-1", [b"never"], owner="a", tenant=TENANT)
    assert (joined.role, await read_all(joined)) == (Role.CONSUMER, b"new")
