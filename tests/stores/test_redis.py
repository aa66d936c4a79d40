"""The Redis store: the contract on a real server, and what only Redis has."""

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from resumable_streams.exceptions import (
    InvalidStoreError,
    StoreForbidden,
    StoreUnavailable,
    StreamDoesNotExist,
    StreamFinalized,
    StreamLimitExceeded,
    StreamUnreadable,
)
from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.stores.redis import queue as queue_module
from resumable_streams.stores.redis.store import DECOY, State
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import (
    KEY,
    SLOT,
    TERMS,
    body,
    holding,
    is_gone,
    look,
    refusal,
    start,
)
from resumable_streams.testing.listener import listening
from resumable_streams.types import Claim, ErrorCode, Limits, Role, StreamKey, StreamStatus

from ..nodes import frozen
from ..tools.waiting import eventually, pass_time

LIMITS = StreamStoreContract.limits
Verbs = dict[str, Callable[[], Awaitable[object]]]


@asynccontextmanager
async def redis_store(url: str, prefix: str, **options: Any) -> AsyncIterator[RedisStore]:
    """Open a store; close it at the end."""
    options = {"limits": LIMITS, **options}
    store = RedisStore(alias="test", key_prefix=prefix, location=url, **options)
    try:
        yield store
    finally:
        await store.aclose()


def impatient_store(url: str, prefix: str) -> AbstractAsyncContextManager[RedisStore]:
    return redis_store(url, prefix, connect_timeout=0.1, command_timeout=0.1)


@pytest.fixture
async def store(redis_url: str, key_prefix: str) -> AsyncIterator[RedisStore]:
    async with redis_store(redis_url, key_prefix) as opened:
        yield opened


class TestRedisStore(StreamStoreContract):
    @asynccontextmanager
    async def another(self, store: BaseStore) -> AsyncIterator[BaseStore]:
        assert store.location is not None
        async with redis_store(store.location, store.key_prefix) as opened:
            yield opened


def verbs_of(store: BaseStore, claim: Claim) -> Verbs:
    """Return every verb on KEY, in an order in which each of them can succeed."""
    return {
        "acquire": lambda: store.acquire(KEY, claim, TERMS),
        "reclaim": lambda: store.reclaim(KEY, claim.token, claim),
        "append": lambda: store.append(KEY, claim, 0, b"abc"),
        "confirm": lambda: store.confirm(KEY, claim),
        "touch": lambda: store.touch([(KEY, claim)]),
        "read": lambda: store.read(KEY, 0, 10),
        "status": lambda: store.look(KEY),
        "expire": lambda: store.expire(KEY, 30),
        "finalize": lambda: store.finalize(KEY, claim, StreamStatus.DONE),
        "reap": lambda: store.reap(KEY, claim.epoch, holder="ours"),
        "cancel": lambda: store.cancel(KEY),
        "delete": lambda: store.delete(KEY),
    }


def governing_verbs_of(store: BaseStore) -> Verbs:
    """Return the verbs that govern many streams."""
    return {
        "get_control": lambda: store.get_control("acme", "ada"),
        "set_control": lambda: store.set_control("acme", generation=2),
        "revoke": lambda: store.revoke("acme", "ada", keep=5),
        "announce": lambda: store.announce("acme"),
        "reserve": lambda: store.reserve(holding(), ttl=5),
        "live": lambda: store.live("acme"),
        "listed": lambda: store.listed("acme"),
        "occupy": lambda: store.occupy(SLOT, epoch="e1", stream_id="s", seen=None, keep=5),
        "occupant": lambda: store.occupant(SLOT),
        "settle": lambda: store.settle(SLOT, epoch="e1", stream_id="s", keep=5),
        "release": lambda: store.release(holding()),
        "vacate": lambda: store.vacate(SLOT, epoch="e1"),
    }


def process_verbs_of(store: BaseStore) -> Verbs:
    """Return what processes do, in an order in which each of them can succeed."""
    table = store.processes
    return {
        "beat": lambda: table.beat("ours", lease=0.001, position=""),
        "hold": lambda: table.hold("ours", holding()),
        "park": lambda: table.park("wait:1", holding(), seconds=5),
        "drop": lambda: table.drop("wait:1", holding()),
        "move": lambda: table.move(holding(), holder="ours", by="ours"),
        "told": lambda: table.told(holding(), by="ours"),
        "adopt": lambda: table.adopt(holding(), by="ours"),
        "fates": lambda: table.fates(["ours"]),
        "take": lambda: table.take("ours", by="theirs", lease=5),
        "bury": lambda: table.bury("ours"),
        "leave": lambda: table.leave("theirs"),
    }


def names_under(server: Redis, prefix: str) -> set[bytes]:
    return set(server.scan_iter(match=f"{prefix}*", count=1_000))


def ours(server: Redis) -> list[dict[str, str]]:
    """Return the connections that are not the suite's own."""
    return [client for client in server.client_list() if client["name"] != "suite"]


def kill_connections(server: Redis) -> None:
    for client in ours(server):
        server.client_kill_filter(_id=client["id"])


# Keys.


async def test_all_keys_of_a_stream_expire_together(
    store: RedisStore, redis_server: Redis, key_prefix: str
):
    claim = await start(store)
    names = [store.keys.meta(KEY), store.keys.log(KEY)]
    assert names_under(redis_server, key_prefix) == {names[0].encode()}
    assert 59_000 < redis_server.pttl(names[0]) <= 60_000
    renewals: dict[float, Callable[[], Awaitable[object]]] = {
        60: lambda: store.append(KEY, claim, 0, b"abc"),
        60.1: lambda: store.append(KEY, claim, 0, b"abc"),
        60.2: lambda: store.touch([(KEY, claim)]),
        40: lambda: store.expire(KEY, 40),
        40.1: lambda: store.append(KEY, claim, 3, b"d"),
        40.2: lambda: store.finalize(KEY, claim, StreamStatus.DONE),
    }
    for seconds, renew in renewals.items():
        if renew is not renewals[60]:
            redis_server.pexpire(names[0], 5_000)
        await renew()
        left = [redis_server.pttl(name) for name in names]
        assert abs(left[0] - left[1]) < 200
        assert seconds * 1000 - 1_500 < left[1] <= seconds * 1000


async def test_nothing_is_left_when_a_stream_has_expired(
    store: RedisStore, redis_server: Redis, key_prefix: str
):
    claim = await start(store, ttl=0.1)
    await store.append(KEY, claim, 0, b"abc")
    other = replace(KEY, stream_id="finished")
    done = await start(store, other, finished_ttl=0.1)
    await store.append(other, done, 0, b"abc")
    await store.finalize(other, done, StreamStatus.DONE)
    await store.reserve(holding(), ttl=0.05)
    await store.revoke("acme", "ada", keep=0.1)
    shared = {store.keys.shared("news").encode()}  # hints, for the next heartbeats
    await eventually(lambda: names_under(redis_server, key_prefix) == shared)


async def test_every_key_but_the_control_of_a_tenant_has_a_lifetime(
    store: RedisStore, redis_server: Redis, key_prefix: str
):
    claim = await start(store)
    await store.append(KEY, claim, 0, b"abc")
    for verb in {**governing_verbs_of(store), **process_verbs_of(store)}.values():
        await verb()
        await asyncio.sleep(0.002)  # for the lease that is over at once
    await store.reserve(holding(), ttl=5)
    await store.occupy(SLOT, epoch="e1", stream_id="s", seen=None, keep=5)
    names = names_under(redis_server, key_prefix)
    assert len(names) == 11
    for_good = {name for name in names if redis_server.pttl(name) < 0}
    assert for_good == {store.keys.control("acme").encode()}
    assert not [name for name in names if b"ada" in name.replace(key_prefix.encode(), b"")]


async def test_prefixes_keep_apart(redis_url: str, key_prefix: str):
    async with (
        redis_store(redis_url, key_prefix) as outer,
        redis_store(redis_url, f"{key_prefix}:b") as inner,
        redis_store(redis_url, f"{key_prefix}b") as beside,
    ):
        for store in (outer, inner, beside):
            await start(store, replace(KEY, tenant="b"))
        for store in (outer, inner, beside):
            assert [key async for key in store.scan()] == [replace(KEY, tenant="b")]
        await outer.delete(replace(KEY, tenant="b"))
        for store in (inner, beside):
            assert not await is_gone(store, replace(KEY, tenant="b"))


async def test_a_scan_passes_over_keys_that_are_not_ours(
    store: RedisStore, redis_server: Redis, key_prefix: str
):
    await start(store)
    for name in ("acme:g1:{a{b}:meta", "acme:g1:{}:meta", "acme:gx:{a}:meta", "a b:g1:{a}:meta"):
        redis_server.set(f"{key_prefix}:{name}", "foreign", px=10_000)
    redis_server.set(f"{key_prefix}:acme:g1:{{".encode() + b"\xff}:meta", "foreign", px=10_000)
    assert [key async for key in store.scan()] == [KEY]


# What the server forgets.


async def test_scripts_are_loaded_again_when_the_server_forgot_them(
    store: RedisStore, redis_server: Redis
):
    for verbs in (verbs_of(store, Claim()), governing_verbs_of(store)):
        for name, verb in verbs.items():
            redis_server.script_flush()
            assert await verb() not in (False, [False]), name
    assert await is_gone(store)


async def test_a_log_evicted_under_its_state_is_lost_and_never_has_a_hole(
    store: RedisStore, redis_server: Redis
):
    claim = await start(store, finished_ttl=20)
    await store.append(KEY, claim, 0, b"abc")
    async with listening(store, KEY) as (heard, _):
        redis_server.delete(store.keys.log(KEY))
        page = await store.read(KEY, 0, 10)
        assert page is not None
        assert (page.data, page.info.size) == (b"", 3)  # shorter than it says: a reader can tell
        assert await store.append(KEY, claim, 0, b"abc") == 3
        error = await refusal(StreamFinalized, store.append(KEY, claim, 3, b"def"))
        assert error.status == "error"
        await heard.hear(lambda: KEY in heard.disturbances)
        assert heard.appends == []
    info = await look(store)
    assert (info.status, info.error_code) == (StreamStatus.ERROR, ErrorCode.DATA_LOST)
    assert info.ttl <= 20
    assert not redis_server.exists(store.keys.log(KEY))


async def test_a_log_whose_state_was_evicted_does_not_enter_the_next_stream(
    store: RedisStore, redis_server: Redis
):
    claim = await start(store)
    await store.append(KEY, claim, 0, b"old")
    redis_server.delete(store.keys.meta(KEY))
    await refusal(StreamDoesNotExist, store.append(KEY, claim, 3, b"old"))
    assert await store.read(KEY, 0, 10) is None
    new = await start(store)
    assert await body(store) == b""
    await store.append(KEY, new, 0, b"new")
    assert await body(store) == b"new"


# What the server refuses.


async def test_a_foreign_value_under_our_key_is_a_missing_stream(
    store: RedisStore, redis_server: Redis
):
    redis_server.set(store.keys.meta(KEY), "foreign", px=10_000)
    verbs = verbs_of(store, Claim())
    for name in ("acquire", "reclaim", "append", "finalize", "expire"):
        error = await refusal(StreamUnreadable, verbs[name]())
        assert "foreign" not in str(error)
    for name in ("read", "status", "cancel"):
        assert await verbs[name]() is None
    assert await verbs["touch"]() == [False]
    assert await verbs["delete"]() is True  # by its key alone
    other = replace(KEY, stream_id="other")
    claim = await start(store, other)
    redis_server.hset(store.keys.log(other), "foreign", "value")
    await refusal(StreamUnreadable, store.append(other, claim, 0, b"abc"))
    assert (await look(store, other)).size == 0  # as a whole or not at all
    for name in (store.keys.control("acme"), store.keys.live("acme")):
        redis_server.set(name, "foreign", px=10_000)
    for name in ("get_control", "set_control", "reserve"):
        await refusal(StoreUnavailable, governing_verbs_of(store)[name]())


@contextmanager
def demoted(server: Redis):
    server.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        server.execute_command("REPLICAOF", "NO", "ONE")


async def test_a_server_that_takes_no_writes_leaves_everything_as_it_was(
    store: RedisStore, redis_server: Redis
):
    claim = await start(store)
    await store.append(KEY, claim, 0, b"abc")
    with demoted(redis_server):
        for verb in (
            store.append(KEY, claim, 3, b"def"),
            store.finalize(KEY, claim, StreamStatus.DONE),
            store.set_control("acme", generation=2),
            store.revoke("acme", "ada", keep=5),
        ):
            error = await refusal(StoreUnavailable, verb)
            assert "read-only replica" in str(error)
    info = await look(store)
    assert (info.size, info.is_streaming, await body(store)) == (3, True, b"abc")
    assert await store.append(KEY, claim, 3, b"def") == 6


# The connection.


async def test_a_broken_connection_costs_at_most_one_answer(store: RedisStore, redis_server: Redis):
    for verbs in (verbs_of(store, Claim()), governing_verbs_of(store)):
        for name, verb in verbs.items():
            kill_connections(redis_server)
            try:
                answer = await verb()
            except StoreUnavailable:
                answer = await verb()
            assert answer not in (False, [False]), name


async def test_repeated_appends_over_breaking_connections_store_each_byte_once(
    store: RedisStore, redis_server: Redis
):
    claim = await start(store)
    pieces = [b"piece %d;" % number for number in range(300)]

    progress = asyncio.Event()

    async def write() -> None:
        size = 0
        for piece in pieces:
            while True:
                try:
                    size = await store.append(KEY, claim, size, piece)
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0)
            progress.set()

    async def disturb() -> None:
        while True:
            kill_connections(redis_server)
            progress.clear()
            await asyncio.sleep(0.01)
            await progress.wait()  # or a busy machine would never get one piece stored

    async with listening(store, KEY) as (heard, _):
        disturbing = asyncio.create_task(disturb())
        await write()
        disturbing.cancel()
        with suppress(StoreUnavailable):
            await look(store)  # the last cut costs one answer, at most
        info = await look(store)
        assert (await body(store), info.entries) == (b"".join(pieces), len(pieces))
        for _, _, offset, data in heard.appends:
            assert b"".join(pieces)[offset:].startswith(data)


async def test_cancelled_callers_leave_the_answers_in_order(store: RedisStore):
    keys = [replace(KEY, stream_id=f"s{number}") for number in range(60)]
    for key in keys:
        await store.append(key, await start(store, key), 0, key.stream_id.encode())
    for step in (2, 3, 5):
        reads = [asyncio.create_task(store.read(key, 0, 100)) for key in keys]
        for turn in range(step):
            await asyncio.sleep(0)
            for task in reads[turn::step][: 60 // step - 1]:
                task.cancel()
        pages = await asyncio.gather(*reads, return_exceptions=True)
        assert any(isinstance(page, asyncio.CancelledError) for page in pages)
        for key, page in zip(keys, pages, strict=True):
            if not isinstance(page, BaseException):
                assert page is not None
                assert page.data == key.stream_id.encode()
    again = await asyncio.gather(*(store.read(key, 0, 100) for key in keys))
    assert [page and page.data.decode() for page in again] == [key.stream_id for key in keys]


async def test_a_caller_that_is_cancelled_while_connecting_fails_nobody_else(store: RedisStore):
    first, *others = [asyncio.create_task(store.look(KEY)) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [None, None]
    assert first.cancelled()


async def test_connections_do_not_grow_with_streams_and_readers(
    redis_url: str, redis_server: Redis, key_prefix: str
):
    before = {client["id"] for client in ours(redis_server)}

    def new() -> int:
        return len({client["id"] for client in ours(redis_server)} - before)

    keys = [replace(KEY, stream_id=f"s{number}") for number in range(100)]
    async with redis_store(redis_url, key_prefix) as store, listening(store, *keys):
        await asyncio.gather(*(start(store, key) for key in keys))
        assert new() == 2
    await eventually(lambda: new() == 0)


async def test_what_is_in_flight_when_the_store_closes_fails(
    redis_url: str, redis_server: Redis, key_prefix: str
):
    async with redis_store(redis_url, key_prefix) as store:
        connecting = asyncio.create_task(store.read(KEY, 0, 1))
        await asyncio.sleep(0)
        await store.aclose()
        await refusal(StoreUnavailable, connecting)
        assert await is_gone(store)
        with frozen(redis_server):
            asking = [asyncio.create_task(store.look(KEY)) for _ in range(3)]
            await pass_time(0.01)  # until they have been sent
            await store.aclose()
            for task in asking:
                await refusal(StoreUnavailable, task)


async def test_a_server_that_does_not_answer_in_time_is_unavailable(
    redis_url: str, redis_server: Redis, key_prefix: str
):
    async with redis_store(redis_url, key_prefix, command_timeout=0.5) as store:
        claim = await start(store)
        with frozen(redis_server):
            asking = [store.append(KEY, claim, 0, b"abc") for _ in range(3)]
            answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
        assert await store.append(KEY, claim, 0, b"abc") == 3


@asynccontextmanager
async def false_server(behave: Callable[[asyncio.StreamWriter], Awaitable[None]]):
    """Listen as something that is no Redis server; yield host and port."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await behave(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def say_nothing(writer: asyncio.StreamWriter) -> None:
    pass


async def talk_nonsense(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3)


async def say_yes_and_hang_up(writer: asyncio.StreamWriter) -> None:
    writer.write(b"+OK\r\n+OK\r\n")
    writer.close()


FALSE_SERVERS = [hang_up, say_nothing, talk_nonsense, say_yes_and_hang_up]


@pytest.mark.parametrize("behave", FALSE_SERVERS)
@pytest.mark.lengthy
async def test_whoever_else_listens_there_is_an_unavailable_store(behave, key_prefix: str):
    async with (
        asyncio.timeout(5),
        false_server(behave) as where,
        impatient_store(f"redis://:secret@{where}/1", key_prefix) as store,
    ):
        for _ in range(3):
            asking = [store.look(KEY) for _ in range(3)]
            answers = await asyncio.gather(*asking, return_exceptions=True)
            assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
            assert not [a for a in answers if "secret" in str(a)]


@pytest.mark.parametrize("behave", FALSE_SERVERS)
@pytest.mark.lengthy
async def test_a_feed_that_finds_no_server_says_so_once(
    behave, key_prefix: str, caplog: pytest.LogCaptureFixture
):
    async with (
        false_server(behave) as where,
        impatient_store(f"redis://:secret@{where}/1", key_prefix) as store,
    ):
        feed = store.open_feed(Deaf())
        feed.watch(KEY)
        await eventually(lambda: bool(caplog.records))
        await pass_time(0.1)
        await feed.aclose()
    assert [(r.levelname, r.exc_info) for r in caplog.records] == [("WARNING", None)]
    assert "secret" not in caplog.text


@pytest.fixture
def slamming_door() -> Iterator[str]:
    """Listen in a thread and hang up so fast that a connection breaks before its first use."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def slam() -> None:
            with suppress(OSError):
                while True:
                    door.accept()[0].close()

        thread = threading.Thread(target=slam)
        thread.start()
        yield f"redis://127.0.0.1:{door.getsockname()[1]}/0"
        door.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_a_connection_that_breaks_before_its_first_command_is_waited_for_by_nobody(
    slamming_door: str, key_prefix: str
):
    for _ in range(30):
        async with asyncio.timeout(10), impatient_store(slamming_door, key_prefix) as store:
            await refusal(StoreUnavailable, store.look(KEY))


class Deaf:
    """A listener that nobody should talk to."""

    def appended(self, key: StreamKey, epoch: str, offset: int, data: bytes) -> None:
        raise AssertionError

    def disturbed(self, key: StreamKey) -> None:
        raise AssertionError

    def control_changed(self, tenant: str | None) -> None:
        raise AssertionError


async def test_a_wrong_password_and_a_closed_port_are_unavailable_stores(
    redis_url: str, key_prefix: str
):
    wrong = redis_url.replace("redis://", "redis://nobody:secret@")
    for url in ("redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock"):
        async with redis_store(url, key_prefix) as store:
            error = await refusal(StoreUnavailable, store.look(KEY))
            assert url.partition("?")[0] in str(error)
            assert "start the server, or correct" in str(error)
            assert error.__cause__ is not None
    async with redis_store(wrong, key_prefix) as store:
        error = await refusal(StoreForbidden, store.look(KEY))
        assert error.is_final
        assert "invalid username-password pair" in str(error)


# The feed.


async def test_a_feed_that_reconnects_disturbs_all_it_watches(
    store: RedisStore, redis_server: Redis, caplog: pytest.LogCaptureFixture
):
    keys = [replace(KEY, stream_id=f"s{number}") for number in range(20)]
    claims = [await start(store, key) for key in keys]
    async with listening(store, *keys) as (heard, feed):
        for round_ in range(3):
            feed.unwatch(keys[round_])
            heard.forget()
            kill_connections(redis_server)
            await heard.hear(lambda: set(heard.disturbances) == set(keys[round_ + 1 :]))  # noqa: B023
            assert None in heard.control_changes
        try:
            await store.append(keys[5], claims[5], 0, b"heard")
        except StoreUnavailable:
            await store.append(keys[5], claims[5], 0, b"heard")
        await heard.hear(lambda: heard.log(keys[5]) == b"heard")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_streams_watched_while_the_connection_is_away_are_confirmed_later(
    store: RedisStore, redis_server: Redis
):
    other = replace(KEY, stream_id="other")
    async with listening(store, KEY) as (heard, feed):
        kill_connections(redis_server)
        feed.watch(other)
        feed.unwatch(KEY)
        await heard.hear(lambda: other in heard.disturbances)


async def test_a_message_that_is_not_ours_means_look(store: RedisStore, redis_server: Redis):
    claim = await start(store)
    async with listening(store, KEY) as (heard, _):
        nonsense = [b"", b"?", b"!!", b"\xff" * 20, b"12345678", b"12345678x:a", b"12345678:a"]
        for payload in nonsense:
            redis_server.publish(store.keys.log(KEY), payload)
        await heard.hear(lambda: len(heard.disturbances) == len(nonsense))
        for payload in (b"", b"\xff", b"{", store.keys.control("acme").encode()):
            redis_server.publish(store.keys.events, payload)
        await store.append(KEY, claim, 0, b"abc")
        await heard.hear(lambda: heard.log(KEY) == b"abc")
        assert len(heard.disturbances) == len(nonsense)


async def test_a_listener_that_fails_does_not_end_the_feed(
    store: RedisStore, caplog: pytest.LogCaptureFixture
):
    claim = await start(store)
    async with listening(store, KEY) as (heard, _):
        rightly = heard.appended
        heard.appended = Deaf().appended  # type: ignore[method-assign]
        await store.append(KEY, claim, 0, b"abc")
        await heard.hear(lambda: KEY in heard.disturbances)  # it came back and confirmed
        heard.appended = rightly  # type: ignore[method-assign]
        await store.append(KEY, claim, 3, b"def")
        await heard.hear(lambda: bool(heard.appends))
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.lengthy
async def test_a_server_that_is_away_is_not_stormed(key_prefix: str):
    attempts = 0

    async def count_and_hang_up(writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    async def ask_again_and_again(store: RedisStore) -> None:
        while True:
            with suppress(StoreUnavailable):
                await store.look(KEY)
            await asyncio.sleep(0.01)

    async with (
        false_server(count_and_hang_up) as where,
        impatient_store(f"redis://{where}/0", key_prefix) as store,
    ):
        asking = [asyncio.create_task(ask_again_and_again(store)) for _ in range(100)]
        await pass_time(1)
        await eventually(lambda: attempts > 1)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert attempts < 40  # of 10,000


# The constructor.


@pytest.mark.parametrize(
    "url",
    [
        "http://:secret@host/",
        "redis:/:secret@host:6379/0",
        "redis:secret@host:6379",
        "redis://:secret@host:6379/none",
        "redis://:secret@host:6379/0/1",
        "redis://:secret@host:port/0",
        "redis://:secret@host:6379/0?nonsense=1",
        "redis://:secret@host:6379/0?socket_keepalive=perhaps&retry_on_error=1&db=x",
        ":secret@",
    ],
)
def test_a_location_that_is_no_redis_url_is_refused_without_its_password(url: str):
    with pytest.raises(InvalidStoreError) as refused:
        RedisStore(alias="chat", key_prefix="x", location=url, limits=LIMITS)
    assert "'chat'" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("most", [None, 512 * 1024 * 1024 + 1])
def test_a_log_that_fits_no_redis_string_is_refused(most: int | None):
    with pytest.raises(InvalidStoreError, match="MAX_STREAM_BYTES"):
        RedisStore(alias="x", key_prefix="x", location=None, limits=Limits(max_stream_bytes=most))


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("connect_timeout", [0, -1, "5", None, True]),
        ("command_timeout", [0, -1, "5", None, True]),
        ("cluster", ["127.0.0.1:6379", [], [6379], 1, None]),
        ("sentinels", ["127.0.0.1:26379", [26379], None]),
        ("wait_replicas", [-1, "1", None]),
    ],
)
def test_an_option_that_cannot_work_is_refused(option: str, values: list[Any]):
    for value in values:
        with pytest.raises(InvalidStoreError, match=option):
            RedisStore(alias="x", key_prefix="x", location=None, limits=LIMITS, **{option: value})


def test_a_cluster_has_no_sentinels():
    with pytest.raises(InvalidStoreError, match="exclude"):
        RedisStore(
            alias="x",
            key_prefix="x",
            location=None,
            limits=LIMITS,
            cluster=True,
            sentinels=["127.0.0.1:26379"],
        )


async def test_the_options_of_the_url_cannot_break_the_store(redis_url: str, key_prefix: str):
    options = "decode_responses=1&protocol=3&socket_timeout=0.001&health_check_interval=1"
    async with redis_store(f"{redis_url}?{options}&client_name=ours", key_prefix) as store:
        claim = await start(store)
        await store.append(KEY, claim, 0, bytes(range(256)))
        assert await body(store) == bytes(range(256))


# A connection from CACHES.


@pytest.fixture
def cache_settings(settings, redis_url: str) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "redis": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": redis_url,
            "OPTIONS": {"CONNECTION_POOL_KWARGS": {"decode_responses": True}},
        },
    }


async def test_the_connection_can_come_from_a_django_redis_cache(
    cache_settings: None, redis_url: str, key_prefix: str
):
    async with (
        redis_store(redis_url, key_prefix) as store,
        redis_store("", key_prefix, cache_alias="redis") as from_cache,
    ):
        claim = await start(from_cache)
        await from_cache.append(KEY, claim, 0, b"\xff")
        assert await body(store) == b"\xff"
        assert (await store.acquire(KEY, Claim(), TERMS)).role is Role.CONSUMER


@pytest.mark.parametrize("cache_alias", ["default", "missing"])
def test_a_cache_that_is_not_of_django_redis_is_refused(cache_settings: None, cache_alias: str):
    with pytest.raises(InvalidStoreError, match=cache_alias):
        RedisStore(alias="x", key_prefix="x", location=None, limits=LIMITS, cache_alias=cache_alias)


# Orders.


async def test_an_order_is_put_and_done_in_one_command_each(store: RedisStore, monkeypatch):
    queue = store.queue("worker")
    execute, sent = store._nodes.execute, []

    def count(key: str, *arguments: Any, **named: Any) -> Any:
        sent.append(arguments[0])
        return execute(key, *arguments, **named)

    await queue.put(b"first")  # which the server learns the scripts from
    taken = await queue.take(wait=1, idle=60)
    assert taken is not None
    await queue.done(taken[0])
    await queue.put(b"second")
    taken = await queue.take(wait=1, idle=60)
    assert taken is not None
    monkeypatch.setattr(store._nodes, "execute", count)
    await queue.done(taken[0])
    await queue.put(b"third")
    assert sent == ["EVALSHA", "EVALSHA"]
    await queue.aclose()


async def test_an_order_that_is_done_leaves_nothing(store: RedisStore, redis_server: Redis):
    queue, key = store.queue("worker"), store.keys.orders
    await queue.put(b"order")
    assert 0 < redis_server.pttl(key) <= queue_module.KEEP_MS
    taken = await queue.take(wait=1, idle=60)
    assert taken is not None
    ticket, order = taken
    assert order == b"order"
    for _ in range(2):  # a second time is harmless
        await queue.done(ticket)
    assert redis_server.xlen(key) == 0
    assert redis_server.xpending(key, queue_module.GROUP)["pending"] == 0
    await queue.aclose()


async def test_the_limit_of_orders_is_exact(store: RedisStore, redis_server: Redis, monkeypatch):
    monkeypatch.setattr(queue_module, "MAX_ORDERS", 2)
    queue = store.queue("worker")
    for _ in range(2):
        await queue.put(b"order")
    with pytest.raises(StreamLimitExceeded) as failure:
        await queue.put(b"one too many")
    assert (failure.value.limit, failure.value.value) == ("MAX_ORDERS", 2)
    assert redis_server.xlen(store.keys.orders) == 2


# States.


async def test_a_state_has_the_fields_that_scripts_fill_in(store: RedisStore, redis_server: Redis):
    await start(store)
    fields = redis_server.hgetall(store.keys.meta(KEY))
    assert {name.encode() for name in State._fields[:-2]} <= fields.keys() | {
        b"error",
        b"error_code",
    }
    missing = State(*await store._run("status", replace(KEY, stream_id="none")))
    assert missing._replace(now=0) == DECOY
