"""What a producer reads from, made one async iterator of bytes.

A source is an async or sync iterable of `bytes | str`, or a callable that returns one, or returns
an awaitable of one. The callable is called on the home loop, by the elected producer only, and
must not block. A sync iterable is advanced in the producer's own thread.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any

from asgiref.sync import sync_to_async

__all__ = ["Chunk", "Source", "encode", "open_source"]

Chunk = bytes | str
Iterables = AsyncIterable[Chunk] | Iterable[Chunk]
Source = Iterables | Callable[[], Iterables | Awaitable[Iterables]]

_END: Any = object()


def encode(chunk: object) -> bytes:
    """Return the chunk as bytes, text as UTF-8; raise TypeError for anything else."""
    if type(chunk) is bytes:
        return chunk
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    raise TypeError(f"A source yields bytes or str, not {type(chunk).__name__}.")


@asynccontextmanager
async def open_source(source: Source) -> AsyncIterator[AsyncIterator[Chunk]]:
    """Open the source; whatever happens it is closed, if it can be closed."""
    opened: Any = source() if callable(source) else source
    if isawaitable(opened):
        opened = await opened
    if isinstance(opened, AsyncIterable):
        chunks = aiter(opened)
    elif isinstance(opened, Iterable) and not isinstance(opened, str | bytes | bytearray):
        chunks = _in_thread(iter(opened))
    else:
        raise TypeError(f"A source is an iterable of bytes or str, not {type(opened).__name__}.")
    try:
        yield chunks
    finally:
        aclose = getattr(chunks, "aclose", None)
        if aclose is not None:
            await aclose()


async def _in_thread(iterator: Iterator[Chunk]) -> AsyncIterator[Chunk]:
    advance = sync_to_async(lambda: next(iterator, _END))
    try:
        while (chunk := await advance()) is not _END:
            yield chunk
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            await sync_to_async(close)()
