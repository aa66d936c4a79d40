"""The rows of tenants on a database that locks them: whoever changes one sees what others made."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connections, router, transaction

from resumable_streams import StreamManager
from resumable_streams.control import retire, rotate
from resumable_streams.engine import get_engine
from resumable_streams.models import StreamNamespace
from tests.ledger import open_database
from tests.postgres import Postgres
from tests.tools.waiting import eventually

TENANT = "acme"
THEIRS = 7

Session = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def other(postgres_server: Postgres, settings, django_db_blocker) -> Iterator[Session]:
    """Keep the rows on PostgreSQL, and return the session of somebody else who changes them."""
    database = postgres_server.create(f"locking_{uuid4().hex}")
    with (
        django_db_blocker.unblock(),
        open_database(postgres_server.entry(database), settings),
        postgres_server.connect(database) as session,
    ):
        yield session
    postgres_server.drop(database)


async def row() -> StreamNamespace:
    found: StreamNamespace = await in_thread(lambda: StreamNamespace.objects.get(tenant=TENANT))
    return found


async def in_thread(query: Callable[[], Any]) -> Any:
    def run() -> Any:
        try:
            return query()
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


async def at_the_lock(other: Session, act: Awaitable[Any]) -> Any:
    """Start `act` while the row is locked; change the row once it waits, and return its result."""
    with other.transaction():
        other.execute("SELECT * FROM resumable_streams_streamnamespace FOR UPDATE")
        waiting = asyncio.ensure_future(act)
        await eventually(lambda: waits_for_a_lock(other))
        other.execute("UPDATE resumable_streams_streamnamespace SET generation = %s", [THEIRS])
    return await waiting


def waits_for_a_lock(other: Session) -> bool:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    found = other.execute(waiting).fetchone()
    return found is not None and found[0] > 0


async def test_a_rotation_goes_on_from_what_somebody_else_has_written_meanwhile(
    memory_manager: StreamManager, other
):
    assert await rotate("default", TENANT) == 2
    assert await at_the_lock(other, rotate("default", TENANT)) == THEIRS + 1
    assert (await row()).generation == THEIRS + 1


async def test_a_new_ttl_leaves_a_generation_that_was_written_meanwhile(
    memory_manager: StreamManager, other
):
    await rotate("default", TENANT)
    await at_the_lock(other, retire("default", TENANT, ttl=3_600))
    changed = await row()
    assert (changed.generation, changed.ttl) == (THEIRS, 3_600)


async def test_a_row_that_is_saved_keeps_a_generation_that_was_written_meanwhile(
    memory_manager: StreamManager, other
):
    await rotate("default", TENANT)
    read = await row()
    read.ttl = 3_600
    await at_the_lock(other, in_thread(read.save))
    changed = await row()
    assert (changed.generation, changed.ttl) == (THEIRS, 3_600)


async def test_rotations_at_the_same_time_are_one_generation_each(
    memory_manager: StreamManager, other
):
    rotations = [rotate("default", TENANT) for _ in range(8)]  # the first of which makes the row
    assert sorted(await asyncio.gather(*rotations)) == list(range(2, 10))
    assert (await row()).generation == 9


async def test_a_row_that_is_saved_keeps_a_ttl_that_was_written_meanwhile(
    memory_manager: StreamManager, other
):
    await retire("default", TENANT, ttl=3_600)
    read = await row()
    other.execute("UPDATE resumable_streams_streamnamespace SET ttl = 7200")
    read.generation += 1
    await in_thread(read.save)
    changed = await row()
    assert (changed.generation, changed.ttl) == (2, 7_200)


async def test_what_is_put_in_force_late_is_what_the_row_says_then(
    memory_manager: StreamManager, other
):
    """Between a commit and what follows it, somebody else changes the row and the store."""
    await rotate("default", TENANT)
    read = await row()

    def save() -> None:
        using = router.db_for_write(StreamNamespace)
        with transaction.atomic(using=using):
            act = partial(StreamNamespace.objects.retire, TENANT, ttl=7_200)
            transaction.on_commit(partial(in_a_thread_of_its_own, act), using=using)
            read.ttl = 3_600
            read.save()

    await in_thread(save)
    found = await get_engine("default").store.get_control(TENANT, "ada")
    assert found.ttl == (await row()).ttl == 7_200


def in_a_thread_of_its_own(act: Callable[[], object]) -> None:
    def run() -> None:
        try:
            act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor() as thread:
        thread.submit(run).result()
