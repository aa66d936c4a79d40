"""The thread in which sync code runs for a request or a producer, where the ORM is allowed.

Receivers of signals are such code. They run on the home loop's behalf, but not on it, and best
where their request is: there are its database connection and, in a test, its transaction.

    the home loop is the request's own       asgiref's rule: the thread of the request
    the request is on another loop           the same rule, applied there
    a thread waits for the home loop         in that thread, while it waits
    a producer                               the producer's own thread

A thread may be busy, with a source that blocks it for minutes, say. Then the call gets a thread of
its own. Calls that nobody waits for run in one thread of the process, in order.
"""

import asyncio
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from .green import Mailbox, lock, mailbox
from .holdings import TransientThread, lets_go_by_itself

__all__ = ["Asker", "AskingLoop", "AskingThread", "asker", "end_background", "run_soon", "run_sync"]

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_SECONDS = 1.0

_UNSET: Any = object()
_kept: set[asyncio.Task[Any]] = set()


class Asker(Protocol):
    """The caller of something on the home loop, waiting elsewhere until it is done."""

    async def run(self, function: Callable[[], T]) -> T:
        """Call `function` in the thread of who asks; raise RuntimeError where it waits no more."""


asker: ContextVar[Asker | None] = ContextVar("resumable_streams.asker", default=None)
"""Who asked for what the current task does; None on the home loop itself."""


class AskingLoop:
    """A task on another event loop, such as the loop of one `async_to_sync` call."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()

    async def run(self, function: Callable[[], T]) -> T:
        if not self._loop.is_running():
            raise RuntimeError("The loop that asked has ended.")
        # In a copy of its context, since that knows the thread of the request.
        there = self._context.copy()
        call = sync_to_async(function)()
        return await asyncio.wrap_future(
            there.run(asyncio.run_coroutine_threadsafe, call, self._loop)
        )


class AskingThread(Executor):
    """A thread that waits for the home loop and, meanwhile, runs what is meant for it.

    Later calls run in a thread of their own.
    """

    def __init__(self) -> None:
        self._calls: Mailbox[Callable[[], None] | None] = mailbox()
        self._changing = lock()  # whether it waits
        self._waits = True

    def wait_for(self, future: Future[T]) -> T:
        """Return the result of `future`; for the thread itself."""
        future.add_done_callback(lambda _: self._calls.put(None))
        try:
            while (call := self._calls.get()) is not None:
                call()
        finally:
            self._run_what_is_left()
        return future.result()

    def _run_what_is_left(self) -> None:
        with self._changing:
            self._waits = False
        while not self._calls.empty():
            if (call := self._calls.get()) is not None:
                call()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with self._changing:
            if self._waits:
                self._calls.put(partial(_fulfil, future, partial(fn, *args, **kwargs)))
                return future
        return TransientThread().submit(fn, *args, **kwargs)

    async def run(self, function: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self.submit(function))


def _fulfil(future: Future[T], function: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except Exception as error:
        future.set_exception(error)
    except BaseException as error:  # Ctrl-C is for the thread that waits, not for the home loop
        future.set_exception(RuntimeError(f"{type(error).__name__} in the thread that waits."))
        raise
    else:
        future.set_result(result)


class _Call(Generic[T]):
    """A call that only the first to come makes."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._taken = threading.Lock()

    def take(self) -> bool:
        """Return whether the caller is the first, and is to make the call."""
        return self._taken.acquire(blocking=False)

    def __call__(self) -> T | None:
        return closing_what_it_opens(self._function) if self.take() else None


async def run_sync(function: Callable[[], T]) -> T:
    """Call `function` in the thread of the current request or producer; in another if that is busy.

    Context variables that it sets are the caller's, as with `sync_to_async`. A cancellation of the
    caller does not stop it.
    """
    call, context = _Call(function), contextvars.copy_context()
    there = asker.get()
    coroutine = sync_to_async(call)() if there is None else there.run(call)
    task = _keep(coroutine, context)
    await asyncio.wait([task], timeout=PATIENCE_SECONDS)
    if call.take():  # nobody came to it: the thread is busy, or gone
        context = contextvars.copy_context()
        task = _keep(_in_thread_of_its_own(function), context)
    result = await asyncio.shield(task)
    _adopt(context)
    return result  # type: ignore[return-value]


def _keep(coroutine: Awaitable[T], context: contextvars.Context) -> asyncio.Task[T]:
    async def run() -> T:
        return await coroutine

    task = asyncio.get_running_loop().create_task(
        run(), name="resumable_streams.sync", context=context
    )
    _kept.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[Any]) -> None:
    _kept.discard(task)
    if not task.cancelled():
        task.exception()  # one that waits no more is replaced, and nobody asks


def _adopt(context: contextvars.Context) -> None:
    for variable, value in context.items():
        if variable.get(_UNSET) is not value:
            variable.set(value)


async def _in_thread_of_its_own(function: Callable[[], T]) -> T:
    executor: Any = TransientThread()
    try:
        return await sync_to_async(function, thread_sensitive=False, executor=executor)()
    finally:
        executor.end()


def closing_what_it_opens(function: Callable[[], T]) -> T:
    """Call `function`, then close the database connections that it opened in this thread.

    One that was open before is its owner's; inside `atomic`, a test's say, none is closed.
    """
    if lets_go_by_itself():
        return function()
    before = {one.alias for one in connections.all(initialized_only=True) if one.connection}
    try:
        return function()
    finally:
        for one in connections.all(initialized_only=True):
            if one.alias not in before and not one.in_atomic_block:
                one.close()


_background: TransientThread | None = None


def _reset() -> None:
    global _background
    _background = None


os.register_at_fork(after_in_child=_reset)


def run_soon(function: Callable[[], object]) -> None:
    """Have `function` called after those before it; raise RuntimeError where the process ends.

    Its exceptions are lost.
    """
    global _background
    if _background is None:
        _background = TransientThread()
    _background.submit(function)


def end_background() -> Future[None]:
    """End the thread of `run_soon` after the calls that are there; tell when."""
    if _background is None:
        done: Future[None] = Future()
        done.set_result(None)
        return done
    return _background.end()
