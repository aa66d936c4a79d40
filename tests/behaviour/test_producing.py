"""From the source to the store: gathering, limits, bad sources."""

import asyncio
import gc
import logging
import threading

import pytest

from resumable_streams import StreamFailed, StreamManager, StreamStatus
from resumable_streams.engine import get_engine
from resumable_streams.signals import stream_appended
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished, produced
from tests.tools.streams import Configure
from tests.tools.waiting import eventually, pass_time, within

KIB = 1024


async def outcome(manager: StreamManager, source: object, **named: object) -> tuple[bytes, str]:
    """Run a source to its end; return the bytes and how it ended."""
    reader = await manager.arun(None, source, owner="a", **named)  # type: ignore[arg-type]
    data = b""
    try:
        async for part in reader:
            data += part
    except StreamFailed as failure:
        return data, failure.code
    return data, reader.info.status


# Gathering.


async def test_a_fast_source_leaves_in_few_appends_and_every_chunk_counts(
    redis_manager: StreamManager, hear
):
    appends = hear(stream_appended)

    async def fast():
        for number in range(20_000):
            yield b"%d," % number

    reader = await redis_manager.arun("chat", fast, owner="a")
    assert await read_all(reader) == b"".join(b"%d," % number for number in range(20_000))
    assert reader.info.entries == 20_000
    assert sum(append["chunks"] for append in appends) == 20_000
    assert len(appends) < 100


async def test_a_slow_source_pays_one_append_a_chunk(manager: StreamManager, hear):
    appends = hear(stream_appended)
    tap = Tap()
    reader = await manager.arun("chat", tap, owner="a")
    for number in range(10):
        tap.give(b"%d" % number)
        assert await anext(reader) == b"%d" % number
    tap.end()
    assert await read_all(reader) == b""
    assert [append["offset"] for append in appends] == list(range(10))


async def test_a_source_waits_while_the_store_is_slow(memory_manager: StreamManager):
    gate = asyncio.Event()
    yielded = 0

    async def hold(**named):
        await gate.wait()

    async def greedy():
        nonlocal yielded
        for _ in range(2_000):
            yielded += 1
            yield b"x" * KIB

    stream_appended.connect(hold)
    try:
        reader = await memory_manager.arun("chat", greedy, owner="a")
        first = await anext(reader)
        for _ in range(100):
            await asyncio.sleep(0)
        # One append is held, 256 KiB are gathered, and one chunk is in the source's hand.
        assert yielded <= len(first) // KIB + 256 + 1
        gate.set()
        assert len(first + await read_all(reader)) == 2_000 * KIB
    finally:
        stream_appended.disconnect(hold)


async def test_a_large_chunk_leaves_in_pieces_and_counts_once(manager: StreamManager, hear):
    appends = hear(stream_appended)
    large = bytes(range(256)) * 4 * KIB
    reader = await manager.arun("chat", finished([b"a", large, b"b"]), owner="a")
    assert await read_all(reader) == b"a" + large + b"b"
    assert reader.info.entries == 3
    assert max(append["size"] for append in appends) <= 256 * KIB


# Limits.


async def test_a_chunk_too_large_ends_the_stream_after_the_bytes_before_it(manager: StreamManager):
    source = finished([b"before", b"x" * (1024 * KIB + 1), b"after"])
    assert await outcome(manager, source) == (b"before", "limit_exceeded")


@pytest.mark.parametrize("gathered", [True, False])
async def test_the_limit_of_entries_is_exact(configure: Configure, manager, gathered):
    configure(LIMITS={"MAX_ENTRIES_PER_STREAM": 7})

    def source(count):
        chunks = [b"%d" % number for number in range(count)]
        return finished(chunks) if not gathered else Eager(chunks)

    assert await outcome(manager, source(7)) == (b"0123456", "done")
    assert await outcome(manager, source(8)) == (b"0123456", "limit_exceeded")
    assert await outcome(manager, source(100)) == (b"0123456", "limit_exceeded")


@pytest.mark.parametrize("gathered", [True, False])
async def test_the_limit_of_bytes_is_exact(configure: Configure, manager, gathered):
    configure(LIMITS={"MAX_STREAM_BYTES": 20})

    def source(*sizes):
        chunks = [b"x" * size for size in sizes]
        return finished(chunks) if not gathered else Eager(chunks)

    assert await outcome(manager, source(7, 7, 6)) == (b"x" * 20, "done")
    assert await outcome(manager, source(7, 7, 7, 1)) == (b"x" * 14, "limit_exceeded")
    assert await outcome(manager, source(20, 1)) == (b"x" * 20, "limit_exceeded")
    assert await outcome(manager, source(21)) == (b"", "limit_exceeded")


class Eager:
    """Yield everything within one loop turn, so that it gathers."""

    def __init__(self, chunks):
        self.chunks = iter(chunks)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self.chunks)
        except StopIteration:
            raise StopAsyncIteration from None


# Bad sources.


@pytest.mark.parametrize("bad", [None, 5, object(), ["x"]])
async def test_a_chunk_of_another_type_fails_the_stream_and_no_other(manager: StreamManager, bad):
    other = Tap(b"fine")
    reader = await manager.arun("other", other, owner="a")

    async def source():
        yield b"first"
        yield bad

    assert await outcome(manager, source) == (b"first", "source_failed")
    other.end()
    assert await read_all(reader) == b"fine"


def refuses():
    raise LookupError("no such model")


async def refuses_later():
    raise LookupError("no such model")


@pytest.mark.parametrize("source", [refuses, refuses_later, 5, None, b"bytes", "text", lambda: 5])
async def test_a_source_that_cannot_be_opened_fails_the_stream(manager: StreamManager, source):
    assert await outcome(manager, source) == (b"", "source_failed")


@pytest.mark.parametrize(
    "error", [ValueError("secret"), asyncio.CancelledError(), GeneratorExit(), StopIteration()]
)
@pytest.mark.parametrize("first", [[], [b"some"]])
async def test_what_a_source_raises_ends_the_stream_after_its_bytes(
    manager: StreamManager, error, first
):
    assert await outcome(manager, Tap(*first, error)) == (b"".join(first), "source_failed")
    gc.collect()


@pytest.mark.parametrize("debug", [True, False])
async def test_the_detail_of_an_error_is_for_debug_only(
    settings, configure: Configure, manager: StreamManager, elsewhere, debug, caplog
):
    settings.DEBUG = debug
    tap = Tap(b"x", ValueError("secret"))
    await manager.arun("chat", tap, owner="a")
    for side in (manager, elsewhere):
        with pytest.raises(StreamFailed) as failure:
            await read_all(await side.arequire_resume("chat", owner="a"))
        assert failure.value.detail == ("ValueError: secret" if debug else "")
        assert "secret" not in str(failure.value)
    faults = [record for record in caplog.records if record.name != "resumable_streams.audit"]
    assert [fault.levelno for fault in faults] == [logging.ERROR]


async def test_an_error_that_cannot_be_read_ends_the_stream_under_debug_too(
    settings, memory_manager: StreamManager
):
    class Mute(Exception):
        def __str__(self) -> str:
            raise LookupError

    settings.DEBUG = True
    reader = await memory_manager.arun("chat", Tap(b"x", Mute()), owner="a")
    async with within(5):
        with pytest.raises(StreamFailed, match="source_failed") as failure:
            await read_all(reader)
    assert failure.value.detail == "Mute"


async def test_an_error_that_names_the_store_is_still_an_error_of_the_source(manager):
    from resumable_streams import StoreUnavailable, StreamDoesNotExist, StreamLimitExceeded

    for error in (StreamDoesNotExist(), StoreUnavailable("x"), StreamFailed("expired")):
        assert await outcome(manager, Tap(b"x", error)) == (b"x", "source_failed")
    limit = StreamLimitExceeded("MAX_STREAM_BYTES", 1)
    assert await outcome(manager, Tap(b"x", limit)) == (b"x", "source_failed")


# Kinds of sources.


async def test_every_kind_of_source_works(manager: StreamManager):
    async def opened_later():
        return finished(["ä", b"b"])

    def generator():
        yield "ä"
        yield b"b"

    kinds = [
        ["ä", b"b"],
        ("ä", bytearray(b"b")),
        iter(["ä", memoryview(b"b")]),
        generator,
        generator(),
        finished(["ä", b"b"]),
        lambda: ["ä", b"b"],
        opened_later,
        Eager(["ä", b"b"]),
    ]
    for kind in kinds:
        assert await outcome(manager, kind) == ("äb".encode(), "done")


async def test_a_sync_source_runs_in_one_thread_of_its_own_and_is_closed_there(
    manager: StreamManager,
):
    threads = []

    class Slow:
        def __iter__(self):
            threads.append(threading.get_ident())
            return self.flow()

        def flow(self):
            try:
                for _ in range(3):
                    threads.append(threading.get_ident())
                    yield b"x"
            finally:
                threads.append(threading.get_ident())

    assert await outcome(manager, Slow()) == (b"xxx", "done")
    assert len(threads) == 5
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


async def test_cancelling_closes_an_async_source(manager: StreamManager, elsewhere):
    for side in (manager, elsewhere):
        tap = Tap(b"x")
        reader = await manager.arun(None, tap, owner="a")
        await read_until(reader, 1)
        assert await side.acancel(reader.stream_id, owner="a")
        async with asyncio.timeout(10):
            await tap.closed.wait()
            assert await read_all(reader) == b""
        assert reader.info.status is StreamStatus.CANCELLED


async def test_cancelling_closes_a_sync_source(manager: StreamManager):
    closed = threading.Event()
    more = threading.Event()

    def source():
        try:
            yield b"x"
            more.wait(50)
            yield b"y"
        finally:
            closed.set()

    reader = await manager.arun("chat", source, owner="a")
    await read_until(reader, 1)
    await manager.acancel("chat", owner="a")
    async with asyncio.timeout(10):  # readers need not wait for the source
        assert await read_all(reader) == b""
    more.set()
    assert await asyncio.to_thread(closed.wait, 30)


async def test_an_iterable_that_makes_its_iterator_elsewhere_is_closed_too(manager):
    class Response:
        closed = 0

        def __aiter__(self):
            return self.flow()

        async def flow(self):
            yield b"x"
            raise OSError("cut")

        async def aclose(self):
            self.closed += 1

    response = Response()
    assert await outcome(manager, response) == (b"x", "source_failed")
    assert response.closed == 1


async def test_a_source_that_does_not_close_does_not_hold_the_end_back(
    configure: Configure, manager: StreamManager, monkeypatch
):
    monkeypatch.setattr("resumable_streams.producing.producer.CLOSE_SECONDS", 0.1)
    never = asyncio.Event()

    async def stubborn():
        try:
            yield b"x"
            yield None
        finally:
            await never.wait()

    async with asyncio.timeout(10):
        assert await outcome(manager, stubborn) == (b"x", "source_failed")
    never.set()


@pytest.mark.lengthy
async def test_a_source_that_ignores_its_cancellation_is_not_listened_to(
    manager: StreamManager, monkeypatch
):
    monkeypatch.setattr("resumable_streams.producing.producer.CLOSE_SECONDS", 0.1)
    turns = 0

    async def stubborn():
        nonlocal turns
        while True:
            try:
                turns += 1
                yield b"x"
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                pass

    reader = await manager.arun("chat", stubborn, owner="a")
    await read_until(reader, 1)
    info = await manager.acancel("chat", owner="a")
    assert info is not None
    await read_all(reader)
    await produced()
    seen = turns
    await pass_time(0.05)
    assert turns == seen


async def test_an_error_while_closing_an_ended_source_is_no_failure_of_the_stream(manager):
    class Clumsy(Eager):
        async def aclose(self):
            raise OSError("already closed")

    assert await outcome(manager, Clumsy([b"x"])) == (b"x", "done")


async def test_what_a_producer_leaves_is_nothing(manager: StreamManager):
    for source in (finished([b"x"]), [b"x"], Tap(ValueError("x"))):
        await outcome(manager, source)
    await produced()
    await eventually(lambda: not get_engine("default").leases._producers)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert all(name.startswith(("resumable_streams.", "Task-")) for name in names)
    assert not [name for name in names if ".producer" in name or ".source" in name], names
    engine = get_engine("default")
    gc.collect()
    await asyncio.sleep(0)
    assert list(engine.hub.tails) == []
    assert not engine.leases._producers
