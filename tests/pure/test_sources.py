"""Sources: what they may be and yield, and that they are closed."""

import asyncio
import threading

import pytest

from resumable_streams.producing.sources import encode, open_source


@pytest.mark.parametrize(
    ("chunk", "data"),
    [
        (b"x", b"x"),
        (b"", b""),
        ("", b""),
        ("ä€😀", b"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"abc")[1:], b"bc"),
        (bytes(range(256)), bytes(range(256))),
    ],
)
def test_bytes_stay_as_they_are_and_text_is_utf8(chunk, data):
    assert encode(chunk) == data
    assert type(encode(chunk)) is bytes


@pytest.mark.parametrize("chunk", [None, 1, 1.5, ["x"], {"x": 1}, object()])
def test_anything_else_is_no_chunk(chunk):
    with pytest.raises(TypeError, match="yields bytes or str"):
        encode(chunk)


def test_text_that_is_not_unicode_is_no_chunk():
    with pytest.raises(UnicodeEncodeError):
        encode("\ud800")


async def collect(source):
    async with open_source(source) as chunks:
        return [chunk async for chunk in chunks]


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
    async with open_source(source) as chunks:
        assert await anext(chunks) == b"x"
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
    closed = asyncio.Event()

    async def source():
        try:
            yield b"x"
            await asyncio.Event().wait()
        finally:
            closed.set()

    reading = asyncio.ensure_future(collect(source))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert closed.is_set()
