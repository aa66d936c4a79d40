"""Readers that end with an error and that nobody closes: nothing of them stays."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from resumable_streams import StoreUnavailable, StreamFailed, StreamManager, StreamReader
from resumable_streams.engine import get_engine
from resumable_streams.exceptions import StreamError
from resumable_streams.producing.buffer import ChunkBuffer
from resumable_streams.reading.tail import Tail
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.testing.acts import KEY, look, start
from resumable_streams.types import Limits
from tests.tools.readers import settled
from tests.tools.sources import Tap
from tests.tools.waiting import eventually

READERS = 20

End = Callable[[StreamManager, Tail], Awaitable[object]]


class Baggage:
    """Something large that a caller has at hand while it reads."""


async def read_unclosed(reader: StreamReader, baggage: Baggage) -> StreamError:
    """Read as the README shows it; return the error for the moment it takes to look at it."""
    try:
        async for _ in reader:
            pass
    except StreamError as error:
        return error
    raise AssertionError("It ended without an error.")


async def read_and_forget(reader: StreamReader, baggage: Baggage) -> None:
    await read_unclosed(reader, baggage)


async def delete(manager: StreamManager, tail: Tail) -> None:
    await manager.adelete("chat", owner="a")


async def lose_the_store(manager: StreamManager, tail: Tail) -> None:
    tail.fail(StoreUnavailable("default"))


@pytest.mark.parametrize("end", [delete, lose_the_store])
async def test_nothing_of_a_reader_stays_that_ended_with_an_error(
    manager: StreamManager, elsewhere: StreamManager, end: End
):
    tap = Tap(b"abc")
    running = await manager.arun("chat", tap, owner="a")
    hub = get_engine(elsewhere.alias).hub
    kept: list[weakref.ref[object]] = []

    async def read() -> None:
        reading = []
        for _ in range(READERS):
            baggage, reader = Baggage(), await elsewhere.arequire_resume("chat", owner="a")
            kept.extend([weakref.ref(baggage), weakref.ref(reader)])
            reading.append(asyncio.create_task(read_and_forget(reader, baggage)))
        await settled(reader)
        await end(manager, next(iter(hub._tails.values())))
        await asyncio.gather(*reading)

    await read()
    await eventually(lambda: not hub.tails)
    gc.collect()
    assert [one() for one in kept if one() is not None] == []
    running.close()
    tap.end()


@pytest.mark.parametrize("end", [delete, lose_the_store])
async def test_each_reader_raises_an_exception_of_its_own(
    manager: StreamManager, elsewhere: StreamManager, end: End
):
    tap = Tap(b"abc")
    running = await manager.arun("chat", tap, owner="a")
    hub = get_engine(elsewhere.alias).hub
    readers = [await elsewhere.arequire_resume("chat", owner="a") for _ in range(READERS)]
    reading = [asyncio.create_task(read_unclosed(one, Baggage())) for one in readers]
    await settled(readers[-1])
    await end(manager, next(iter(hub._tails.values())))
    errors = await asyncio.gather(*reading)
    assert len({id(error) for error in errors}) == READERS
    assert len({str(error) for error in errors}) == 1
    assert {depth(error) for error in errors} == {depth(errors[0])}
    running.close()
    tap.end()


def depth(error: BaseException) -> int:
    """Return how many frames a traceback has."""
    frames, entry = 0, error.__traceback__
    while entry is not None:
        frames, entry = frames + 1, entry.tb_next
    return frames


async def test_readers_of_one_page_raise_exceptions_of_their_own(key_prefix: str):
    """They share the read, not what comes of it."""
    store = MemoryStore(alias="a", key_prefix=key_prefix, location=None, limits=Limits())
    await store.append(KEY, await start(store), 0, b"abc")
    tail = Tail(store, await look(store), KEY)
    await store.delete(KEY)
    pages = [tail.next(0) for _ in range(READERS)]
    errors = await asyncio.gather(*pages, return_exceptions=True)
    assert {type(error) for error in errors} == {StreamFailed}
    assert len({id(error) for error in errors}) == READERS


async def test_a_reader_that_ended_with_an_error_is_closed(manager: StreamManager):
    tap = Tap(b"abc")
    reader = await manager.arun("chat", tap, owner="a")
    await manager.adelete("chat", owner="a")
    with pytest.raises(StreamFailed):
        async for _ in reader:
            pass
    assert reader.info.size == 0 or reader.offset in (0, 3)
    assert [data async for data in reader] == []


async def test_what_a_producer_raises_is_not_what_it_keeps():
    buffer = ChunkBuffer()
    kept = StreamFailed("data_lost")
    buffer.close(kept)
    with pytest.raises(StreamFailed) as raised:
        await buffer.take()
    assert raised.value is not kept
    assert kept.__traceback__ is None
