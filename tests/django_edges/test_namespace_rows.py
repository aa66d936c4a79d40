"""Rows of tenants: saving one puts it in force, and nothing changes one without doing so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from redis import Redis

from resumable_streams import StoreUnavailable, StreamManager
from resumable_streams.engine import get_engine
from resumable_streams.models import StreamNamespace
from resumable_streams.operating import rows as rows_in_force
from resumable_streams.operating.rows import InForce
from resumable_streams.process.runtime import runtime

from .test_admin import dead_store as dead_store  # fixtures
from .test_admin import streams as streams

pytestmark = pytest.mark.django_db(transaction=True)

TENANT = "acme"
OWNER = "user:42"
objects = StreamNamespace.objects


def in_force() -> tuple[int | None, float | None]:
    """Return the generation and the TTL that the store has."""
    (found,) = rows_in_force.in_force("default", [StreamNamespace(alias="default", tenant=TENANT)])
    return found.generation, found.ttl


def saved() -> tuple[int, float | None]:
    row = objects.get(tenant=TENANT)
    return row.generation, row.ttl


def new_row(**says: Any) -> StreamNamespace:
    row: StreamNamespace = objects.create(alias="default", tenant=TENANT, **says)
    return row


def set_store(**says: Any) -> None:
    """Change what is in force without a row, as after a change that the database lost."""

    async def change() -> None:
        await get_engine("default").store.set_control(TENANT, **says)

    runtime.call_sync(change)


def acquire(streams: StreamManager) -> None:
    list(streams.run("s", [b"x"], owner=OWNER, tenant=TENANT))


def is_reached(streams: StreamManager) -> bool:
    return streams.status("s", owner=OWNER, tenant=TENANT) is not None


# Saving.


def test_saving_puts_a_ttl_in_force(streams: StreamManager):
    row = new_row(ttl=5_000)
    assert in_force() == (1, 5_000)
    row.ttl = 300
    row.save()
    assert in_force() == (1, 300)
    row.ttl = None
    row.save(update_fields=["ttl"])
    assert in_force() == (1, None)


def test_saving_a_later_generation_ends_what_was_there(streams: StreamManager):
    row = new_row()
    acquire(streams)
    row.generation += 1
    row.save()
    assert in_force() == (2, None)
    assert not is_reached(streams)


@pytest.mark.parametrize("write", ["get_or_create", "update_or_create"])
def test_whatever_saves_a_row_does(streams: StreamManager, write: str):
    getattr(objects, write)(alias="default", tenant=TENANT, defaults={"ttl": 300})
    assert in_force() == (1, 300)
    objects.update_or_create(alias="default", tenant=TENANT, defaults={"ttl": 400})
    assert in_force() == (1, 400)


def test_what_is_saved_in_a_transaction_is_in_force_when_that_is_committed(
    streams: StreamManager,
):
    with transaction.atomic():
        new_row(ttl=300)
        assert in_force() == (None, None)
    assert in_force() == (1, 300)


def test_what_is_rolled_back_never_was(streams: StreamManager):
    row = new_row()
    with transaction.atomic():
        row.generation, row.ttl = 5, 300
        row.save()
        transaction.set_rollback(True)
    assert in_force() == (None, None)


def test_a_generation_never_goes_back(streams: StreamManager):
    row = new_row(generation=3)
    row.generation = 2
    with pytest.raises(ValueError, match=r"only grows.*objects\.rotate\('acme'\)"):
        row.save()
    made = StreamNamespace(pk=row.pk, alias="default", tenant=TENANT)
    with pytest.raises(ValueError, match="only grows"):
        made.save()
    assert saved() == in_force() == (3, None)


def test_a_row_that_was_read_before_a_rotation_does_not_undo_it(streams: StreamManager):
    row = new_row()
    assert objects.rotate(TENANT) == 2
    row.ttl = 300
    row.save()
    assert row.generation == 2
    assert saved() == in_force() == (2, 300)


def test_a_store_that_is_ahead_is_followed(streams: StreamManager):
    row = new_row()
    set_store(generation=4)
    row.ttl = 300
    row.save()
    assert row.generation == 4
    assert saved() == in_force() == (4, 300)


def test_a_new_row_that_says_nothing_changes_nothing(streams: StreamManager):
    set_store(generation=4, ttl=300)
    new_row()
    assert in_force() == (4, 300)


@pytest.mark.parametrize(
    ("says", "complaint"),
    [
        ({"ttl": 1}, "longer than the lease"),
        ({"ttl": 0}, "longer than the lease"),
        ({"ttl": float("inf")}, "finite"),
        ({"ttl": float("nan")}, "finite"),
        ({"generation": 0}, "from 1"),
        ({"generation": F("generation") + 1}, "rotate"),
        ({"tenant": "a:b"}, "A tenant is"),
        ({"alias": "gone", "ttl": 300}, "no alias"),
    ],
)
def test_what_can_never_be_in_force_is_not_saved(
    streams: StreamManager, says: dict[str, Any], complaint: str
):
    row = StreamNamespace(**{"alias": "default", "tenant": TENANT, **says})
    with pytest.raises((ValueError, ImproperlyConfigured), match=complaint):
        row.save()
    with pytest.raises(ValidationError):
        row.full_clean()
    assert not objects.exists()
    assert in_force() == (None, None)


def test_a_store_that_is_away_is_told_and_saving_again_heals(
    dead_store: None, settings: Any, redis_url: str, key_prefix: str
):
    row = new_row()
    row.ttl = 300
    with pytest.raises(StoreUnavailable, match="is saved, but the store stopped responding"):
        row.save()
    assert saved() == (1, 300)
    runtime.call_sync(runtime.aclose)
    entry = settings.RESUMABLE_STREAMS["default"]
    entry = {**entry, "LOCATION": redis_url, "KEY_PREFIX": key_prefix}
    settings.RESUMABLE_STREAMS = {"default": entry}
    row.save()
    assert in_force() == (1, 300)


async def test_async_saving_does_too(settings: Any, key_prefix: str):
    memory = "resumable_streams.stores.memory.MemoryStore"
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": memory, "KEY_PREFIX": key_prefix}}
    now = sync_to_async(in_force)
    row = await objects.acreate(alias="default", tenant=TENANT, ttl=300)
    assert await now() == (1, 300)
    row.ttl = 400
    await row.asave()
    assert await now() == (1, 400)
    assert await objects.arotate(TENANT) == 2
    assert await objects.aretire(TENANT, ttl=500) == 0
    assert await now() == (2, 500)


# Many at once.


@pytest.mark.parametrize(
    "write",
    [
        lambda: objects.update(generation=7),
        lambda: objects.filter(tenant=TENANT).update(ttl=300),
        lambda: objects.filter(tenant=TENANT).update(generation=F("generation") + 1),
        lambda: objects.bulk_update(objects.all(), ["ttl"]),
        lambda: objects.bulk_create([StreamNamespace(alias="default", tenant="other")]),
    ],
)
def test_what_would_change_the_copy_alone_is_refused(
    streams: StreamManager, write: Callable[[], Any]
):
    new_row()
    with pytest.raises(TypeError, match=r"objects\.rotate\(tenant\).*objects\.retire\(tenant"):
        write()
    assert list(objects.values_list("tenant", "generation", "ttl")) == [(TENANT, 1, None)]


def test_other_columns_are_written_as_ever(streams: StreamManager):
    row = new_row()
    assert objects.update(tenant="other") == 1
    row.refresh_from_db()
    row.tenant = TENANT
    assert objects.bulk_update([row], ["tenant"]) == 1
    assert saved() == (1, None)


# The manager.


def test_the_manager_rotates_and_sets_ttls(streams: StreamManager):
    acquire(streams)
    assert objects.retire(TENANT, ttl=300) == 0
    assert objects.retire(TENANT, ttl=300, existing=True) == 1
    assert objects.rotate(TENANT, purge_old=True) == 2
    assert saved() == in_force() == (2, 300)
    assert not is_reached(streams)
    assert objects.retire(TENANT, ttl=None) == 0
    assert saved() == in_force() == (2, None)


def test_it_is_at_work_in_a_transaction_that_has_the_row_locked(streams: StreamManager):
    new_row()
    with transaction.atomic():
        row = objects.select_for_update().get(tenant=TENANT)
        assert objects.rotate(TENANT) == 2
        assert in_force() == (2, None)
        row.refresh_from_db()
        assert row.generation == 2
    assert saved() == (2, None)


def test_a_change_whose_transaction_is_rolled_back_goes_on_from_what_is_in_force(
    streams: StreamManager,
):
    with transaction.atomic():
        objects.rotate(TENANT)
        transaction.set_rollback(True)
    assert in_force() == (2, None)
    assert objects.rotate(TENANT) == 3
    assert saved() == in_force() == (3, None)


@pytest.mark.parametrize("act", ["rotate", "retire"])
def test_without_the_store_nothing_is_half_done(dead_store: None, act: str):
    named = {"ttl": 300} if act == "retire" else {}
    with pytest.raises(StoreUnavailable):
        getattr(objects, act)(TENANT, **named)
    assert not objects.exists()


def test_a_tenant_or_ttl_that_cannot_be_is_refused(streams: StreamManager):
    with pytest.raises(ValueError, match="A tenant is"):
        objects.rotate("a:b")
    with pytest.raises(ValueError, match="longer than the lease"):
        objects.retire(TENANT, ttl=1)
    assert not objects.exists()


# What writes past `save`.


@pytest.fixture
def fixture(tmp_path: Path) -> str:
    path = tmp_path / "tenants.json"
    fields = {"alias": "default", "tenant": TENANT, "generation": 3, "ttl": 300, "updated": None}
    fields["updated"] = "2026-01-01T00:00:00Z"
    row = {"model": "resumable_streams.streamnamespace", "pk": 1, "fields": fields}
    path.write_text(json.dumps([row]))
    return str(path)


def test_a_fixture_is_the_copy_that_a_store_without_the_tenant_is_restored_from(
    settings: Any, redis_url: str, redis_server: Redis, key_prefix: str, fixture: str
):
    redis = "resumable_streams.stores.redis.RedisStore"
    entry = {"BACKEND": redis, "LOCATION": redis_url, "KEY_PREFIX": key_prefix}
    settings.RESUMABLE_STREAMS = {"default": entry}
    call_command("loaddata", fixture, verbosity=0)
    assert in_force() == (None, None)
    reader = StreamManager().run("s", [b"x"], owner=OWNER, tenant=TENANT)
    assert list(reader) == [b"x"]
    assert (reader.info.generation, in_force()) == (3, (3, 300))


def test_a_fixture_changes_nothing_that_is_in_force_until_it_is_saved(
    streams: StreamManager, fixture: str
):
    set_store(generation=5, ttl=60)
    call_command("loaddata", fixture, verbosity=0)
    assert in_force() == (5, 60)
    for row in objects.all():
        row.save()
    assert saved() == in_force() == (5, 300)


def test_what_is_in_force_is_seen_beside_the_row(streams: StreamManager, key_prefix: str):
    row = new_row()
    (found,) = rows_in_force.in_force("default", [row])
    prefix = f"{key_prefix}:{TENANT}:g1:"
    assert found == InForce(generation=None, ttl=None, key_prefix=prefix)
    assert found.agrees_with(row)
    set_store(generation=4, ttl=300)
    (found,) = rows_in_force.in_force("default", [row])
    assert found.key_prefix == f"{key_prefix}:{TENANT}:g4:"
    assert not found.agrees_with(row)
    row.save()
    (found,) = rows_in_force.in_force("default", [row])
    assert found.agrees_with(row)
