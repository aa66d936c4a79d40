"""Where streams can be used from (other loops, threads, forks), and what a producer inherits."""

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from django.utils import timezone, translation

from resumable_streams import StreamFailed, StreamManager, StreamStatus
from resumable_streams.process.runtime import runtime
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure

ROOT = Path(__file__).resolve().parent.parent.parent


def in_thread(work: Callable[[], Any]) -> Any:
    """Run in a thread that has no event loop, and return what it returns."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results[0]


@pytest.fixture
def sync_manager(configure: Configure) -> Iterator[StreamManager]:
    """Return streams for sync code: their home is a thread, which ends with the test."""
    yield StreamManager()
    if runtime.resources:
        runtime.call_sync(runtime.aclose)


async def slowly():
    for number in range(5):
        yield b"%d" % number
        await asyncio.sleep(0.01)


# Other loops.


async def test_a_loop_in_another_thread_reads_and_runs(manager: StreamManager):
    tap = Tap(b"0")
    await read_until(await manager.arun("chat", tap, owner="a"), 1)

    async def foreign() -> list[Any]:
        reader = await manager.arequire_resume("chat", owner="a")
        first = await anext(reader)
        mine = await manager.arun("mine", slowly, owner="a")
        info = await manager.acancel("chat", owner="a")
        return [first, await read_all(reader), await read_all(mine), info and info.status]

    results = await asyncio.to_thread(in_thread, lambda: asyncio.run(foreign()))
    assert results == [b"0", b"", b"01234", StreamStatus.CANCELLED]
    await tap.closed.wait()


async def test_a_read_cancelled_on_another_loop_loses_nothing(manager: StreamManager):
    tap = Tap()
    await manager.arun("chat", tap, owner="a")
    home = asyncio.get_running_loop()

    async def foreign() -> bytes:
        reader = await manager.arequire_resume("chat", owner="a")
        data = b""
        for number in range(20):
            read = asyncio.ensure_future(anext(reader))
            await asyncio.sleep(0.001 * (number % 3))
            home.call_soon_threadsafe(tap.give, b"%02d" % number)
            await asyncio.sleep(0.001 * (number % 2))
            read.cancel()
            await asyncio.wait([read])
            data += b"" if read.cancelled() else read.result()
        data += await read_until(reader, 40)
        reader.close()
        return data

    data = await asyncio.to_thread(in_thread, lambda: asyncio.run(foreign()))
    assert data == b"".join(b"%02d" % number for number in range(20))
    tap.end()
    await tap.closed.wait()


async def test_production_outlives_the_loop_that_asked_for_it(manager: StreamManager):
    await manager.astatus("chat", owner="a")  # home is here

    async def foreign() -> None:
        await manager.arun("chat", slowly, owner="a")

    await asyncio.to_thread(in_thread, lambda: asyncio.run(foreign()))
    assert await read_all(await manager.arequire_resume("chat", owner="a")) == b"01234"


# Sync code.


def test_sync_code_runs_resumes_and_iterates(sync_manager: StreamManager):
    def work() -> list[Any]:
        reader = sync_manager.run("chat", slowly, owner="a")
        body = b"".join(reader)
        again = sync_manager.resume("chat", owner="a", offset=2)
        assert again is not None
        info = sync_manager.status("chat", owner="a")
        assert info is not None
        rest = b"".join(again)
        return [body, rest, info.status, sync_manager.delete("chat", owner="a")]

    assert in_thread(work) == [b"01234", b"234", StreamStatus.DONE, True]


def test_sync_code_closes_a_reader_that_waits_in_another_thread(sync_manager: StreamManager):
    def quiet():
        yield b"x"
        done.wait(5)

    done = threading.Event()
    reader = sync_manager.run("chat", quiet, owner="a")
    assert next(reader) == b"x"
    closer = threading.Timer(0.1, reader.close)
    closer.start()
    assert list(reader) == []
    info = sync_manager.cancel("chat", owner="a")
    assert info is not None
    assert info.status is StreamStatus.CANCELLED
    done.set()
    closer.join()


def test_the_failure_of_a_stream_reaches_sync_code(sync_manager: StreamManager):
    with pytest.raises(StreamFailed):
        list(sync_manager.run("chat", [b"x", None], owner="a"))


def test_production_outlives_a_loop_of_async_to_sync(sync_manager: StreamManager):
    async def work() -> None:
        await sync_manager.arun("chat", slowly, owner="a")

    async_to_sync(work)()
    reader = sync_manager.resume("chat", owner="a")
    assert reader is not None
    assert b"".join(reader) == b"01234"


def test_many_short_loops_use_the_same_connections(configure_redis: Configure, redis_server):
    manager = StreamManager()

    async def work() -> bytes:
        return await read_all(await manager.arun(None, [b"x"], owner="a"))

    before = len(redis_server.client_list())
    for _ in range(20):
        assert async_to_sync(work)() == b"x"
    assert len(redis_server.client_list()) - before <= 2
    runtime.call_sync(runtime.aclose)


def test_the_home_thread_ends_when_the_runtime_is_closed(configure_memory: Configure):
    for _ in range(3):
        assert b"".join(StreamManager().run(None, [b"x"], owner="a")) == b"x"
        runtime.call_sync(runtime.aclose)
    for thread in threading.enumerate():
        if thread.name == "resumable_streams":
            thread.join(1)
            assert not thread.is_alive()


async def test_sync_forms_refuse_to_block_a_loop(memory_manager: StreamManager):
    reader = await memory_manager.arun("chat", finished([b"x"]), owner="a")
    with pytest.raises(SynchronousOnlyOperation, match="await astatus"):
        memory_manager.status("chat", owner="a")
    with pytest.raises(SynchronousOnlyOperation, match="use `async for`"):
        next(reader)
    assert await read_all(reader) == b"x"


def test_a_loop_that_is_gone_is_replaced(configure_memory: Configure):
    async def work() -> bytes:
        try:
            return await read_all(await StreamManager().arun(None, slowly, owner="a"))
        finally:
            await runtime.aclose()

    assert [asyncio.run(work()) for _ in range(3)] == [b"01234"] * 3


FORK = """
import asyncio, gc, os, sys, threading, time
import django
from django.conf import settings
settings.configure(
    USE_TZ=True,
    INSTALLED_APPS=["resumable_streams"],
    RESUMABLE_STREAMS={"default": {
        "BACKEND": "resumable_streams.stores.redis.RedisStore",
        "LOCATION": sys.argv[1], "KEY_PREFIX": sys.argv[2],
    }, "elsewhere": {
        "BACKEND": "resumable_streams.stores.redis.RedisStore",
        "LOCATION": sys.argv[1], "KEY_PREFIX": sys.argv[2],
    }},
)
django.setup()
from resumable_streams import streams
from resumable_streams.process.runtime import runtime

more = threading.Event()

def source():
    yield b"before "
    more.wait(10)
    yield b"after"

mine = streams.run("parent", source, owner="a")
theirs = streams.using("elsewhere").resume("parent", owner="a")
assert next(mine) == next(theirs) == b"before "
child = os.fork()
if child == 0:
    # With a runtime of its own: what was inherited must neither answer nor be closed.
    body = b"".join(streams.run("child", [b"c", b"hild"], owner="a"))
    async def collect():
        return gc.collect()
    runtime.call_sync(collect)
    assert streams.resume("parent", owner="a", live=False)
    runtime.call_sync(runtime.aclose)
    os._exit(0 if body == b"child" else 3)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
more.set()
assert b"".join(mine) == b"".join(theirs) == b"after"
assert b"".join(streams.resume("child", owner="a")) == b"child"
runtime.call_sync(runtime.aclose)
print("fine")
"""


def test_a_forked_child_uses_connections_of_its_own_and_leaves_the_parents_alone(
    configure_redis: Configure, redis_url: str, key_prefix: str
):
    run = subprocess.run(
        [sys.executable, "-c", FORK, redis_url, key_prefix],
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.stdout == "fine\n", run.stderr


# What a producer inherits.

name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="none")


async def told():
    yield f"{translation.get_language()} {timezone.get_current_timezone_name()} {name.get()}"


async def test_language_and_time_zone_go_with_a_producer_and_context_variables_do_not(
    manager: StreamManager,
):
    name.set("of the request")
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        reader = await manager.arun("chat", told, owner="a")
    assert await read_all(reader) == b"de Asia/Tokyo none"
    plain = await read_all(await manager.arun("plain", told, owner="a"))
    assert plain.split()[0] == translation.get_language().encode()


def test_language_and_time_zone_go_with_a_producer_from_sync_code(sync_manager: StreamManager):
    def work() -> bytes:
        with translation.override("fr"), timezone.override("Asia/Tokyo"):
            return b"".join(sync_manager.run("chat", told, owner="a"))

    assert in_thread(work) == b"fr Asia/Tokyo none"


@pytest.mark.django_db(transaction=True)
async def test_a_producer_that_uses_the_database_leaves_no_connection_open(
    memory_manager: StreamManager,
):
    held = []

    async def from_database():
        for number in range(3):
            await User.objects.acreate(username=f"user-{number}")
            yield f"{await User.objects.acount()}"
        await sync_to_async(hold)()

    def hold() -> None:
        ours = connections["default"]
        ours.ensure_connection()  # one of a pool has gone back to it by now
        held.append((threading.get_ident(), ours, ours.connection is not None))

    assert await read_all(await memory_manager.arun("chat", from_database, owner="a")) == b"123"
    await asyncio.gather(*runtime._tasks)  # the producer's last steps
    ((thread, ours, was_open),) = held
    assert thread != threading.get_ident()
    assert was_open
    assert ours.connection is None


async def test_a_producer_without_sync_code_starts_no_thread(memory_manager: StreamManager):
    before = set(threading.enumerate())
    await read_all(await memory_manager.arun("chat", slowly, owner="a"))
    assert set(threading.enumerate()) <= before
