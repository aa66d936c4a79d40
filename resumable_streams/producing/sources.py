"""The source of a producer, made one async iterator of items.

A source is an async or sync iterable of items (see `formats.items`), or a callable that returns
one, or returns an awaitable of one. The callable is called on the home loop, by the elected
producer only, and must not block. A sync iterable is advanced in the producer's own thread.

The code of a source has two things to say to and to ask of its producer: `cancellation_reason` and
`report_usage`.
"""

import asyncio
import signal
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from ..process.green import is_main_thread
from ..process.holdings import kept_thread
from ..types import CancellationReason

__all__ = [
    "Item",
    "Iterables",
    "Source",
    "SourceContext",
    "WrongSource",
    "cancellation_reason",
    "in_thread",
    "is_for_the_process",
    "open_source",
    "refuse_wrong",
    "report_usage",
    "reported_usage",
]

Item = Any
"""Bytes, text, or what else the format of the stream can write."""

Iterables = AsyncIterable[Item] | Iterable[Item]
Source = Iterables | Callable[[], Iterables | Awaitable[Iterables]]

T = TypeVar("T")

_END: Any = object()


class SourceContext:
    """The words between a source and its producer.

    `reason` is why the source is stopped; set before it is cancelled or closed. `usage` is what the
    source has reported.
    """

    def __init__(self) -> None:
        self.reason: CancellationReason | None = None
        self.usage: dict[str, int] = {}

    def enter(self) -> None:
        """Have the code that runs in this context, and what it starts, ask and report here."""
        _context.set(self)


_context: ContextVar[SourceContext | None] = ContextVar("resumable_streams.source", default=None)


def cancellation_reason() -> CancellationReason | None:
    """Return why the source that asks is being stopped; None: it is not, or this is no source.

    For the `finally` of a source, async or sync, and what it calls. A sync source that works for
    long between two chunks asks now and then, and returns: nothing else stops a thread.
    """
    context = _context.get()
    return None if context is None else context.reason


def report_usage(**counts: int) -> None:
    """Note what a source has used so far, as in `report_usage(input_tokens=12, output_tokens=96)`.

    For a source and what it calls, also in a thread of it. The last count of each name comes with
    `stream_finalized`, as `usage`, however the stream ends. Outside of a source nothing happens.
    """
    if (context := _context.get()) is not None:
        context.usage.update(counts)


def reported_usage() -> dict[str, int]:
    """Return what the source that asks has reported so far; nothing outside of a source."""
    context = _context.get()
    return {} if context is None else dict(context.usage)


def is_for_the_process(error: BaseException) -> bool:
    """Return whether what a source raised concerns others, too: a cancellation, or a real Ctrl-C.

    SystemExit, say, or a KeyboardInterrupt that is raised by hand does not: the source has failed.
    """
    if isinstance(error, KeyboardInterrupt):
        return is_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, asyncio.CancelledError)


@asynccontextmanager
async def open_source(source: Source) -> AsyncIterator[AsyncIterator[Item]]:
    """Open the source; close it in any case, if it can be closed."""
    opened: Any = source() if callable(source) else source
    if isawaitable(opened):
        opened = await opened
    async with AsyncExitStack() as closing:
        if isinstance(opened, AsyncIterable):
            items = aiter(opened)
            if items is not opened:  # a response, say, whose iterator is a generator
                closing.push_async_callback(_aclose, opened)
        else:
            items = _advance_in_thread(refuse_wrong(opened))
        closing.push_async_callback(_aclose, items)
        yield items


class WrongSource(TypeError):
    """A value that is no source; the message says what to write."""

    def __init__(self, value: object) -> None:
        if callable(value):
            remedy = "Call it: `return answer()`, not `return answer`."
        elif isinstance(value, str | bytes | bytearray):
            remedy = "Yield it, or return it in a list."
        elif value is None:
            remedy = "A `yield` is missing, or a `return`."
        else:
            remedy = "Write a generator, or return an iterable."
        kind = type(value).__name__
        super().__init__(f"A source is an iterable of items, not {kind}. {remedy}")


def refuse_wrong(opened: Any) -> Any:
    """Return what a source was opened to; raise WrongSource if nothing can be read from it."""
    is_text = isinstance(opened, str | bytes | bytearray)
    if is_text or not isinstance(opened, AsyncIterable | Iterable):
        raise WrongSource(opened)
    return opened


async def _aclose(source: Any) -> None:
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    closed = close() if close is not None else None
    if isawaitable(closed):
        await closed


async def _advance_in_thread(source: Iterable[Item]) -> AsyncIterator[Item]:
    items: Iterator[Item] | None = None

    def advance() -> Item:
        nonlocal items
        items = iter(source) if items is None else items
        return next(items, _END)

    def close() -> None:
        opened: list[Any] = [source] if items is source else [items, source]
        for each in opened:
            if hasattr(each, "close"):
                each.close()

    with kept_thread():
        try:
            while (item := await in_thread(advance)) is not _END:
                yield item
        finally:
            if hasattr(source, "close") or hasattr(items, "close"):
                await in_thread(close)


async def in_thread(function: Callable[[], T]) -> T:
    """Call a function of the site in the producer's thread, where the ORM is allowed."""
    return await sync_to_async(_contained(function))()


def _contained(function: Callable[[], T]) -> Callable[[], T]:
    """Turn everything that a source raises in its thread into an ordinary error for the loop.

    A future does not end with a StopIteration; a GeneratorExit or CancelledError in one would not
    fail who awaits it, but close or cancel it.
    """

    def call() -> T:
        try:
            return function()
        except StopIteration as error:
            raise RuntimeError("A source raised StopIteration.") from error
        except Exception:
            raise
        except BaseException as error:
            raise RuntimeError(f"A source raised {type(error).__name__}.") from error

    return call
