"""Where receivers run: in a thread where the ORM is allowed, or on the loop if they say so."""

import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import Group
from django.core.asgi import get_asgi_application
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from resumable_streams import StreamFailed, StreamManager, signals, streams
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import (
    StreamSignal,
    inline,
    owner_bound,
    owner_checked,
    reader_closed,
    reader_opened,
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
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure
from tests.tools.waiting import eventually, pass_time_sync

RARE = [
    owner_bound,
    owner_checked,
    reader_closed,
    reader_opened,
    stream_acquired,
    stream_cancelled,
    stream_deleted,
    stream_failed,
    stream_finalized,
    stream_resumed,
    stream_started,
]
Connect = Callable[[StreamSignal, Callable[..., Any]], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that connects receivers until the end of the test."""
    connected = []

    def keep(signal: StreamSignal, receiver: Callable[..., Any]) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield keep
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def save(connect: Connect) -> Callable[[StreamSignal], None]:
    """Return a function that has a signal write a row, as every tutorial of Django does it."""

    def save(signal: StreamSignal) -> None:
        def receiver(sender: Any, **named: Any) -> None:
            Group.objects.create(name=f"{signal.name} {time.monotonic_ns()}")

        connect(signal, receiver)

    return save


async def rows(signal: StreamSignal) -> int:
    """Wait until a signal has written a row; return how many it has."""
    written = Group.objects.filter(name__startswith=signal.name)
    await eventually(written.aexists)
    return await written.acount()


async def live(manager: StreamManager) -> None:
    """Have every rare event happen, on `manager`."""
    assert await read_all(await manager.arun("whole", finished([b"a", b"b"]), owner="a")) == b"ab"
    again = await manager.arequire_resume("whole", owner="a")
    assert await read_all(again) == b"ab"
    await manager.acancel("whole", owner="a")
    await manager.adelete("whole", owner="a")
    with pytest.raises(StreamFailed, match="source_failed"):
        await read_all(await manager.arun("failed", Tap(OSError("no")), owner="a"))


# The ORM.


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("signal", RARE, ids=lambda signal: str(signal.name))
async def test_an_ordinary_receiver_uses_the_orm(
    memory_manager: StreamManager, save: Callable[[StreamSignal], None], signal: StreamSignal
) -> None:
    save(signal)
    await live(memory_manager)
    assert await rows(signal)


@pytest.mark.django_db(transaction=True)
def test_a_receiver_of_a_request_without_a_loop_runs_in_the_thread_that_waits(
    configure_memory: Configure, connect: Connect
) -> None:
    seen: list[int] = []
    connect(stream_acquired, lambda **named: seen.append(threading.get_ident()))
    try:
        reader = streams.run("s", finished([b"a"]), owner="a")
        assert b"".join(reader) == b"a"
    finally:
        runtime.call_sync(runtime.aclose)
    assert seen == [threading.get_ident()]


def test_a_receiver_runs_in_the_thread_that_waits_for_another_loop(
    configure_memory: Configure, connect: Connect
) -> None:
    seen: list[int] = []
    connect(stream_acquired, lambda **named: seen.append(threading.get_ident()))

    @async_to_sync
    async def view() -> bytes:
        return await read_all(await streams.arun("s", finished([b"a"]), owner="a"))

    try:
        assert view() == b"a"
    finally:
        runtime.call_sync(runtime.aclose)
    assert seen == [threading.get_ident()]


def run_in_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"".join(streams.run("s", finished([b"a"]), owner="a")))


async def arun_in_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await read_all(await streams.arun("s", finished([b"a"]), owner="a")))


urlpatterns = [path("sync/", run_in_view), path("async/", arun_in_view)]


@pytest.fixture
def site(settings: Settings, configure_memory: Configure) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.mark.django_db
@pytest.mark.parametrize("where", ["sync", "async"])
def test_what_a_receiver_writes_is_in_the_transaction_of_a_test(
    site: None, save: Callable[[StreamSignal], None], client: Client, where: str
) -> None:
    save(stream_acquired)
    try:
        assert client.get(f"/{where}/").content == b"a"
    finally:
        runtime.call_sync(runtime.aclose)
    assert connection.in_atomic_block
    assert Group.objects.filter(name__startswith="stream_acquired").count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["sync", "async"])
async def test_views_under_asgi_have_receivers_in_their_thread(
    site: None,
    closes_runtime: None,
    connect: Connect,
    save: Callable[[StreamSignal], None],
    where: str,
) -> None:
    save(stream_acquired)
    runtime.home()  # here, as under a server with lifespan
    headers = [(b"host", b"testserver")]
    scope = {"type": "http", "method": "GET", "path": f"/{where}/", "headers": headers}
    browser = ApplicationCommunicator(get_asgi_application(), scope)
    await browser.send_input({"type": "http.request"})
    start = await browser.receive_output(5)
    assert start["status"] == 200
    assert (await browser.receive_output(5))["body"] == b"a"
    await browser.wait()
    assert await rows(stream_acquired) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("signal", [stream_finalized, stream_resumed, reader_opened])
async def test_no_connection_that_a_receiver_opened_stays_open(
    memory_manager: StreamManager, connect: Connect, signal: StreamSignal
) -> None:
    wrappers = []

    def receiver(**named: Any) -> None:
        assert connections["default"].connection is None
        Group.objects.create(name=f"{signal.name} {time.monotonic_ns()}")
        wrappers.append(connections["default"])

    # The thread for what nobody waits for has let go of what the last test used.
    await eventually(
        lambda: "resumable_streams.transient" not in {one.name for one in threading.enumerate()}
    )
    connect(signal, receiver)
    await sync_to_async(connections.close_all)()
    await live(memory_manager)
    await eventually(lambda: wrappers and all(one.connection is None for one in wrappers))


# Threads.


async def test_receivers_of_one_event_share_one_thread(
    memory_manager: StreamManager, connect: Connect
) -> None:
    seen: list[tuple[str, int]] = []
    for name in "abc":
        connect(
            stream_resumed, lambda name=name, **named: seen.append((name, threading.get_ident()))
        )
    await read_all(await memory_manager.arun("s", finished([b"a"]), owner="a"))
    await memory_manager.arequire_resume("s", owner="a")
    assert [name for name, _ in seen] == ["a", "b", "c"]
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


async def test_marked_receivers_run_on_the_loop_before_the_others(
    memory_manager: StreamManager, connect: Connect
) -> None:
    told: list[tuple[str, bool]] = []

    def tell(name: str) -> None:
        told.append((name, threading.current_thread() is threading.main_thread()))

    def ordinary(**named: Any) -> None:
        tell("ordinary")

    @inline
    def marked(**named: Any) -> None:
        tell("marked")

    async def awaited(**named: Any) -> None:
        tell("awaited")

    for receiver in (awaited, ordinary, marked):
        connect(stream_resumed, receiver)
    await read_all(await memory_manager.arun("s", finished([b"a"]), owner="a"))
    await memory_manager.arequire_resume("s", owner="a")
    assert told == [("marked", True), ("ordinary", False), ("awaited", True)]


async def test_a_method_can_be_marked(memory_manager: StreamManager, connect: Connect) -> None:
    class Counter:
        threads: list[threading.Thread] = []

        @inline
        def receive(self, **named: Any) -> None:
            self.threads.append(threading.current_thread())

    connect(stream_acquired, Counter().receive)
    await read_all(await memory_manager.arun("s", finished([b"a"]), owner="a"))
    assert Counter.threads == [threading.main_thread()]


async def test_appends_are_told_on_the_loop(
    memory_manager: StreamManager, connect: Connect
) -> None:
    seen: list[int] = []
    connect(stream_appended, lambda **named: seen.append(threading.get_ident()))
    await read_all(await memory_manager.arun("s", finished([b"a"]), owner="a"))
    assert set(seen) == {threading.get_ident()}


async def test_a_site_without_ordinary_receivers_starts_no_thread(
    memory_manager: StreamManager, connect: Connect
) -> None:
    await live(memory_manager)  # what the loop itself may need is there from now on
    before = set(threading.enumerate())
    for signal in RARE:
        connect(signal, inline(lambda **named: None))
    await live(memory_manager)
    assert set(threading.enumerate()) <= before


async def test_what_a_receiver_sets_is_in_the_context_of_the_source(
    memory_manager: StreamManager, connect: Connect
) -> None:
    trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")
    connect(stream_started, lambda **named: trace.set("t-1"))

    async def source() -> AsyncIterator[str]:
        yield trace.get()

    assert await read_all(await memory_manager.arun("s", source, owner="a")) == b"t-1"


@pytest.mark.django_db(transaction=True)
@pytest.mark.lengthy
async def test_an_end_is_told_while_the_source_still_blocks_its_thread(
    memory_manager: StreamManager,
    save: Callable[[StreamSignal], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resumable_streams.producing.producer.CLOSE_SECONDS", 0.1)
    save(stream_finalized)
    released = threading.Event()

    def deaf() -> Iterator[bytes]:
        yield b"a"
        released.wait(30)

    try:
        reader = await memory_manager.arun("s", deaf, owner="a")
        await read_until(reader, 1)
        await memory_manager.acancel("s", owner="a")
        await eventually(Group.objects.aexists)
        assert not released.is_set()
    finally:
        released.set()


@pytest.mark.lengthy
async def test_events_that_nobody_waits_for_are_told_in_order(
    memory_manager: StreamManager, connect: Connect
) -> None:
    told: list[str] = []

    def opened(**named: Any) -> None:
        pass_time_sync(0.05)  # in a thread; a race would let what comes later pass
        told.append("opened")

    connect(reader_opened, opened)
    connect(reader_closed, lambda **named: told.append("closed"))
    for _ in range(3):
        await read_all(await memory_manager.arun("s", finished([b"a"]), owner="a"))
    await eventually(lambda: len(told) == 6)
    assert told == ["opened", "closed"] * 3


# Failures.


def test_every_signal_knows_its_name() -> None:
    found = {
        name: signal for name, signal in vars(signals).items() if isinstance(signal, StreamSignal)
    }
    assert {name: signal.name for name, signal in found.items()} == {name: name for name in found}


def broken(**named: Any) -> None:
    raise LookupError("no such account")


async def abroken(**named: Any) -> None:
    raise LookupError("no such account")


class Broken:
    def __call__(self, **named: Any) -> None:
        raise LookupError("no such account")


BROKEN = {"broken": broken, "abroken": abroken, "Broken": Broken()}


@pytest.mark.parametrize("name", BROKEN)
async def test_the_log_names_receiver_and_signal(
    configure_memory: Configure,
    memory_manager: StreamManager,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    configure_memory(HOOK_ERRORS="log")
    receiver: Any = BROKEN[name]
    connect(stream_resumed, receiver)
    await read_all(await memory_manager.arun("s", finished([b"a"]), owner="a"))
    assert await memory_manager.aresume("s", owner="a")
    assert f"{__name__}.{name} of stream_resumed" in caplog.text


async def test_the_error_that_is_raised_names_receiver_and_signal(
    memory_manager: StreamManager, connect: Connect
) -> None:
    connect(stream_acquired, broken)
    with pytest.raises(LookupError, match="no such account") as raised:
        await memory_manager.arun("s", finished([b"a"]), owner="a")
    assert raised.value.__notes__ == [
        f"Raised by the receiver {__name__}.broken of stream_acquired."
    ]


async def test_the_log_of_a_stream_that_a_receiver_failed_names_it(
    memory_manager: StreamManager, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connect(stream_started, broken)
    with pytest.raises(StreamFailed, match="hook_failed"):
        await read_all(await memory_manager.arun("s", finished([b"a"]), owner="a"))
    (line,) = [one for one in caplog.messages if "and the stream with it" in one]
    assert f"{__name__}.broken of stream_started" in line


@pytest.mark.parametrize("way", ["inline", "thread", "async"])
@pytest.mark.parametrize("exit_", [SystemExit, GeneratorExit])
async def test_a_receiver_that_ends_the_process_ends_its_stream_only(
    memory_manager: StreamManager, connect: Connect, way: str, exit_: type[BaseException]
) -> None:
    def receiver(**named: Any) -> None:
        raise exit_

    async def areceiver(**named: Any) -> None:
        raise exit_

    ways: dict[str, Any] = {"inline": inline(receiver), "async": areceiver}
    connect(stream_started, ways.get(way, lambda **named: receiver()))
    with pytest.raises(StreamFailed, match="hook_failed"):
        await read_all(await memory_manager.arun("s", finished([b"a"]), owner="a"))
