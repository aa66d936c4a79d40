"""What a producer reads from, made one async iterator of bytes.

A source is an async or sync iterable of `bytes | str`, or a callable that returns one, or returns
an awaitable of one. The callable is called on the home loop, by the elected producer only, and
must not block. A sync iterable is advanced in the producer's own thread.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from inspect import isawaitable
from typing import Any

from asgiref.sync import sync_to_async

from .holdings import kept_thread

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
    raise TypeError(f"A source yields bytes or str, not {_kind(chunk)}.")


@asynccontextmanager
async def open_source(source: Source) -> AsyncIterator[AsyncIterator[Chunk]]:
    """Open the source; whatever happens it is closed, if it can be closed."""
    opened: Any = source() if callable(source) else source
    if isawaitable(opened):
        opened = await opened
    async with AsyncExitStack() as closing:
        if isinstance(opened, AsyncIterable):
            chunks = aiter(opened)
            if chunks is not opened:  # a response, say, whose iterator is a generator
                closing.push_async_callback(_aclose, opened)
        elif isinstance(opened, Iterable) and not isinstance(opened, str | bytes | bytearray):
            chunks = _in_thread(opened)
        else:
            raise TypeError(f"A source is an iterable of bytes or str, not {_kind(opened)}.")
        closing.push_async_callback(_aclose, chunks)
        yield chunks


def _kind(value: object) -> str:
    return type(value).__name__


async def _aclose(source: Any) -> None:
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    closed = close() if close is not None else None
    if isawaitable(closed):
        await closed


async def _in_thread(source: Iterable[Chunk]) -> AsyncIterator[Chunk]:
    chunks: Iterator[Chunk] | None = None

    def advance() -> Chunk:
        nonlocal chunks
        chunks = iter(source) if chunks is None else chunks
        return next(chunks, _END)

    def close() -> None:
        opened: list[Any] = [source] if chunks is source else [chunks, source]
        for each in opened:
            if hasattr(each, "close"):
                each.close()

    with kept_thread():
        try:
            while (chunk := await sync_to_async(advance)()) is not _END:
                yield chunk
        finally:
            if hasattr(source, "close") or hasattr(chunks, "close"):
                await sync_to_async(close)()
