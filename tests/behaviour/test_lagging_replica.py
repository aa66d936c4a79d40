"""A database with a replica that lags: what decides is read where it is written."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.db import connections
from django.test import RequestFactory
from django.utils import timezone
from redis import Redis

from resumable_streams import StreamManager
from resumable_streams.control import retire, rotate
from resumable_streams.control.saved import saved_generations
from resumable_streams.identifiers import owner_digest
from resumable_streams.models import StreamNamespace, StreamRecord
from resumable_streams.operating import settling
from resumable_streams.process.runtime import runtime
from tests.ledger import ALIAS as PRIMARY
from tests.ledger import open_ledger
from tests.tools.readers import read_all
from tests.tools.sources import finished

from .conftest import Configure

REPLICA = "replica"
TENANT = "acme"


class Router:
    """Read from the replica, as a project with one does."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return REPLICA

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return PRIMARY


@pytest.fixture(autouse=True)
def databases(tmp_path, settings, django_db_blocker) -> Iterator[None]:
    """Have a primary, and a replica that has heard of nothing yet but the tables."""
    with django_db_blocker.unblock(), open_ledger(tmp_path / "primary.sqlite3", settings):
        entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "replica.sqlite3")}
        configured = connections.configure_settings({"default": {}, REPLICA: entry})
        connections.settings[REPLICA] = configured[REPLICA]
        call_command("migrate", "resumable_streams", database=REPLICA, verbosity=0)
        settings.DATABASE_ROUTERS = [Router()]
        try:
            yield
        finally:
            connections[REPLICA].close()
            del connections[REPLICA], connections.settings[REPLICA]


async def test_a_rotation_is_not_undone_by_it(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
):
    named: dict[str, Any] = {"owner": "a", "tenant": TENANT}
    await read_all(await redis_manager.arun("old", finished(["rotated"]), **named))
    await rotate("default", TENANT)
    await runtime.aclose()  # a new process, which has seen no generation
    redis_server.delete(f"{key_prefix}:{TENANT}:control")
    assert await redis_manager.aresume("old", **named) is None
    reader = await redis_manager.arun("old", finished(["new"]), **named)
    assert await read_all(reader) == b"new"
    assert reader.info.generation == 2


async def test_rotations_and_lifetimes_go_on_from_where_the_primary_is(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
):
    for _ in range(2):
        await rotate("default", TENANT)
    await retire("default", TENANT, ttl=300)
    await runtime.aclose()
    redis_server.delete(f"{key_prefix}:{TENANT}:control")
    assert await rotate("default", TENANT) == 4
    assert await saved_generations("default") == {TENANT: 4}


def test_records_are_settled_by_what_the_primary_has(configure_memory: Configure):
    StreamRecord.objects.create(
        alias="default",
        tenant=TENANT,
        generation=1,
        stream_id="s",
        epoch="e",
        owner="a",
        owner_digest=owner_digest("a"),
        acquired=timezone.now() - timedelta(days=1),
    )
    try:
        assert settling.settle("default") == 1
    finally:
        runtime.call_sync(runtime.aclose)
    assert StreamRecord.objects.using(PRIMARY).get().status == "lost"


@pytest.mark.parametrize("model", [StreamNamespace, StreamRecord])
def test_operators_see_the_primary(model: Any):
    request = RequestFactory().get("/")
    assert admin.site._registry[model].get_queryset(request).db == PRIMARY


def test_so_does_whoever_reads_what_is_in_force():
    StreamNamespace.objects.create(alias="default", tenant=TENANT, generation=1)
    assert StreamNamespace.objects.get(tenant=TENANT)._state.db == PRIMARY
    assert not StreamNamespace.objects.using(REPLICA).exists()  # who says so reads there
    with pytest.raises(Exception, match="already exists"):
        StreamNamespace(alias="default", tenant=TENANT).validate_constraints()
