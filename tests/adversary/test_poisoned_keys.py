"""States that nobody can read: half restored, edited by hand, of another program or version."""

import asyncio
import logging
from collections.abc import Callable, Iterable

import pytest
from redis import Redis

from resumable_streams import StreamManager
from resumable_streams.exceptions import StoreUnavailable, StreamUnreadable
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing.acts import KEY, TERMS, refusal, start
from resumable_streams.types import Claim, StreamKey, StreamStatus
from tests.nodes import Node
from tests.tools.readers import read_all, settled
from tests.tools.sources import Tap
from tests.tools.waiting import within

from . import IS_FULL
from .conftest import Run, entry, outcome

Poison = Callable[[Redis, str], object]

POISONS: dict[str, Poison] = {
    "not a hash": lambda client, name: client.delete(name) and client.set(name, "x", px=60_000),
    "attrs are no JSON": lambda client, name: client.hset(name, "attrs", "{"),
    "attrs are no mapping": lambda client, name: client.hset(name, "attrs", "3"),
    "owner is no UTF-8": lambda client, name: client.hset(name, "owner", b"=\xff\xfe"),
    "status is unknown": lambda client, name: client.hset(name, "status", "paused"),
    "a field is missing": lambda client, name: client.hdel(name, "created"),
    "grace is no number": lambda client, name: client.hset(name, "grace", "x"),
    "size is no number": lambda client, name: client.hset(name, "size", "x"),
    "log is no string": lambda client, name: client.hset(name[:-4] + "data", "x", "y"),
}
OF_THE_STATE = {name: one for name, one in POISONS.items() if name != "log is no string"}
GOOD = 20 if IS_FULL else 3


@pytest.mark.parametrize("poison", OF_THE_STATE.values(), ids=OF_THE_STATE)
async def test_one_state_that_cannot_be_read_is_its_own_matter(
    store: RedisStore, server: Node, poison: Poison, caplog: pytest.LogCaptureFixture
) -> None:
    other = StreamKey(tenant="acme", generation=1, stream_id="other")
    claim, _ = await start(store), await start(store, other)
    name = store.keys.meta(KEY)
    poison(server.client, name)
    caplog.set_level(logging.ERROR)
    for _ in range(2):
        bad, good, missing = await store.status([KEY, other, named("nothing")])
        assert isinstance(bad, StreamUnreadable)
        assert name in str(bad)
        assert good is not None
        assert not isinstance(good, Exception)
        assert good.is_streaming
        assert missing is None
    assert [name in record.getMessage() for record in caplog.records] == [True]  # said once
    assert await store.look(KEY) is None
    assert await store.read(KEY, 0, 10) is None
    assert await store.cancel(KEY) is None
    await refusal(StreamUnreadable, store.acquire(KEY, Claim(), TERMS))
    held = await store.touch([(KEY, claim), (other, claim)])
    assert held[1] is False  # another one's: what matters is that it was answered
    assert await store.delete(KEY)
    assert not server.client.exists(name)
    assert await store.look(KEY) is None
    await start(store)


def named(stream_id: str) -> StreamKey:
    return StreamKey(tenant="acme", generation=1, stream_id=stream_id)


async def test_a_log_that_is_none_is_not_read_and_not_written(
    store: RedisStore, server: Node
) -> None:
    claim = await start(store)
    server.client.hset(store.keys.log(KEY), "x", "y")
    assert await store.read(KEY, 0, 10) is None
    await refusal(StreamUnreadable, store.append(KEY, claim, 0, b"abc"))
    await refusal(StreamUnreadable, store.finalize(KEY, claim, StreamStatus.DONE))
    assert await store.delete(KEY)
    assert not server.client.exists(store.keys.log(KEY))


async def test_a_tenant_whose_control_key_cannot_be_read_is_served_nothing(
    store: RedisStore, server: Node
) -> None:
    control = store.keys.control("acme")
    server.client.hset(control, "generation", "x")
    error = await refusal(StoreUnavailable, store.get_control("acme", "ada"))
    assert control in str(error)
    assert (await store.get_control("other", "ada")).generation is None


VERBS = {
    "audit": ("--tenant", "default"),
    "reap": ("--tenant", "default"),
    "cancel": ("--tenant", "default", "--yes"),
    "purge": ("--tenant", "default", "--owner", "eve", "--yes"),
}


@pytest.mark.parametrize("names", [[name] for name in OF_THE_STATE] if IS_FULL else [OF_THE_STATE])
def test_operators_go_on_and_are_told_of_it(
    site: StreamManager, server: Node, key_prefix: str, run: Run, names: Iterable[str]
) -> None:
    for number in range(GOOD):
        b"".join(site.run(f"good-{number}", [b"x"], owner="eve"))
    bad = []
    for number, name in enumerate(names):
        b"".join(site.run(f"bad-{number}", [b"x"], owner="eve"))
        bad.append(f"{key_prefix}:default:g1:{{bad-{number}}}:meta")
        POISONS[name](server.client, bad[-1])
    for verb, arguments in VERBS.items():
        code, printed = run(verb, *arguments, "--json")
        assert (code, sorted(outcome(printed)["unreadable"])) == (0, bad), verb
    left = {name.decode() for name in server.client.scan_iter(f"{key_prefix}:*:meta")}
    assert left == set(bad)
    code, printed = run("audit", "--tenant", "default")
    assert code == 0
    assert f"{len(bad)} unreadable: {key_prefix}:default:g1:{{bad-" in printed
    code, printed = run("purge", "--tenant", "default", "--yes", "--json")
    assert (code, outcome(printed)["counts"]) == (0, {"purged": len(bad)})
    assert not list(server.client.scan_iter(f"{key_prefix}:*:meta"))


@pytest.mark.parametrize("poison", OF_THE_STATE.values(), ids=OF_THE_STATE)
async def test_readers_of_other_streams_have_their_news(
    settings,
    server: Node,
    key_prefix: str,
    closes_runtime: None,
    poison: Poison,
) -> None:
    """One reader of it in the process, and every push of the others is lost: they have to look."""
    for alias in ("default", "elsewhere"):
        settings.RESUMABLE_STREAMS = {
            **getattr(settings, "RESUMABLE_STREAMS", {}),
            alias: entry(server.url, key_prefix, LEASE=5, SWEEP=0.1, STORE_TIMEOUT=30),
        }
    server.client.hset(f"{key_prefix}:default:control", "generation", 1)
    produced, read = StreamManager(), StreamManager().using("elsewhere")
    taps = {name: Tap(b"abc") for name in ("bad", *(f"good-{n}" for n in range(GOOD)))}
    for name, tap in taps.items():
        await produced.arun(name, tap, owner="a")
    readers = {name: await read.arequire_resume(name, owner="a") for name in taps}
    reading = {name: asyncio.create_task(read_all(reader)) for name, reader in readers.items()}
    for reader in readers.values():
        await settled(reader)
    poison(server.client, f"{key_prefix}:default:g1:{{bad}}:meta")
    server.client.client_kill_filter(_type="pubsub", skipme=True)
    for name, tap in taps.items():
        if name != "bad":
            tap.end(b"def")
    async with within(10):
        for name, task in reading.items():
            if name != "bad":
                assert await task == b"abcdef"
        reading["bad"].cancel()
        await asyncio.gather(reading["bad"], return_exceptions=True)
    taps["bad"].end()


async def test_orders_that_are_no_queue_are_an_unavailable_store(
    store: RedisStore, server: Node
) -> None:
    """Nothing there can be mended by asking again: a worker ends, and says why."""
    server.client.set(store.keys.orders, "x", px=60_000)
    queue = store.queue("worker")
    for verb in (lambda: queue.put(b"order"), lambda: queue.take(wait=0.01, idle=1)):
        with pytest.raises(StoreUnavailable, match="WRONGTYPE") as failure:
            await verb()
        assert failure.value.is_final
    await queue.aclose()
