"""A user of the server who may not do all that we need: told which right is missing, at once."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from resumable_streams import StreamFailed, StreamManager
from resumable_streams.engine import get_engine
from resumable_streams.exceptions import StoreForbidden, StreamClaimLost, StreamDoesNotExist
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, TERMS, refusal, start
from resumable_streams.types import Claim, StreamKey, StreamStatus
from resumable_streams.workers import Worker
from tests.nodes import Node
from tests.stores.test_rights import rights
from tests.tools.readers import read_until
from tests.tools.sources import Tap
from tests.tools.waiting import pass_time, within

from . import IS_FULL
from .conftest import Run, entry, outcome

EVERYTHING = ("on", ">pw", "~*", "&*", "+@all")


def user(server: Node, name: str, *rules: str) -> str:
    """Let a user come who may do everything but for these rules; return the location for it."""
    server.client.execute_command("ACL", "SETUSER", name, "reset", *EVERYTHING, *rules)
    return server.url.replace("redis://", f"redis://{name}:pw@")


@pytest.fixture
def location(server: Node) -> str:
    """Name the server by a user who may not publish to any channel."""
    return user(server, "mute", "resetchannels")


@pytest.fixture
async def full_rights(server: Node, key_prefix: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(
        alias="full", key_prefix=key_prefix, location=server.url, limits=StreamStoreContract.limits
    )
    yield opened
    await opened.aclose()


async def test_who_may_not_publish_changes_nothing(
    store: RedisStore, full_rights: RedisStore, server: Node, key_prefix: str
) -> None:
    """All that a script would push is asked for before it writes, so nothing is half done."""
    await refusal(StoreForbidden, store.acquire(KEY, Claim(), TERMS))
    claim = await start(full_rights)
    await full_rights.append(KEY, claim, 0, b"abc")
    await full_rights.set_control("acme", generation=1)
    before = everything(server, key_prefix)
    refused: list[Callable[[], Awaitable[object]]] = [
        lambda: store.append(KEY, claim, 3, b"def"),
        lambda: store.finalize(KEY, claim, StreamStatus.DONE),
        lambda: store.reclaim(KEY, claim.token, Claim(epoch=claim.epoch)),
        lambda: store.cancel(KEY),
        lambda: store.delete(KEY),
        lambda: store.set_control("acme", generation=2),
        lambda: store.revoke("acme", "ada", keep=5),
        lambda: store.announce("acme"),
    ]
    for verb in refused:
        error = await refusal(StoreForbidden, verb())
        assert error.is_final
        assert "PUBLISH" in str(error) or "channel" in str(error)
    assert everything(server, key_prefix) == before
    assert (await store.read(KEY, 0, 10)).data == b"abc"  # type: ignore[union-attr]


def everything(server: Node, prefix: str) -> dict[str, str]:
    """Return all that is there of tenants: which processes live is no matter of theirs."""
    names = server.client.keys(f"{prefix}:[^{{]*")
    return {str(name): str(server.client.dump(name)) for name in names}


@pytest.mark.parametrize("command", ["pexpire", "append", "del", "hset"])
async def test_who_may_not_write_all_of_a_stream_begins_none(
    server: Node, key_prefix: str, command: str
) -> None:
    where = user(server, "poor", f"-{command}")
    limits = StreamStoreContract.limits
    store = RedisStore(alias="test", key_prefix=key_prefix, location=where, limits=limits)
    error = await refusal(StoreForbidden, store.acquire(KEY, Claim(), TERMS))
    await store.aclose()
    assert command in str(error).lower() or "can't run this command" in str(error)
    assert everything(server, key_prefix) == {}


NEEDED = sorted(right[1:] for right in rights() if right[0] == "+" and "|" not in right)
SAMPLE = ("append", "del", "hget", "hset", "pexpire", "publish", "sadd", "unlink")


@pytest.mark.parametrize("command", NEEDED if IS_FULL else SAMPLE)
async def test_without_one_right_nothing_is_left_half_done(
    server: Node, key_prefix: str, full_rights: RedisStore, command: str
) -> None:
    """Whatever a verb does or refuses: bytes and size agree, and everything expires.

    Who produces has asked for all rights with the claim.
    """
    where = user(server, "poor", f"-{command}")
    limits = StreamStoreContract.limits
    store = RedisStore(alias="test", key_prefix=key_prefix, location=where, limits=limits)
    claim, other = Claim(), await start(full_rights, OTHER)
    mine = Claim(epoch=other.epoch)
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: store.acquire(KEY, claim, TERMS),
        lambda: store.append(KEY, claim, 0, b"abc"),
        lambda: store.reclaim(OTHER, other.token, mine),
        lambda: store.append(OTHER, mine, 0, b"abc"),
        lambda: store.append(OTHER, mine, 0, b"abcdef"),
        lambda: store.read(OTHER, 0, 10),
        lambda: store.touch([(OTHER, mine)]),
        lambda: store.expire(OTHER, 30),
        lambda: store.finalize(OTHER, mine, StreamStatus.DONE),
        lambda: store.cancel(KEY),
        lambda: store.revoke("acme", "ada", keep=5),
        lambda: store.delete(OTHER),
    ]
    for verb in verbs:
        with suppress(StoreForbidden, StreamDoesNotExist, StreamClaimLost):
            await verb()
        for key in (KEY, OTHER):
            assert is_whole(server, store, key)
    await store.aclose()


OTHER = replace(KEY, stream_id="other")


def is_whole(server: Node, store: RedisStore, key: StreamKey) -> bool:
    meta, log = store.keys.meta(key), store.keys.log(key)
    size = int(server.client.hget(meta, "size") or 0)
    lives = [server.client.pttl(name) for name in (meta, log)]
    return server.client.strlen(log) == size and -1 not in lives


async def test_a_user_who_is_unknown_is_told_so(server: Node, key_prefix: str) -> None:
    where = server.url.replace("redis://", "redis://nobody:secret@")
    limits = StreamStoreContract.limits
    store = RedisStore(alias="test", key_prefix=key_prefix, location=where, limits=limits)
    error = await refusal(StoreForbidden, store.look(KEY))
    await store.aclose()
    assert "password" in str(error)
    assert "secret" not in f"{error}{error.__cause__}"


async def test_a_producer_that_loses_a_right_tries_nothing_again(
    settings, server: Node, key_prefix: str, closes_runtime: None, caplog: pytest.LogCaptureFixture
) -> None:
    where = user(server, "fallen")
    settings.RESUMABLE_STREAMS = {
        "default": entry(where, key_prefix, LEASE=50, STORE_TIMEOUT=30),
    }
    server.client.hset(f"{key_prefix}:default:control", "generation", 1)
    manager, tap = StreamManager(), Tap(b"abc")
    reader = await manager.arun("chat", tap, owner="a")
    assert await read_until(reader, 3) == b"abc"
    caplog.set_level(logging.ERROR)
    user(server, "fallen", "resetchannels")
    tap.give(b"def")
    async with within(5):
        with pytest.raises((StoreForbidden, StreamFailed)):
            await anext(reader)
        await tap.closed.wait()
    assert any("PUBLISH" in record.getMessage() for record in caplog.records)
    refused = time.monotonic()
    with pytest.raises(StoreForbidden):
        await manager.arun("another", tap, owner="a")
    assert time.monotonic() - refused < 5


class Deaf:
    """A listener to whom nothing matters."""

    def appended(self, *args: object) -> None: ...
    def disturbed(self, *args: object) -> None: ...
    def control_changed(self, *args: object) -> None: ...


async def test_pushes_that_are_refused_are_given_up_at_any_moment(store: RedisStore) -> None:
    """Also while the server says no, which must not swallow that we want no more."""
    for number in range(2_000 if IS_FULL else 200):
        feed = store.open_feed(Deaf())
        await pass_time(number % 40 / 10_000)
        async with asyncio.timeout(5):
            await feed.aclose()


async def test_readers_of_what_may_not_be_looked_up_end_at_once(
    settings, server: Node, key_prefix: str, closes_runtime: None
) -> None:
    settings.RESUMABLE_STREAMS = {
        "default": entry(server.url, key_prefix, LEASE=50),
        "elsewhere": entry(user(server, "fallen"), key_prefix, LEASE=50, STORE_TIMEOUT=30),
    }
    server.client.hset(f"{key_prefix}:default:control", "generation", 1)
    manager, tap = StreamManager(), Tap(b"abc")
    await manager.arun("chat", tap, owner="a")
    reader = await manager.using("elsewhere").arequire_resume("chat", owner="a")
    assert await read_until(reader, 3) == b"abc"
    hub = get_engine("elsewhere").hub
    (tail,) = hub.tails
    user(server, "fallen", "-evalsha", "-eval")
    reading = asyncio.ensure_future(anext(reader))
    hub.suspect(tail)
    async with within(5):
        with pytest.raises(StoreForbidden):
            await reading
    tap.end()


async def test_a_worker_that_is_refused_ends_and_says_why(
    settings, server: Node, key_prefix: str, closes_runtime: None
) -> None:
    """It would be handed the same order again and again."""
    settings.RESUMABLE_STREAMS = {
        "default": entry(server.url, key_prefix, TTL=900),
        "worker": entry(user(server, "mute", "resetchannels"), key_prefix, TTL=900),
    }
    server.client.hset(f"{key_prefix}:default:control", "generation", 1)
    await StreamManager().aenqueue("chat", "builtins.list", {}, owner="a")
    async with within(20):
        with pytest.raises(StoreForbidden) as refused:
            await Worker("worker", name="w").run()
    assert "PUBLISH" in str(refused.value)


VERBS = {
    "rotate": ("--tenant", "default", "--yes"),
    "revoke": ("--tenant", "default", "--owner", "eve", "--yes"),
    "retire": ("--tenant", "default", "--ttl", "30", "--yes"),
    "cancel": ("--tenant", "default", "--yes"),
    "purge": ("--tenant", "default", "--yes"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_operator_who_may_not_publish_is_told_and_has_done_nothing(
    site: StreamManager, server: Node, key_prefix: str, run: Run, verb: str
) -> None:
    before = prepared(server, key_prefix)
    code, printed = run(verb, *VERBS[verb], "--json")
    assert code == 1
    found = outcome(printed)
    assert "channel" in found["error"]
    assert "may have been" not in printed
    assert found["counts"].get("purged", 0) == found["counts"].get("cancelled", 0) == 0
    assert everything(server, key_prefix) == before


def prepared(server: Node, prefix: str) -> dict[str, str]:
    """Have a stream that runs, and one that is done, by somebody with all rights."""

    async def fill() -> None:
        store = RedisStore(
            alias="full", key_prefix=prefix, location=server.url, limits=StreamStoreContract.limits
        )
        await store.set_control("default", generation=1, longest_ttl=60)
        for name in ("runs", "done"):
            key = StreamKey(tenant="default", generation=1, stream_id=name)
            claim = await start(store, key)
            await store.append(key, claim, 0, b"abc")
            if name == "done":
                await store.finalize(key, claim, StreamStatus.DONE)
        await store.aclose()

    asyncio.run(fill())
    return everything(server, prefix)


def test_an_operator_whose_answer_is_lost_is_told_that_it_may_have_been_done(
    site: StreamManager, server: Node, run: Run, monkeypatch: pytest.MonkeyPatch, settings
) -> None:
    """The server goes away between doing it and saying so."""
    aliases = {
        "default": {**settings.RESUMABLE_STREAMS["default"], "LOCATION": "redis://127.0.0.1:1"}
    }
    settings.RESUMABLE_STREAMS = aliases
    code, printed = run("revoke", "--tenant", "default", "--owner", "eve", "--yes")
    assert code == 1
    assert "may have been revoked" in printed
    assert "some of the others may be" in printed
