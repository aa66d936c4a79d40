"""Sources: what they may be and yield, and that they are closed."""

import asyncio
import threading

import pytest

from resumable_streams.producing.sources import open_source
from resumable_streams.testing import HANG, ScriptedSource


async def collect(source):
    async with open_source(source) as items:
        return [item async for item in items]


@pytest.mark.parametrize("source", [None, 5, b"bytes", "text", bytearray(b"x"), lambda: None])
async def test_what_cannot_be_iterated_in_chunks_is_no_source(source):
    with pytest.raises(TypeError, match="A source is an iterable"):
        await collect(source)


async def test_callables_are_called_and_awaited():
    async def later():
        return [b"x"]

    async def generator():
        yield b"x"

    for source in ([b"x"], lambda: [b"x"], later, generator, generator(), lambda: later()):
        assert await collect(source) == [b"x"]


class Recorder:
    """An iterable of both kinds of closing, which says what happened to it."""

    def __init__(self):
        self.closed = []

    async def flow(self):
        try:
            yield b"x"
            yield b"y"
        finally:
            self.closed.append("iterator")


class AsyncResponse(Recorder):
    def __aiter__(self):
        return self.flow()

    async def close(self):
        self.closed.append("response")


class SyncResponse(Recorder):
    def __iter__(self):
        self.thread = threading.get_ident()
        try:
            yield b"x"
            yield b"y"
        finally:
            self.closed.append("iterator")

    def close(self):
        assert threading.get_ident() == self.thread != threading.main_thread().ident
        self.closed.append("response")


async def fail_while_reading(source):
    async with open_source(source) as items:
        assert await anext(items) == b"x"
        raise LookupError


@pytest.mark.parametrize("kind", [AsyncResponse, SyncResponse])
async def test_iterator_and_iterable_are_closed_whatever_happens(kind):
    response = kind()
    assert await collect(response) == [b"x", b"y"]
    assert response.closed == ["iterator", "response"]
    response = kind()
    with pytest.raises(LookupError):
        await fail_while_reading(response)
    assert response.closed == ["iterator", "response"]
    response = kind()
    async with open_source(response):
        pass
    assert "response" in response.closed or kind is SyncResponse


async def test_a_cancelled_reading_closes_the_source():
    source = ScriptedSource(b"x", HANG)
    reading = asyncio.ensure_future(collect(source))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.closed.is_set()
