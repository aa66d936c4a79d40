"""The signals: what they say, when, and what becomes of a receiver that raises."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.dispatch import Signal
from redis import Redis

from resumable_streams import signals as our_signals
from resumable_streams.engine import get_engine
from resumable_streams.exceptions import (
    StoreUnavailable,
    StreamClaimLost,
    StreamFailed,
    StreamGap,
    StreamLimitExceeded,
)
from resumable_streams.signals import (
    StreamSignal,
    feed_connected,
    heartbeat_failed,
    inline,
    news_missed,
    owner_bound,
    owner_checked,
    producer_lost,
    reader_closed,
    reader_lagged,
    reader_opened,
    stream_acquired,
    stream_appended,
    stream_cancelled,
    stream_deleted,
    stream_delivered,
    stream_failed,
    stream_finalized,
    stream_first_byte,
    stream_resumed,
    stream_started,
)
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.streams import StreamManager
from resumable_streams.testing import ScriptedSource
from tests.tools.readers import read_all, read_until, waits
from tests.tools.sources import Tap
from tests.tools.streams import Configure
from tests.tools.waiting import eventually

DOCS = Path(__file__).parents[2] / "docs" / "observability.md"

Connect = Callable[[StreamSignal, Any], None]


class Refused(Exception):
    pass


@pytest.fixture
def configure(configure_memory: Configure) -> Configure:
    return configure_memory


@pytest.fixture
def streams(memory_manager: StreamManager) -> StreamManager:
    return memory_manager


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that connects a receiver until the end of the test."""
    connected: list[tuple[Signal, Any]] = []

    def connect(signal: Signal, receiver: Any) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def heard(connect: Connect) -> list[tuple[str, dict[str, Any]]]:
    """Return what every signal says, in the order in which it is said."""
    found: list[tuple[str, dict[str, Any]]] = []

    def listen(name: str, signal: StreamSignal) -> None:
        @inline
        def receiver(**named: Any) -> None:
            del named["signal"]
            found.append((name, named))

        connect(signal, receiver)

    for name in our_signals.__all__:
        if name not in ("StreamSignal", "inline"):
            listen(name, getattr(our_signals, name))
    return found


def said(heard: list[tuple[str, dict[str, Any]]], signal: StreamSignal) -> list[dict[str, Any]]:
    return [named for name, named in heard if getattr(our_signals, name) is signal]


def refuse(error: Exception, *, asynchronous: bool = False) -> Any:
    def receiver(**named: Any) -> None:
        raise error

    async def async_receiver(**named: Any) -> None:
        raise error

    return async_receiver if asynchronous else receiver


def until(connect: Connect, signal: StreamSignal, times: int = 1) -> asyncio.Event:
    """Return an event that is set when the signal has been sent that often."""
    event, left = asyncio.Event(), iter(range(times - 1))

    @inline
    def receiver(**named: Any) -> None:
        if next(left, None) is None:
            event.set()

    connect(signal, receiver)
    return event


# What StreamSignal does.


async def test_every_receiver_is_told_whatever_another_raises(connect: Connect):
    signal, told = StreamSignal(), []

    async def later(**named: Any) -> None:
        told.append(("async", named["answer"], named["sender"]))

    connect(signal, refuse(Refused("first")))
    connect(signal, refuse(Refused("second"), asynchronous=True))
    connect(signal, lambda **named: told.append(("sync", named["answer"], named["sender"])))
    connect(signal, later)
    with pytest.raises(Refused, match="first"):
        await signal.notify(str, hook_errors="raise", answer=42)
    assert told == [("sync", 42, str), ("async", 42, str)]


async def test_what_receivers_raise_is_logged_on_request(connect: Connect, caplog):
    signal = StreamSignal()
    connect(signal, refuse(Refused("first")))
    connect(signal, refuse(Refused("second"), asynchronous=True))
    await signal.notify(str, hook_errors="log")
    assert [str(r.exc_info[1]) for r in caplog.records if r.exc_info] == ["first", "second"]


async def test_where_nothing_waits_async_receivers_run_soon_and_errors_are_logged(
    connect: Connect, caplog
):
    signal, told = StreamSignal(), asyncio.Event()

    async def later(**named: Any) -> None:
        told.set()

    connect(signal, refuse(Refused("sync")))
    connect(signal, refuse(Refused("async"), asynchronous=True))
    connect(signal, later)
    signal.emit(str)
    await told.wait()

    def logged() -> list[str]:
        return sorted(str(r.exc_info[1]) for r in caplog.records if r.exc_info)

    await eventually(lambda: logged() == ["async", "sync"])  # each in its own time


async def test_a_receiver_of_another_sender_is_not_told():
    signal, told = StreamSignal(), []
    receiver = lambda **named: told.append(named)  # noqa: E731
    signal.connect(receiver, sender=int)
    await signal.notify(str, hook_errors="raise")
    signal.emit(str)
    assert told == []
    await signal.notify(int, hook_errors="raise")
    assert len(told) == 1


def test_django_still_sorts_live_receivers_into_sync_and_async():
    """`StreamSignal` relies on this pair, which is the same from Django 5.2 to 6.1."""
    signal = StreamSignal()

    def sync_receiver(**named: Any) -> None: ...

    async def async_receiver(**named: Any) -> None: ...

    signal.connect(sync_receiver)
    signal.connect(async_receiver)
    assert signal._live_receivers(str) == ([sync_receiver], [async_receiver])
    assert iscoroutinefunction(async_receiver)


def test_every_signal_is_in_the_docs():
    text = DOCS.read_text()
    signals = [n for n in our_signals.__all__ if n not in ("StreamSignal", "inline")]
    missing = [n for n in signals if f"| `{n}` |" not in text]
    assert missing == []


# What is said.


async def test_a_stream_says_its_life_in_order(streams: StreamManager, heard):
    tap = Tap()
    request: Any = object()
    reader = await streams.arun("chat", tap, owner="a", attrs={"k": "v"}, request=request)
    tap.give(b"one")
    assert await read_until(reader, 3) == b"one"
    tap.end(b"second")
    assert await read_all(reader) == b"second"
    assert await streams.aresume("chat", owner="a", offset=2)
    assert await streams.aresume("chat", owner="b") is None
    assert await streams.adelete("chat", owner="a")
    names = [name for name, _ in heard if not name.startswith(("reader", "stream_delivered"))]
    assert names == [
        "owner_bound",
        "stream_acquired",
        "stream_started",
        "stream_first_byte",
        "stream_appended",
        "stream_appended",
        "stream_finalized",
        "owner_checked",
        "stream_resumed",
        "owner_checked",
        "owner_checked",
        "stream_deleted",
    ]
    for name, named in heard:
        assert (named["alias"], named["tenant"], named["generation"]) == ("default", "default", 1)
        assert (named["stream_id"], named["sender"]) == ("chat", MemoryStore)
        assert ("epoch" in named) == (name != "owner_checked")
        assert b"one" not in named.values()
    acquired, *_ = said(heard, stream_acquired)
    assert (acquired["role"], acquired["attrs"], acquired["owner"]) == ("producer", {"k": "v"}, "a")
    assert acquired["request"] is request
    assert [(n["offset"], n["size"], n["chunks"]) for n in said(heard, stream_appended)] == [
        (0, 3, 1),
        (3, 6, 1),
    ]
    assert all(n["duration"] >= 0 for n in said(heard, stream_appended))
    (began,) = said(heard, stream_first_byte)
    assert began["size"] == 3
    assert began["duration"] > said(heard, stream_appended)[0]["duration"]
    (ended,) = said(heard, stream_finalized)
    assert (ended["status"], ended["error_code"], ended["size"]) == ("done", "", 9)
    assert [(n["operation"], n["outcome"]) for n in said(heard, owner_checked)] == [
        ("resume", "match"),
        ("resume", "foreign"),
        ("delete", "match"),
    ]
    (resumed,) = said(heard, stream_resumed)
    assert (resumed["offset"], resumed["size"], resumed["status"]) == (2, 9, "done")


async def test_readers_are_counted_in_and_out(streams: StreamManager, heard, connect: Connect):
    tap = Tap(b"x")
    first = await streams.arun("chat", tap, owner="a")
    second = await streams.aresume("chat", owner="a")
    assert second is not None
    closed = until(connect, reader_closed)
    await read_until(first, 1)
    await read_until(second, 1)
    assert [n["readers"] for n in said(heard, reader_opened)] == [1, 2]
    second.close()
    second.close()
    await closed.wait()
    assert [n["readers"] for n in said(heard, reader_closed)] == [1]
    tap.end()
    await read_all(first)
    await eventually(lambda: [n["readers"] for n in said(heard, reader_closed)] == [1, 0])


async def test_delivery_is_measured_for_readers_that_wait(streams: StreamManager, heard):
    tap = Tap()
    reader = await streams.arun("chat", tap, owner="a")
    waiting = asyncio.create_task(anext(reader))
    await tap.opened.wait()
    await waits(reader)
    tap.end(b"news")
    assert await waiting == b"news"
    (delivered,) = said(heard, stream_delivered)
    assert (delivered["offset"], delivered["size"]) == (0, 4)
    assert 0 < delivered["latency"] < 10
    await read_all(reader)
    replay = await streams.aresume("chat", owner="a")
    assert replay is not None
    assert await read_all(replay) == b"news"
    assert len(said(heard, stream_delivered)) == 1


async def test_readers_who_are_behind_are_told_of(streams: StreamManager, heard):
    tap = Tap(b"x" * 300_000)
    first = await streams.arun("chat", tap, owner="a")
    assert len(await read_until(first, 300_000)) == 300_000
    behind = await streams.aresume("chat", owner="a", offset=7)
    assert behind is not None
    assert len(await read_until(behind, 299_993)) == 299_993
    lagged = said(heard, reader_lagged)
    assert [(n["offset"], n["lag"]) for n in lagged[-1:]] == [(7, 299_993)]
    tap.end()
    await read_all(first)
    await read_all(behind)
    replay = await streams.aresume("chat", owner="a")
    assert replay is not None
    await read_all(replay)
    assert said(heard, reader_lagged) == lagged  # who reads what has ended is behind nobody


async def test_a_failure_is_told_before_its_end(streams: StreamManager, heard):
    broken = ValueError("broken")
    reader = await streams.arun("chat", Tap(b"x", broken), owner="a")
    with pytest.raises(StreamFailed):
        await read_all(reader)
    names = [name for name, _ in heard]
    assert names.index("stream_failed") < names.index("stream_finalized")
    (failed,) = said(heard, stream_failed)
    assert (failed["error_code"], failed["error"]) == ("source_failed", broken)
    (ended,) = said(heard, stream_finalized)
    assert (ended["status"], ended["error_code"]) == ("error", "source_failed")


async def test_a_producer_whose_stream_is_deleted_ends_once(
    streams: StreamManager, heard, connect: Connect
):
    ended = until(connect, stream_finalized, times=2)
    tap = Tap(b"x")
    reader = await streams.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    assert await streams.adelete("chat", owner="a")
    again = await streams.arun("chat", ScriptedSource(), owner="a")
    await read_all(again)
    tap.end(b"y")
    await ended.wait()
    assert len({n["epoch"] for n in said(heard, stream_finalized)}) == 2
    assert sorted(n["error_code"] for n in said(heard, stream_finalized)) == ["", "expired"]


async def test_cancel_is_told_where_it_is_asked_and_where_it_ends(
    streams: StreamManager, heard, connect: Connect
):
    ended = until(connect, stream_finalized)
    reader = await streams.arun("chat", Tap(b"x"), owner="a")
    await read_until(reader, 1)
    await streams.using("elsewhere").acancel("chat", owner="a")
    await ended.wait()
    (cancelled,) = said(heard, stream_cancelled)
    assert cancelled["alias"] == "elsewhere"
    (end,) = said(heard, stream_finalized)
    assert (end["alias"], end["status"], end["size"]) == ("default", "cancelled", 1)


@pytest.mark.lengthy
async def test_a_lost_producer_is_seen_by_its_readers(
    configure: Configure, streams: StreamManager, heard, connect: Connect, monkeypatch
):
    configure(LEASE=0.6, SWEEP=0.1, STORE_TIMEOUT=0.3)
    lost = until(connect, producer_lost)
    away = until(connect, heartbeat_failed)
    reader = await streams.arun("chat", Tap(b"x"), owner="a")
    elsewhere = await streams.using("elsewhere").aresume("chat", owner="a")
    assert elsewhere is not None
    await read_until(reader, 1)
    await read_until(elsewhere, 1)

    async def fail(*args: Any, **named: Any) -> Any:
        raise StoreUnavailable("default")

    monkeypatch.setattr(get_engine("default").store.processes, "beat", fail)
    with pytest.raises(StreamFailed, match="producer_lost"):
        await read_all(elsewhere)
    await lost.wait()
    await away.wait()
    (failing, *_) = said(heard, heartbeat_failed)
    assert failing["producers"] == 1
    assert isinstance(failing["error"], StoreUnavailable)
    assert {n["seen_by"] for n in said(heard, producer_lost)} >= {"reader"}


async def test_a_gap_in_the_news_is_told(streams: StreamManager, heard):
    tap = Tap(b"x")
    local = await streams.arun("chat", tap, owner="a")
    await read_until(local, 1)
    reader = await streams.using("elsewhere").aresume("chat", owner="a")
    assert reader is not None
    await read_until(reader, 1)
    hub = get_engine("elsewhere").hub
    (tail,) = hub.tails
    tail.learn(tail.info)  # as after the confirmation of the subscription
    hub.appended(tail.key, tail.info.epoch, 5, b"later")
    (missed,) = said(heard, news_missed)
    assert (missed["offset"], missed["missing"], missed["alias"]) == (5, 4, "elsewhere")
    reader.close()
    tap.end()
    await read_all(local)


async def test_the_push_connection_is_told_first_and_again(streams: StreamManager, heard):
    reader = await streams.arun("chat", ScriptedSource(), owner="a")
    await read_all(reader)
    hub = get_engine("default").hub
    hub.control_changed(None)
    hub.control_changed("default")
    hub.control_changed(None)
    assert [n["again"] for n in said(heard, feed_connected)] == [False, True]


async def test_a_push_connection_that_was_cut_is_told_when_it_is_back(
    redis_manager: StreamManager, redis_server: Redis, connect: Connect, heard
):
    tap = Tap(b"x")
    first = until(connect, feed_connected)
    again = until(connect, feed_connected, times=2)
    reader = await redis_manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    await first.wait()
    redis_server.client_kill_filter(_type="pubsub")
    await again.wait()
    tap.end(b"y")
    assert await read_all(reader) == b"y"
    assert [n["again"] for n in said(heard, feed_connected)] == [False, True]
    assert {n["sender"] for n in said(heard, feed_connected)} == {RedisStore}


# HOOK_ERRORS = "raise", the default.


@pytest.mark.parametrize("signal", [stream_acquired, owner_bound])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_receiver_can_refuse_a_stream_and_nothing_is_left_of_it(
    streams: StreamManager, connect: Connect, heard, signal: StreamSignal, asynchronous: bool
):
    receiver = refuse(Refused("no"), asynchronous=asynchronous)
    connect(signal, receiver)
    tap = ScriptedSource()
    with pytest.raises(Refused):
        await streams.arun("chat", tap, owner="a")
    assert tap.calls == 0
    assert await streams.astatus("chat", owner="a") is None
    assert len(said(heard, stream_acquired)) == 1
    (ended,) = said(heard, stream_finalized)
    assert (ended["status"], ended["error_code"], ended["size"]) == ("error", "hook_failed", 0)
    signal.disconnect(receiver)
    reader = await streams.arun("chat", tap, owner="b")
    assert reader.role == "producer"
    assert await read_all(reader) == b""


async def test_a_limit_that_a_receiver_sets_refuses_as_a_limit(
    streams: StreamManager, connect: Connect, heard
):
    connect(stream_acquired, refuse(StreamLimitExceeded("ACQUIRES_PER_MINUTE", 3)))
    with pytest.raises(StreamLimitExceeded, match="ACQUIRES_PER_MINUTE"):
        await streams.arun("chat", ScriptedSource(), owner="a")
    (ended,) = said(heard, stream_finalized)
    assert ended["error_code"] == "limit_exceeded"


async def test_the_acquire_rate_of_the_docs_limits_each_owner(
    streams: StreamManager, connect: Connect
):
    text = DOCS.read_text()
    (code,) = [c for c in text.split("```python\n") if "ACQUIRES_PER_MINUTE" in c]
    scope: dict[str, Any] = {"receiver": lambda signal: lambda function: function}
    exec(code.split("```")[0], scope)
    connect(stream_acquired, scope["ten_a_minute"])
    for number in range(10):
        await streams.arun(f"a-{number}", [b"x"], owner="docs-a")
    with pytest.raises(StreamLimitExceeded, match="ACQUIRES_PER_MINUTE"):
        await streams.arun("a-10", [b"x"], owner="docs-a")
    await streams.arun("b", [b"x"], owner="docs-b")
    await streams.arun("b", [b"x"], owner="docs-b")


async def test_a_receiver_can_refuse_a_consumer(streams: StreamManager, connect: Connect):
    tap = Tap(b"x")
    reader = await streams.arun("chat", tap, owner="a")
    connect(stream_acquired, refuse(Refused("no")))
    with pytest.raises(Refused):
        await streams.arun("chat", tap, owner="a")
    tap.end()
    assert await read_all(reader) == b"x"


async def test_a_receiver_of_the_start_fails_the_stream(streams: StreamManager, connect: Connect):
    connect(stream_started, refuse(Refused("no")))
    tap = ScriptedSource()
    reader = await streams.arun("chat", tap, owner="a")
    with pytest.raises(StreamFailed, match="hook_failed"):
        await read_all(reader)
    assert tap.calls == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("no"), "hook_failed"),
        (StreamGap(0), "hook_failed"),
        (StreamClaimLost(), "hook_failed"),
        (StreamLimitExceeded("TOKENS", 5), "limit_exceeded"),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_receiver_of_an_append_ends_the_stream_and_what_is_stored_stays(
    streams: StreamManager, connect: Connect, error: Exception, code: str, asynchronous: bool
):
    connect(stream_appended, refuse(error, asynchronous=asynchronous))
    reader = await streams.arun("chat", [b"on", b"ce"], owner="a")
    with pytest.raises(StreamFailed, match=code):
        await read_all(reader)
    info = await streams.astatus("chat", owner="a")
    assert info is not None
    assert (info.status, info.error_code) == ("error", code)
    left = await streams.aresume("chat", owner="a", live=False)
    assert left is not None
    assert await read_until(left, info.size) in (b"on", b"once")


Verb = Callable[[StreamManager], Awaitable[Any]]
VERBS: dict[str, Verb] = {
    "run": lambda streams: streams.arun("chat", [b"never"], owner="a"),
    "resume": lambda streams: streams.aresume("chat", owner="a"),
    "status": lambda streams: streams.astatus("chat", owner="a"),
    "cancel": lambda streams: streams.acancel("chat", owner="a"),
    "delete": lambda streams: streams.adelete("chat", owner="a"),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_receiver_of_the_owner_check_denies(
    streams: StreamManager, connect: Connect, verb: str
):
    tap = Tap(b"x")
    reader = await streams.arun("chat", tap, owner="a")
    receiver = refuse(Refused("no"))
    connect(owner_checked, receiver)
    with pytest.raises(Refused):
        await VERBS[verb](streams)
    owner_checked.disconnect(receiver)
    tap.end()
    assert await read_all(reader) == b"x"
    info = await streams.astatus("chat", owner="a")
    assert info is not None
    assert info.status == "done"


async def test_a_receiver_of_the_resume_denies_it(streams: StreamManager, connect: Connect):
    await read_all(await streams.arun("chat", [b"x"], owner="a"))
    connect(stream_resumed, refuse(Refused("no")))
    with pytest.raises(Refused):
        await streams.aresume("chat", owner="a")


@pytest.mark.parametrize(
    ("signal", "verb", "left"),
    [(stream_cancelled, "cancel", True), (stream_deleted, "delete", False)],
)
async def test_a_receiver_cannot_undo_what_has_been_done(
    streams: StreamManager, connect: Connect, signal: StreamSignal, verb: str, left: bool
):
    await read_all(await streams.arun("chat", [b"x"], owner="a"))
    connect(signal, refuse(Refused("no")))
    with pytest.raises(Refused):
        await VERBS[verb](streams)
    assert (await streams.astatus("chat", owner="a") is not None) is left


@pytest.mark.parametrize(
    "signal", [stream_finalized, reader_opened, reader_closed, stream_delivered, stream_failed]
)
async def test_a_receiver_of_what_nobody_waits_for_is_only_logged(
    streams: StreamManager, connect: Connect, caplog, signal: StreamSignal
):
    connect(signal, refuse(Refused("no")))
    tap = Tap()
    reader = await streams.arun("chat", tap, owner="a")
    waiting = asyncio.create_task(anext(reader))
    await tap.opened.wait()
    await waits(reader)
    tap.end(b"x")
    assert await waiting == b"x"
    await read_all(reader)
    failed = await streams.arun("failed", Tap(OSError()), owner="a")
    with pytest.raises(StreamFailed, match="source_failed"):
        await read_all(failed)

    def logged() -> bool:
        return any(r.exc_info and isinstance(r.exc_info[1], Refused) for r in caplog.records)

    await eventually(logged)


# HOOK_ERRORS = "log".


@pytest.mark.parametrize(
    "signal",
    [
        stream_acquired,
        owner_bound,
        stream_started,
        stream_appended,
        owner_checked,
        stream_resumed,
        stream_deleted,
        stream_cancelled,
    ],
)
async def test_with_hook_errors_logged_a_stream_goes_on(
    configure: Configure,
    streams: StreamManager,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    signal: StreamSignal,
):
    configure(HOOK_ERRORS="log")
    connect(signal, refuse(Refused("no")))
    assert await read_all(await streams.arun("chat", [b"x"], owner="a")) == b"x"
    assert await streams.aresume("chat", owner="a") is not None
    assert await streams.acancel("chat", owner="a") is not None
    assert await streams.adelete("chat", owner="a") is True
    logged = [r for r in caplog.records if r.name == "resumable_streams.signals"]
    assert logged
    assert {r.levelno for r in logged} == {logging.ERROR}
