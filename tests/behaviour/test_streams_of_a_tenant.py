"""`streams.tenant("acme")`: the same verbs, with the tenant bound, and what operators do to it."""

from collections.abc import Iterator

import pytest
from asgiref.sync import sync_to_async

from resumable_streams import StreamManager
from resumable_streams.exceptions import InvalidTenant
from resumable_streams.models import StreamNamespace
from resumable_streams.owners import Identity
from tests.ledger import Ledger, open_ledger
from tests.tools.readers import read_all

SOURCE = [b"abc"]


@pytest.fixture(autouse=True)
def ledger(tmp_path, settings, django_db_blocker) -> Iterator[Ledger]:
    with django_db_blocker.unblock(), open_ledger(tmp_path / "ledger.sqlite3", settings) as opened:
        yield opened


async def test_every_verb_acts_in_the_tenant_that_is_bound(manager: StreamManager):
    acme = manager.tenant("acme")
    assert await read_all(await acme.arun("chat", SOURCE, owner="a")) == b"abc"
    assert await manager.astatus("chat", owner="a") is None
    assert await manager.astatus("chat", owner="a", tenant="acme") is not None
    assert await acme.astatus("chat", owner="a") is not None
    assert await acme.astatus("chat", owner="a", tenant="acme") is not None
    assert await acme.adelete("chat", owner="a")


async def test_a_bound_tenant_cannot_be_left(manager: StreamManager):
    acme = manager.tenant("acme")
    with pytest.raises(ValueError, match="of tenant 'acme' alone"):
        await acme.astatus("chat", owner="a", tenant="other")
    with pytest.raises(ValueError, match="of tenant 'acme' alone"):
        await acme.arotate(tenant="other")
    with pytest.raises(InvalidTenant):
        manager.tenant("no tenant")
    assert acme.using("default").tenant("other") is not None


def test_a_bound_tenant_is_shown(manager: StreamManager):
    assert repr(manager) == "<StreamManager default>"
    assert repr(manager.tenant("acme")) == "<StreamManager default tenant=acme>"


async def test_an_identity_brings_its_names_and_its_tenant(manager: StreamManager):
    both = Identity(owners=("user:1", "session:x"), tenant="acme")
    reader = await manager.arun("chat", SOURCE, owner=both)
    assert (reader.info.owner, reader.info.tenant) == ("user:1", "acme")
    before = await manager.arun("early", SOURCE, owner="session:x", tenant="acme")
    assert await read_all(before) == b"abc"
    info = await manager.astatus("early", owner=both)
    assert info is not None
    assert info.owner == "session:x"
    assert await manager.astatus("early", owner=both, tenant="other") is None


async def test_a_rotation_reaches_its_tenant_and_no_other(manager: StreamManager):
    for tenant in ("acme", "other"):
        await read_all(await manager.arun("chat", SOURCE, owner="a", tenant=tenant))
    assert await manager.tenant("acme").arotate(purge_old=True) == 2
    assert await manager.astatus("chat", owner="a", tenant="acme") is None
    assert await manager.astatus("chat", owner="a", tenant="other") is not None


async def test_a_revocation_reaches_all_names_of_an_identity(manager: StreamManager):
    for owner in ("user:1", "session:x", "user:2"):
        await read_all(await manager.arun(f"of-{owner}", SOURCE, owner=owner))
    await manager.arevoke(owner=Identity(owners=("user:1", "session:x")))
    for owner, is_there in (("user:1", False), ("session:x", False), ("user:2", True)):
        assert (await manager.astatus(f"of-{owner}", owner=owner) is not None) is is_there


async def test_a_tenant_can_be_given_another_ttl(manager: StreamManager):
    acme = manager.tenant("acme")
    await read_all(await acme.arun("old", SOURCE, owner="a"))
    assert await acme.aretire(ttl=300, existing=True) == 1
    reader = await acme.arun("new", SOURCE, owner="a")
    assert reader.info.ttl <= 300


async def test_a_purge_deletes_what_matches_and_nothing_else(manager: StreamManager):
    for tenant in ("acme", "other"):
        for owner in ("a", "b", "c"):
            reader = await manager.arun(f"of-{owner}", SOURCE, owner=owner, tenant=tenant)
            await read_all(reader)
    acme = manager.tenant("acme")
    assert await acme.apurge(owner="a", older_than=3600) == 0
    assert await acme.apurge(owner="a", generation=2) == 0
    assert await acme.apurge(owner=Identity(owners=("a", "b"))) == 2
    assert await acme.astatus("of-a", owner="a") is None
    assert await acme.astatus("of-c", owner="c") is not None
    assert await acme.apurge() == 1
    assert await manager.astatus("of-a", owner="a", tenant="other") is not None


async def test_an_audit_counts_one_tenant(manager: StreamManager):
    for tenant, owner in (("acme", "a"), ("acme", "b"), ("other", "a")):
        await read_all(await manager.arun(f"of-{owner}", SOURCE, owner=owner, tenant=tenant))
    await manager.arevoke(owner="b", tenant="acme")
    found = await manager.tenant("acme").aaudit()
    assert (found.streams, found.reachable, found.size, len(found.owners)) == (2, 1, 6, 2)
    assert (await manager.tenant("nobody").aaudit()).streams == 0


async def test_the_twins_do_the_same(memory_manager: StreamManager):
    acme = memory_manager.tenant("acme")

    def act() -> tuple[int, float, int]:
        return acme.rotate(), acme.revoke(owner="a"), acme.retire(ttl=300)

    generation, mark, shortened = await sync_to_async(act)()
    assert (generation, shortened) == (2, 0)
    assert mark > 0
    row = await StreamNamespace.objects.aget(tenant="acme")
    assert (row.generation, row.ttl) == (2, 300)
