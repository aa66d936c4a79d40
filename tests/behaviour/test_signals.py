"""What receivers are told, in which order, and what becomes of what they raise."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from resumable_streams import (
    StoreUnavailable,
    StreamDoesNotExist,
    StreamFailed,
    StreamGap,
    StreamManager,
)
from resumable_streams.signals import (
    StreamSignal,
    inline,
    owner_bound,
    owner_checked,
    stream_acquired,
    stream_appended,
    stream_cancelled,
    stream_deleted,
    stream_failed,
    stream_finalized,
    stream_resumed,
    stream_started,
)
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished, produced
from tests.tools.streams import Configure

NAMES: dict[StreamSignal, str] = {
    owner_bound: "owner_bound",
    owner_checked: "owner_checked",
    stream_acquired: "stream_acquired",
    stream_appended: "stream_appended",
    stream_cancelled: "stream_cancelled",
    stream_deleted: "stream_deleted",
    stream_failed: "stream_failed",
    stream_finalized: "stream_finalized",
    stream_resumed: "stream_resumed",
    stream_started: "stream_started",
}


@pytest.fixture
def connect() -> Iterator[Callable[[StreamSignal, Callable[..., object]], None]]:
    """Return a function that connects receivers until the end of the test."""
    connected = []

    def keep(signal, receiver):
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield keep
    for signal, receiver in connected:
        signal.disconnect(receiver)


async def test_the_life_of_a_stream_is_told_in_order(manager: StreamManager, hear):
    heard = hear(*NAMES)
    request = object()
    reader = await manager.arun("chat", [b"ab"], owner="a", attrs={"k": "v"}, request=request)  # type: ignore[arg-type]
    await read_all(reader)
    await produced()
    await manager.aresume("chat", owner="a", offset=1, request=request)  # type: ignore[arg-type]
    await manager.aresume("chat", owner="b")
    await manager.arun("chat", [], owner="a")
    await manager.acancel("chat", owner="a")
    await manager.adelete("chat", owner="a")
    await manager.astatus("chat", owner="a")
    told = [NAMES[each["signal"]] for each in heard]
    assert sorted(told[:2]) == ["owner_bound", "stream_acquired"]
    assert told[2:] == [
        "stream_started",
        "stream_appended",
        "stream_finalized",
        "owner_checked",
        "stream_resumed",
        "owner_checked",
        "owner_checked",
        "stream_acquired",
        "owner_checked",
        "stream_cancelled",
        "owner_checked",
        "stream_deleted",
        "owner_checked",
    ]
    for each in heard:
        assert (each["alias"], each["stream_id"], each["tenant"]) == ("default", "chat", "default")
        assert each["generation"] == 1
        assert b"ab" not in each.values()
    by_name = {NAMES[each["signal"]]: each for each in reversed(heard)}
    assert by_name["stream_acquired"]["role"] == "producer"
    assert by_name["stream_acquired"]["attrs"] == {"k": "v"}
    assert by_name["stream_acquired"]["request"] is request
    appended, ended = by_name["stream_appended"], by_name["stream_finalized"]
    assert (appended["offset"], appended["size"], appended["chunks"]) == (0, 2, 1)
    assert (ended["status"], ended["error_code"], ended["size"]) == ("done", "", 2)
    resumed = by_name["stream_resumed"]
    assert (resumed["offset"], resumed["size"], resumed["status"]) == (1, 2, "done")
    checks = [(each["operation"], each["outcome"]) for each in heard if "outcome" in each]
    assert checks == [
        ("resume", "match"),
        ("resume", "foreign"),
        ("run", "match"),
        ("cancel", "match"),
        ("delete", "match"),
        ("status", "missing"),
    ]


async def test_a_failure_is_told_before_the_end(manager: StreamManager, hear):
    heard = hear(stream_failed, stream_finalized)
    error = ValueError("x")
    with pytest.raises(StreamFailed):
        await read_all(await manager.arun("chat", Tap(b"x", error), owner="a"))
    await produced()
    assert [NAMES[each["signal"]] for each in heard] == ["stream_failed", "stream_finalized"]
    assert (heard[0]["error"], heard[0]["error_code"], heard[0]["size"]) == (
        error,
        "source_failed",
        1,
    )


async def test_an_end_that_came_from_elsewhere_is_told_where_the_producer_runs(
    manager: StreamManager, elsewhere: StreamManager, hear
):
    heard = hear(stream_finalized)
    await read_until(await manager.arun("chat", Tap(b"x"), owner="a"), 1)
    await elsewhere.acancel("chat", owner="a")
    await produced()
    assert [(each["alias"], each["status"]) for each in heard] == [("default", "cancelled")]


async def test_sync_and_async_receivers_are_all_told(manager: StreamManager, connect):
    told = []

    def first(**named):
        told.append("first")
        raise LookupError

    def second(**named):
        told.append("second")

    async def third(**named):
        await asyncio.sleep(0)
        told.append("third")

    for receiver in (third, first, second):
        connect(stream_resumed, receiver)
    await read_all(await manager.arun("chat", [b"x"], owner="a"))
    with pytest.raises(LookupError):
        await manager.aresume("chat", owner="a")
    assert told == ["first", "second", "third"]


ERRORS = [LookupError("x"), StreamDoesNotExist(), StreamGap(0), StoreUnavailable("x")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_receiver_that_raises_fails_the_stream(manager: StreamManager, connect, error):
    def refuse(offset, **named):
        if offset:
            raise error

    connect(stream_appended, refuse)
    tap = Tap(b"a")
    reader = await manager.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    tap.give(b"b")
    with pytest.raises(StreamFailed) as failure:
        assert await read_all(reader) == b"b"
    assert failure.value.code == "hook_failed"
    info = await manager.astatus("chat", owner="a")
    assert info is not None
    assert (info.size, info.error_code) == (2, "hook_failed")
    await tap.closed.wait()


async def test_a_receiver_that_raises_is_only_logged_where_that_is_set(
    configure: Configure, manager: StreamManager, connect, caplog
):
    configure(HOOK_ERRORS="log")

    def fail(**named):
        raise LookupError

    for signal in NAMES:
        connect(signal, fail)
    assert await read_all(await manager.arun("chat", finished([b"a", b"b"]), owner="a")) == b"ab"
    assert await manager.aresume("chat", owner="a")
    assert await manager.adelete("chat", owner="a")
    assert any(one.startswith("A signal receiver failed.") for one in caplog.messages)


async def test_a_receiver_that_refuses_a_run_leaves_nothing(manager: StreamManager, connect):
    def refuse(role, **named):
        if role == "producer":
            raise PermissionError

    connect(stream_acquired, refuse)
    tap = Tap()
    with pytest.raises(PermissionError):
        await manager.arun("chat", tap, owner="a")
    assert tap.calls == 0
    assert await manager.astatus("chat", owner="a") is None


@pytest.mark.parametrize("sender", [None, "a name", object()])
async def test_a_signal_can_be_sent_by_hand_whoever_sends_it(sender: object) -> None:
    """As sites do in tests of their receivers."""
    signal, heard = StreamSignal(), list[object]()

    @inline
    def hear(sender: object, **named: object) -> None:
        heard.append(sender)

    signal.connect(hear)
    await signal.notify(sender, hook_errors="raise")
    signal.send(sender)
    await signal.asend(sender)
    assert heard == [sender] * 3
