"""Two at once, for every write of a control key or a row: as if one had come after the other.

What is in force and what is written down agree afterwards, whichever came first. Sessions are in
`tests/setups/test_two_at_once.py`, places in `tests/behaviour/test_quotas.py`.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import combinations_with_replacement, permutations
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.utils import timezone

from resumable_streams import StreamFailed, StreamManager
from resumable_streams.control import retire, revoke, rotate
from resumable_streams.control.saved import in_database
from resumable_streams.engine import get_engine
from resumable_streams.models import IncidentAction, StreamNamespace, StreamRecord
from resumable_streams.operating.incidents import Operator, incident
from resumable_streams.operating.recorder import RecordEnding, Recorder
from resumable_streams.operating.settling import settle
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from tests.ledger import open_database
from tests.postgres import Postgres
from tests.tools.readers import read_all

from . import IS_FULL
from .report import Tried

pytestmark = pytest.mark.lengthy

TIMES = 3 if IS_FULL else 1
DATABASES = ("postgresql", "sqlite") if IS_FULL else ("postgresql",)
STORES = ("memory", "redis") if IS_FULL else ("redis",)

Write = Callable[[str], Awaitable[object]]


@pytest.fixture(scope="module", params=DATABASES)
def entry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Return what DATABASES says of a new database."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("rows") / "rows.sqlite3"
        yield {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        name = server.create(f"at_once_{uuid.uuid4().hex}")
        yield server.entry(name)
        server.drop(name)


@pytest.fixture(autouse=True)
def database(entry: dict[str, Any], settings: Any, django_db_blocker: Any) -> Iterator[None]:
    """Keep the rows there, where two may write at once."""
    with django_db_blocker.unblock(), open_database(entry, settings):
        yield


@pytest.fixture(params=STORES)
def streams(request: pytest.FixtureRequest) -> StreamManager:
    manager: StreamManager = request.getfixturevalue(f"{request.param}_manager")
    return manager


# What is in force in a tenant.


async def save(tenant: str, **changes: Any) -> None:
    """Read the row of a tenant, change it and save it, as the admin of a project does."""

    def change() -> None:
        row = StreamNamespace.objects.filter(alias="default", tenant=tenant).first()
        row = row or StreamNamespace(alias="default", tenant=tenant)
        for name, value in changes.items():
            setattr(row, name, value)
        row.save()

    await in_database(change)


async def acquire(tenant: str, ttl: float) -> None:
    """Begin a stream, which is kept for longer than any before."""
    streams, name = StreamManager(), uuid.uuid4().hex
    with suppress(StreamFailed):  # revoked, or rotated away
        await read_all(await streams.arun(name, [b"x"], owner="ada", tenant=tenant, ttl=ttl))


CONTROL: dict[str, Write] = {
    "rotate": lambda tenant: rotate("default", tenant),
    "retire": lambda tenant: retire("default", tenant, ttl=3_600),
    "retire for longer": lambda tenant: retire("default", tenant, ttl=7_200),
    "retire no more": lambda tenant: retire("default", tenant, ttl=0),
    "save a ttl": lambda tenant: save(tenant, ttl=5_400.0),
    "save a generation": lambda tenant: save(tenant, generation=7),
    "revoke": lambda tenant: revoke("default", tenant, "ada"),
    "acquire": lambda tenant: acquire(tenant, 200_000),
    "acquire for longer": lambda tenant: acquire(tenant, 300_000),
}
TRIED = [name for name in CONTROL if IS_FULL or not name.endswith(("longer", "more"))]


async def begin_known(tenant: str) -> None:
    await acquire(tenant, 100_000)
    await rotate("default", tenant)


async def begin_new(tenant: str) -> None:
    """Leave the tenant as one that nobody has ever asked for."""


async def begin_lost(tenant: str) -> None:
    """Have the store lose the key, of which the database has a copy."""
    await begin_known(tenant)
    store: Any = get_engine("default").store
    if isinstance(store, MemoryStore):
        store._space.controls.pop(tenant)
    else:
        assert isinstance(store, RedisStore)
        await store._nodes.execute("", "DEL", store.keys.control(tenant))


BEGINNINGS = {"known": begin_known, "new": begin_new, "lost": begin_lost}


async def in_force(tenant: str) -> object:
    """Return what the store says, and what the database has of it."""

    def saved() -> object:
        rows = StreamNamespace.objects.filter(alias="default", tenant=tenant)
        return list(rows.values_list("generation", "ttl"))

    found = await get_engine("default").store.get_control(tenant, "ada")
    is_revoked = found.revoked_at is not None
    said = (found.generation, found.ttl, found.longest_ttl, is_revoked)
    return said, await in_database(saved)


async def written_by(writes: Sequence[Write], tenant: str, *, at_once: bool) -> tuple[int, ...]:
    """Do all of them; return which were done, and not refused by a database that was busy."""
    if at_once:
        outcomes = await asyncio.gather(*(w(tenant) for w in writes), return_exceptions=True)
    else:
        outcomes = [await write(tenant) for write in writes]
    for one in outcomes:
        if isinstance(one, BaseException) and not isinstance(one, DatabaseError):
            raise one
    return tuple(n for n, one in enumerate(outcomes) if not isinstance(one, BaseException))


@pytest.mark.parametrize("beginning", BEGINNINGS if IS_FULL else ("known",))
@pytest.mark.parametrize("pair", list(combinations_with_replacement(TRIED, 2)), ids=" and ".join)
async def test_what_is_in_force_is_as_after_one_and_then_the_other(
    streams: StreamManager, pair: tuple[str, str], beginning: str, tried: Tried
) -> None:
    writes, begin = [CONTROL[name] for name in pair], BEGINNINGS[beginning]
    get_engine("default")  # its home is this loop, and not what a thread would open

    async def outcome(which: Sequence[int], *, at_once: bool) -> tuple[tuple[int, ...], object]:
        tenant = uuid.uuid4().hex
        await begin(tenant)
        done = await written_by([writes[n] for n in which], tenant, at_once=at_once)
        return done, await in_force(tenant)

    expected: dict[tuple[int, ...], list[object]] = {}
    for _ in range(TIMES):
        done, found = await outcome((0, 1), at_once=True)
        assert done
        if done not in expected:
            orders = permutations(done)
            expected[done] = [(await outcome(one, at_once=False))[1] for one in orders]
        assert found in expected[done]
    tried(TIMES, "pairs", {"as one after the other": TIMES})


# What is written down.


def recorded(epoch: str = "00000001") -> StreamRecord:
    return StreamRecord(
        alias="default",
        tenant="default",
        stream_id="chat",
        epoch=epoch,
        owner="ada",
        owner_digest="x",
        acquired=timezone.now() - timedelta(days=9),
    )


def ended(status: str, **changes: Any) -> Callable[[], object]:
    """Return what another process's recorder does when it hears of an end."""
    election = ("default", "default", "chat")
    changes = {"status": status, "ended": timezone.now(), **changes}

    def write() -> None:
        process = Recorder()
        process.put(RecordEnding(election=election, epoch="00000001", changes=changes))
        assert process.flush(30)
        assert not process.lost

    return write


RECORDS: dict[str, Callable[[], object]] = {
    "done": ended("done", size=3),
    "cancelled": ended("cancelled", size=2),
    "deleted": ended("deleted"),
    "settle": lambda: settle("default"),
    "clear": lambda: call_command(
        "resumable_streams", "records", "clear", older_than="1d", verbosity=0
    ),
}


@pytest.mark.parametrize("pair", list(combinations_with_replacement(RECORDS, 2)), ids=" and ".join)
async def test_a_record_is_as_after_one_and_then_the_other(
    memory_manager: StreamManager, pair: tuple[str, str], tried: Tried
) -> None:
    writes = [RECORDS[name] for name in pair]

    def rows() -> object:
        found = list(StreamRecord.objects.values_list("status", "size", "error_code"))
        StreamRecord.objects.all().delete()
        return found

    await in_database(rows)

    async def outcome(order: Sequence[int], *, at_once: bool) -> object:
        await in_database(recorded().save)
        works = [in_database(writes[n]) for n in order]
        if at_once:
            await asyncio.gather(*works)
        else:
            for work in works:
                await work
        return await in_database(rows)

    either = [await outcome(order, at_once=False) for order in ((0, 1), (1, 0))]
    for _ in range(TIMES):
        assert await outcome((0, 1), at_once=True) in either
    tried(TIMES, "pairs", {"as one after the other": TIMES})


async def test_one_election_recorded_twice_is_one_row(memory_manager: StreamManager) -> None:
    """The answer to a commit was lost, and both attempts meet."""
    row = recorded()
    await in_database(StreamRecord.objects.all().delete)

    def write() -> None:
        process = Recorder()
        again = recorded()
        again.acquired = row.acquired
        process.put(again)
        assert process.flush(30)

    await asyncio.gather(*(in_database(write) for _ in range(2)))
    assert await in_database(StreamRecord.objects.count) == 1


async def test_what_two_operators_do_at_once_is_written_down_twice(
    memory_manager: StreamManager,
) -> None:
    """One whose act the database refuses, as it was busy, has that written down, too."""
    tenant = uuid.uuid4().hex

    def act(who: str) -> None:
        with (
            suppress(DatabaseError),
            incident(IncidentAction.Action.ROTATE, alias="default", by=Operator(who=who)) as done,
        ):
            done.counts = {"generation": StreamNamespace.objects.rotate(tenant)}

    names = [f"{who} {tenant}" for who in ("ada", "eve")]
    await asyncio.gather(*(in_database(partial(act, name)) for name in names))
    acts = await in_database(lambda: list(IncidentAction.objects.filter(who__in=names)))
    assert {one.who for one in acts} == set(names)
    assert {one.outcome for one in acts} <= {"done", "failed"}
    done = sorted(one.counts["generation"] for one in acts if one.outcome == "done")
    assert done == list(range(2, 2 + len(done)))
