"""What requests and producers hold at rest: no connection to the database, and no thread."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test import RequestFactory

from resumable_streams import StreamManager, StreamReader, signals
from resumable_streams.compat import executor_here
from resumable_streams.process import holdings
from resumable_streams.process.holdings import TransientThread, let_go
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap
from tests.tools.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def opened() -> Iterator[list[BaseDatabaseWrapper]]:
    """Collect the connections that threads other than the test's own have opened."""
    found: list[BaseDatabaseWrapper] = []
    ours = threading.get_ident()

    def remember(connection: BaseDatabaseWrapper, **named: Any) -> None:
        if threading.get_ident() != ours:
            found.append(connection)

    connection_created.connect(remember)
    yield found
    connection_created.disconnect(remember)


def still_open(opened: list[BaseDatabaseWrapper]) -> int:
    return sum(not is_closed(each) for each in opened)


def is_closed(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is None or connection.closed_in_transaction


def sync_threads() -> int:
    return sum(thread.name == "resumable_streams.transient" for thread in threading.enumerate())


async def at_rest(opened: list[BaseDatabaseWrapper]) -> None:
    await eventually(lambda: not still_open(opened) and not sync_threads())


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Have threads let go soon and often; return what waits until one has tried a few times."""
    monkeypatch.setattr(holdings, "LINGER_SECONDS", 0.005)
    monkeypatch.setattr(holdings, "EVERY_SECONDS", 0.01)
    tried = [0]
    let_go_of = TransientThread._let_go

    def count(thread: TransientThread) -> None:
        let_go_of(thread)
        tried[0] += 1

    monkeypatch.setattr(TransientThread, "_let_go", count)

    async def wait() -> None:
        seen = tried[0]
        await eventually(lambda: tried[0] >= seen + 3)

    return wait


@pytest.fixture
def unpooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat connections as if to open one took its time, whatever the suite runs on."""
    monkeypatch.setattr(holdings, "are_pooled", lambda: False)


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "are_pooled", lambda: True)


def users() -> int:
    return User.objects.count()


def create_users() -> None:
    User.objects.bulk_create(User(username=f"user-{number}") for number in range(5))


async def by_itself(query: Callable[[], Any]) -> Any:
    """Run a query of the test's own, and keep no connection."""

    def run() -> Any:
        try:
            return query()
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


def here() -> int:
    return threading.get_ident()


# A thread that comes and goes


def test_a_thread_comes_with_a_job_and_goes_when_there_are_no_more():
    thread = TransientThread()
    assert not sync_threads()
    results = [thread.submit(here) for _ in range(10)]
    assert len({result.result() for result in results}) == 1
    assert results[0].result() != here()
    asyncio.run(eventually(lambda: not sync_threads()))
    assert thread.submit(lambda: "again").result() == "again"
    thread.shutdown()


def test_what_a_job_raises_is_its_result():
    thread = TransientThread()
    with pytest.raises(ZeroDivisionError):
        thread.submit(lambda: 1 // 0).result()
    assert thread.submit(here).result()
    thread.shutdown()


def test_a_cancelled_job_does_not_run():
    thread, go_on = TransientThread(), threading.Event()
    ran: list[str] = []
    thread.submit(go_on.wait)
    cancelled = thread.submit(ran.append, "cancelled")
    assert cancelled.cancel()
    go_on.set()
    thread.submit(ran.append, "other").result()
    assert ran == ["other"]
    thread.shutdown()


def test_a_connection_is_closed_within_a_second_after_its_last_use(opened, unpooled):
    thread = TransientThread()
    assert thread.submit(users).result() == 0
    used = time.monotonic()
    assert still_open(opened) == 1
    asyncio.run(at_rest(opened))
    assert time.monotonic() - used < 1.5  # of which the machine may take half


@pytest.mark.lengthy
async def test_a_connection_that_is_used_without_a_pause_is_closed_every_second(opened, unpooled):
    thread, started = TransientThread(), time.monotonic()
    while len(opened) < 3:
        await asyncio.gather(*(asyncio.wrap_future(thread.submit(users)) for _ in range(5)))
    assert 1.0 < time.monotonic() - started < 5
    await asyncio.wrap_future(thread.end())
    await at_rest(opened)


async def test_a_connection_goes_back_to_its_pool_after_each_job(opened, pooled):
    thread = TransientThread()
    for number in range(1, 4):
        thread.submit(users)
        assert await asyncio.wrap_future(thread.submit(lambda: still_open(opened))) == 0
        assert len(opened) == number
    await asyncio.wrap_future(thread.end())


async def test_a_transaction_keeps_a_connection_from_its_pool(opened, pooled, rounds):
    thread = TransientThread()
    atomic = transaction.atomic()
    thread.submit(atomic.__enter__)
    thread.submit(users)
    await rounds()
    assert still_open(opened) == 1
    thread.submit(atomic.__exit__, None, None, None)
    await at_rest(opened)
    assert len(opened) == 1


async def test_an_end_closes_everything_and_a_later_job_is_let_go_of_as_well(opened):
    thread = TransientThread()
    thread.submit(transaction.atomic().__enter__)
    thread.submit(users)
    await asyncio.wrap_future(thread.end())
    assert not still_open(opened)
    await asyncio.wrap_future(thread.submit(users))
    await at_rest(opened)
    assert len(opened) == 2


def test_an_end_without_a_thread_starts_none():
    TransientThread().end().result(timeout=0)
    assert not sync_threads()


def test_a_connection_that_cannot_be_closed_ends_nothing(opened, monkeypatch, caplog):
    thread = TransientThread()

    def break_it() -> None:
        users()
        close = opened[0]._close
        monkeypatch.setattr(opened[0], "_close", lambda: (close(), 1 // 0))

    thread.submit(break_it).result()
    asyncio.run(at_rest(opened))
    assert "default could not be closed" in caplog.text
    assert thread.submit(here).result()
    thread.shutdown()


@pytest.mark.parametrize("begin", ["atomic", "autocommit"])
async def test_a_transaction_keeps_its_connection_and_its_thread(opened, rounds, begin):
    thread = TransientThread()
    atomic = transaction.atomic()
    if begin == "atomic":
        thread.submit(atomic.__enter__)
    else:
        thread.submit(lambda: connection.set_autocommit(False))
    thread.submit(lambda: User.objects.create(username="kept"))
    first = await asyncio.wrap_future(thread.submit(here))
    await rounds()
    assert still_open(opened) == 1
    assert await asyncio.wrap_future(thread.submit(here)) == first
    if begin == "atomic":
        thread.submit(atomic.__exit__, None, None, None)
    else:
        thread.submit(lambda: connection.commit())
        thread.submit(lambda: connection.set_autocommit(True))
    await at_rest(opened)
    assert await by_itself(users) == 1


# Producers


@pytest.mark.lengthy
async def test_a_producer_holds_nothing_between_two_queries(memory_manager: StreamManager, opened):
    tap = Tap()

    async def source() -> AsyncIterator[bytes]:
        async for _ in tap():
            yield b"%d" % await User.objects.acount()
            await User.objects.acount()  # also after its last chunk, and then it is silent

    reader = await memory_manager.arun("chat", source, owner="a")
    for number in range(1, 3):
        tap.give(b"")
        await read_until(reader, number)
        await at_rest(opened)
        assert len(opened) >= number
    tap.end()
    assert await read_all(reader) == b""


async def test_rows_can_be_fetched_slowly(memory_manager: StreamManager, opened, rounds):
    await by_itself(create_users)
    opened.clear()
    tap = Tap()

    async def source() -> AsyncIterator[str]:
        async for user in User.objects.order_by("pk").aiterator(chunk_size=2):
            yield user.username[-1]
            await anext(steps)

    steps = tap()
    reader = await memory_manager.arun("chat", source, owner="a")
    for number in range(1, 5):
        await read_until(reader, number)
        await rounds()
        tap.give(b"")
    tap.give(b"")
    assert await read_all(reader) == b"4"
    assert len(opened) == 1  # never closed meanwhile
    await at_rest(opened)


async def test_rows_that_nobody_fetches_any_more_hold_nothing(
    memory_manager: StreamManager, opened, rounds
):
    await by_itself(create_users)
    opened.clear()
    tap = Tap()

    async def source() -> AsyncIterator[str]:
        rows: Any = User.objects.aiterator(chunk_size=2)
        yield (await anext(rows)).username[:1]
        await rows.aclose()
        async for _ in tap():
            pass

    reader = await memory_manager.arun("chat", source, owner="a")
    await read_until(reader, 1)
    await at_rest(opened)
    tap.end()
    await read_all(reader)


async def test_a_sync_source_keeps_its_thread_and_not_its_connection(
    memory_manager: StreamManager, opened
):
    steps: list[threading.Event] = [threading.Event() for _ in range(4)]

    def source() -> Iterator[str]:
        for step in steps:
            ran.add(here())
            User.objects.count()
            yield "x"
            step.wait()

    ran: set[int] = set()
    reader = await memory_manager.arun("chat", source, owner="a")
    for number, step in enumerate(steps, 1):
        await read_until(reader, number)
        assert sync_threads() == 1
        step.set()
    assert await read_all(reader) == b""
    assert len(ran) == 1
    await at_rest(opened)


async def test_a_transaction_around_a_sync_source_is_one(
    memory_manager: StreamManager, opened, rounds
):
    def source() -> Iterator[str]:
        with transaction.atomic():
            for number in range(3):
                User.objects.create(username=f"user-{number}")
                yield "x"
            raise LookupError

    reader = await memory_manager.arun("chat", source, owner="a")
    await read_until(reader, 3)
    with pytest.raises(Exception, match="source_failed"):
        await read_all(reader)
    await at_rest(opened)
    assert len(opened) == 1
    assert await by_itself(users) == 0


async def test_a_queue_in_the_database_keeps_no_connection(memory_manager: StreamManager, opened):
    def through(order: str) -> None:
        User.objects.create(username="order")

    reader = await memory_manager.aenqueue("chat", "tests.orders", owner="a", through=through)
    assert len(opened) == 1
    assert not still_open(opened)
    reader.close()


# Requests


def ordered(stream_id: str) -> AsyncIterator[bytes]:
    return Tap(b"")()


async def test_a_request_lets_go_of_its_connection_and_its_thread(opened):
    before = set(threading.enumerate())  # some of which may still be about to end
    async with ThreadSensitiveContext():
        await User.objects.acount()
        (own,) = set(threading.enumerate()) - before
        await let_go()
        assert not still_open(opened)
        await eventually(lambda: not own.is_alive())


async def test_what_a_request_uses_later_is_let_go_of_too(opened):
    async with ThreadSensitiveContext():
        await User.objects.acount()
        await let_go()
        await User.objects.acount()
        await at_rest(opened)
        await let_go()
    assert len(opened) == 2


@pytest.mark.parametrize("verb", ["run", "resume", "enqueue"])
async def test_who_waits_for_a_stream_of_a_request_holds_nothing(
    memory_manager: StreamManager, opened, rf: RequestFactory, verb
):
    held: list[int] = []

    @signals.inline
    def look(**named: Any) -> None:
        held.append(still_open(opened))

    async def ask(verb: str) -> StreamReader | None:
        named: dict[str, Any] = {"owner": "a", "request": rf.post("/")}
        if verb == "enqueue":
            return await memory_manager.aenqueue("other", f"{__name__}.ordered", **named)
        if verb == "resume":
            return await memory_manager.aresume("chat", **named)
        return await memory_manager.arun("chat", Tap(b""), **named)

    await ask("run")
    with connected(signals.owner_checked, look), connected(signals.stream_acquired, look):
        async with ThreadSensitiveContext():
            await User.objects.acount()
            assert still_open(opened) == 1
            await ask(verb)
    assert set(held) == {0}


@contextmanager
def connected(signal: signals.StreamSignal, receiver: Callable[..., None]) -> Iterator[None]:
    signal.connect(receiver)
    yield
    signal.disconnect(receiver)


@pytest.mark.parametrize("has_request", [True, False])
async def test_a_thread_lets_go_for_its_request_only(
    memory_manager: StreamManager, opened, rf: RequestFactory, has_request
):
    """Of other threads we do not know what they keep in their connections."""
    named: dict[str, Any] = {"request": rf.post("/")} if has_request else {}

    def view() -> int:
        User.objects.count()
        memory_manager.run("chat", Tap(b""), owner="a", **named)
        memory_manager.resume("chat", owner="a", **named)
        return still_open(opened)

    assert await by_itself(view) == (0 if has_request else 1)


async def test_rows_of_a_request_can_be_fetched_around_an_order(
    memory_manager: StreamManager, opened, rf: RequestFactory
):
    await by_itself(create_users)
    opened.clear()
    async with ThreadSensitiveContext():
        names = []
        async for user in User.objects.order_by("pk").aiterator(chunk_size=2):
            names.append(user.username)
            await memory_manager.arun(user.username, Tap(b""), owner="a", request=rf.post("/"))
        assert names == [f"user-{number}" for number in range(5)]
        await sync_to_async(connections.close_all)()
    assert len(opened) == 1


async def test_a_query_behind_the_one_that_lets_go_leaves_nothing_open(opened):
    async def request() -> None:
        async with ThreadSensitiveContext():
            await User.objects.acount()
            await asyncio.gather(let_go(), *(User.objects.acount() for _ in range(3)))

    for _ in range(50):
        await request()
    await at_rest(opened)
    assert len(opened) > 50


async def test_a_request_that_used_no_sync_code_starts_no_thread():
    before = set(threading.enumerate())
    async with ThreadSensitiveContext():
        await let_go()
        assert set(threading.enumerate()) <= before


async def test_a_transaction_of_a_request_is_left_alone(opened):
    async with ThreadSensitiveContext():
        atomic = transaction.atomic()
        await sync_to_async(atomic.__enter__)()
        ran = await sync_to_async(here)()
        await let_go()
        assert await sync_to_async(here)() == ran
        assert still_open(opened) == 1
        await sync_to_async(atomic.__exit__)(None, None, None)
        await let_go()
        assert not still_open(opened)


async def test_a_thread_whose_sync_code_waits_for_us_is_only_cleaned(opened):
    async def view() -> int:
        await User.objects.acount()
        await let_go()
        return still_open(opened)

    async with ThreadSensitiveContext():
        assert await sync_to_async(async_to_sync(view))() == 0
        assert type(executor_here()) is ThreadPoolExecutor
        assert len(opened) == 1


async def test_a_cancelled_request_goes_on_being_cancelled(opened):
    go_on = threading.Event()

    async def request() -> None:
        async with ThreadSensitiveContext():
            await sync_to_async(here)()
            busy = asyncio.create_task(sync_to_async(go_on.wait)())
            await asyncio.sleep(0)
            started.set()
            try:
                await let_go()
            finally:
                go_on.set()
                await busy

    started = asyncio.Event()
    task = asyncio.create_task(request())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# The end of the interpreter

EXIT = """
import asyncio, threading
def at_last():  # registered first, so run last: no executor of the standard library takes jobs
    loop.call_soon_threadsafe(go_on.set)
    try:
        asyncio.run_coroutine_threadsafe(ended(), loop).result(10)
    except BaseException as error:
        print("failed:", repr(error))
    else:
        print("ended")
threading._register_atexit(at_last)
import django
django.setup()
from asgiref.sync import sync_to_async
from django.db import connection
from resumable_streams.process.runtime import runtime
async def work():
    await sync_to_async(query)()
    used.set()
    await go_on.wait()
def query():
    connection.ensure_connection()
async def start():
    global task, go_on, used
    go_on, used = asyncio.Event(), asyncio.Event()
    task = runtime.detach(work, name="work")
    await used.wait()
async def ended():
    await task
loop = runtime.home()
runtime.call_sync(start)
"""


@pytest.mark.lengthy
def test_a_producer_that_outlives_the_executors_ends_quietly():
    ended = subprocess.run(
        [sys.executable, "-c", EXIT],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("ended\n", "", 0)
