"""Signed links on streams: what they give, and everything that takes it away again."""

from collections.abc import Callable, Iterator
from time import time
from typing import Any

import pytest

from resumable_streams import (
    PUBLIC,
    InvalidOwner,
    StreamDoesNotExist,
    StreamFailed,
    StreamManager,
    StreamReader,
)
from resumable_streams.control import revoke, rotate
from resumable_streams.engine import get_engine
from resumable_streams.links import SignedLink
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import owner_checked, stream_resumed
from tests.ledger import open_ledger
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure
from tests.tools.waiting import eventually


@pytest.fixture
def memory_sync(configure_memory: Configure) -> Iterator[StreamManager]:
    """Return streams for sync code: their home is a thread, which ends with the test."""
    yield StreamManager()
    runtime.call_sync(runtime.aclose)


@pytest.fixture
def database(tmp_path: Any, settings: Any, django_db_blocker: Any) -> Iterator[None]:
    """Have a database of the test's own, for the generations."""
    with django_db_blocker.unblock(), open_ledger(tmp_path / "ledger.sqlite3", settings):
        yield


def of(token: str) -> SignedLink:
    return SignedLink.of(token, tenant="default")


async def signed(manager: StreamManager, stream_id: str = "chat", **named: Any) -> SignedLink:
    return of(await manager.asign(stream_id, owner="a", **named))


async def written(manager: StreamManager, stream_id: str = "chat", **named: Any) -> None:
    await read_all(await manager.arun(stream_id, finished([b"abc"]), **{"owner": "a", **named}))


async def resume(manager: StreamManager, link: SignedLink) -> StreamReader | None:
    return await manager.aresume("chat", owner=link)


async def test_who_has_a_link_reads_and_follows(manager: StreamManager):
    tap = Tap(b"so far, ")
    mine = await manager.arun("chat", tap, owner="a")
    before = await read_until(mine, 8)
    link = await signed(manager)
    reader = await manager.arequire_resume("chat", owner=link, offset=3)
    assert await read_until(reader, 8) == b"far, "
    tap.end(b"and on")
    assert await read_all(reader) == b"and on"
    assert before + await read_all(mine) == b"so far, and on"
    status = await manager.astatus("chat", owner=link)
    assert status is not None
    assert status.owner == "a"


async def test_a_link_is_for_one_stream_in_its_tenant_and_alias(manager: StreamManager):
    for stream_id in ("chat", "chat2"):
        for tenant in ("4", "42"):
            await written(manager, stream_id, tenant=tenant)
    link = await signed(manager, tenant="4")
    reader = await manager.arequire_resume("chat", owner=link)
    assert reader.info.tenant == "4"
    assert await manager.aresume("chat2", owner=link) is None
    assert await manager.using("elsewhere").aresume("chat", owner=link) is None


async def test_only_who_may_read_signs(manager: StreamManager):
    await written(manager)
    for stream_id, owner in (("chat", "b"), ("nothing", "a")):
        with pytest.raises(StreamDoesNotExist):
            await manager.asign(stream_id, owner=owner)


async def test_a_link_is_no_owner(manager: StreamManager):
    await written(manager)
    link: Any = await signed(manager)
    for verb in (manager.asign, manager.acancel, manager.adelete):
        with pytest.raises(InvalidOwner):
            await verb("chat", owner=link)
    with pytest.raises(InvalidOwner):
        await manager.arun("chat", [b""], owner=link)


async def test_a_public_stream_has_links_too_and_a_bad_one_is_bad(manager: StreamManager):
    await written(manager, owner=PUBLIC)
    assert await resume(manager, of(await manager.asign("chat", owner=PUBLIC)))
    assert await resume(manager, of("nonsense")) is None


async def test_a_link_ends_with_its_age(manager: StreamManager, monkeypatch: pytest.MonkeyPatch):
    await written(manager)
    link = await signed(manager, max_age=60)
    assert await resume(manager, link)
    later = time() + 61
    monkeypatch.setattr("resumable_streams.links._now", lambda: later)
    assert await resume(manager, link) is None


async def test_a_link_does_not_outlive_its_stream(manager: StreamManager):
    await written(manager)
    link = await signed(manager, max_age=10**9)
    engine = get_engine("default")
    reader = await manager.arequire_resume("chat", owner=link)
    await engine.store.expire(reader._key, 0.05)

    async def is_gone() -> bool:
        return await manager.astatus("chat", owner="a") is None

    await eventually(is_gone)  # by the store's clock, which we cannot turn
    assert await resume(manager, link) is None


async def test_a_stream_begun_again_under_the_id_has_other_links(manager: StreamManager):
    await written(manager)
    link = await signed(manager)
    await manager.adelete("chat", owner="a")
    assert await resume(manager, link) is None
    await written(manager)
    assert await resume(manager, link) is None
    assert await resume(manager, await signed(manager))


async def test_a_revocation_ends_links_and_who_reads_by_one(manager: StreamManager):
    tap = Tap(b"x")
    await manager.arun("chat", tap, owner="a")
    link = await signed(manager)
    reader = await manager.arequire_resume("chat", owner=link)
    await read_until(reader, 1)
    await revoke("default", "default", "a")
    assert await resume(manager, link) is None
    with pytest.raises(StreamFailed):
        await anext(reader)
    await tap.closed.wait()


async def test_the_revocation_of_another_owner_ends_no_link(manager: StreamManager):
    await written(manager)
    link = await signed(manager)
    for owner in ("b", PUBLIC):
        await revoke("default", "default", owner)
    assert await resume(manager, link)


async def test_a_rotation_ends_links(manager: StreamManager, database: None):
    await written(manager, tenant="acme")
    link = await signed(manager, tenant="acme")
    assert await resume(manager, link)
    await rotate("default", "acme")
    assert await resume(manager, link) is None


async def test_receivers_are_told_that_a_link_was_shown(
    manager: StreamManager, hear: Callable[..., list[dict[str, Any]]]
):
    await written(manager)
    link = await signed(manager)
    heard = hear(owner_checked, stream_resumed)
    await resume(manager, link)
    await resume(manager, of("nonsense"))
    await manager.astatus("nothing", owner=link)
    checks = [h for h in heard if h["signal"] is owner_checked]
    assert [(c["operation"], c["outcome"], c["owner"], c["by_link"]) for c in checks] == [
        ("resume", "match", "a", True),
        ("resume", "foreign", PUBLIC, True),
        ("status", "missing", PUBLIC, True),
    ]
    assert [h["owner"] for h in heard if h["signal"] is stream_resumed] == ["a"]


async def test_a_bad_link_costs_the_store_what_a_missing_stream_does(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
):
    await written(manager)
    await written(manager, "chat2")
    other = await signed(manager, "chat2")
    store = get_engine("default").store
    asked: list[str] = []
    for name in ("get_control", "status", "set_control"):
        verb = getattr(store, name)

        def count(*args: Any, _name: str = name, _verb: Any = verb, **named: Any) -> Any:
            asked.append(_name)
            return _verb(*args, **named)

        monkeypatch.setattr(store, name, count)

    async def cost(stream_id: str, owner: Any) -> list[str]:
        asked.clear()
        assert await manager.aresume(stream_id, owner=owner) is None
        return list(asked)

    missing = await cost("nothing", "b")
    assert missing == ["get_control", "status"]
    assert await cost("chat", "b") == missing
    for link in (other, of("nonsense"), of("made-up.0.signature.signature")):
        assert await cost("chat", link) == await cost("nothing", link) == missing


def test_sync_code_signs(memory_sync: StreamManager):
    list(memory_sync.run("chat", [b"abc"], owner="a"))
    link = of(memory_sync.sign("chat", owner="a", max_age=60))
    reader = memory_sync.resume("chat", owner=link)
    assert reader is not None
    assert b"".join(reader) == b"abc"
