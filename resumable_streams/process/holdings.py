"""The threads in which requests and producers run sync code, the ORM included.

asgiref gives a context one thread for as long as the context lives, and Django keeps the database
connections that were opened in it. For a request of milliseconds that is right. A stream lives for
minutes, and at rest it holds nothing of the site's: neither a connection, of which a pool may have
four, nor a thread.

    a producer    runs its sync code in a `TransientThread` from the start
    a request     releases its thread of asgiref (`let_go`) before it acquires or resumes, since
                  receivers may need a connection that other waiting requests hold; and before its
                  body. Its later sync code also runs in a `TransientThread`
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ..compat import (
    blocks_a_thread,
    executor_here,
    replace_executor,
    running_loop,
    watch_cursors,
)
from .databases import are_pooled, close_all, close_idle, is_any_open
from .green import Mailbox, lock, mailbox, start_thread

__all__ = ["TRANSIENT", "TransientThread", "kept_thread", "let_go", "lets_go_by_itself"]

P = ParamSpec("P")
T = TypeVar("T")

LINGER_SECONDS = 0.05
"""How long a thread waits for another job before it lets go: most queries come in company."""

TRANSIENT = "resumable_streams.transient"
"""The name of these threads."""

EVERY_SECONDS = 1.0
"""How often connections without a pool are closed at most while there are jobs: opening costs."""

_Job = tuple[Future[Any], Callable[[], Any]]


class TransientThread(Executor):
    """An executor of one thread, which comes with a job and goes when there is nothing to do.

    Jobs run in order, one at a time. Connections go back to a pool after each; others are closed
    within a second, where jobs come without a pause between two of them. While a transaction or a
    cursor is open, or a sync source runs (`kept`), the thread stays.
    """

    def __init__(self) -> None:
        self._jobs: Mailbox[_Job] = mailbox()
        self._changing = lock()  # whether there is a thread
        self._has_thread = False
        self._is_ending = False
        self._keepers = 0
        self._opened_at: float | None = None
        self._closed_at = -EVERY_SECONDS
        self._due = math.inf

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with self._changing:
            if not self._has_thread:
                # Raises where the interpreter ends.
                start_thread(self._work, name=TRANSIENT)
                self._has_thread = True
            self._jobs.put((future, partial(fn, *args, **kwargs)))
        return future

    def end(self) -> Future[None]:
        """Close every connection after the jobs that are there, and end the thread; tell when.

        Starts no thread, so it does no harm while the interpreter ends. A later job starts anew.
        """
        future: Future[None] = Future()
        with self._changing:
            if not self._has_thread:
                future.set_result(None)
            else:
                self._jobs.put((future, self._close_all))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        future = self.end()
        if wait and running_loop() is None:  # older asgiref asks on the loop
            future.result()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the thread, once it is there: a sync source expects to stay in one."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1

    # In the thread.

    def _work(self) -> None:
        _here.is_transient = True
        while (job := self._next()) is not None:
            _do(*job)
            del job  # or its result would live until the next one
            self._plan()

    def _next(self) -> _Job | None:
        """Wait for a job; None: the thread has left."""
        while True:
            if time.monotonic() >= self._due:
                self._let_go()
            try:
                return self._jobs.get(timeout=self._pause())
            except Empty:
                self._let_go()
                if self._leave():
                    return None

    def _plan(self) -> None:
        """Settle when to let go of what is open, if no other job changes that."""
        now = time.monotonic()
        if not is_any_open():
            self._opened_at, self._due = None, math.inf
        elif are_pooled():  # to give them back costs nothing, and somebody may wait for them
            self._due = now
        else:
            self._opened_at = now if self._opened_at is None else self._opened_at
            # A sync source is asked for its next chunk at once: there is no pause to wait for.
            lingered = now if self._keepers else now + LINGER_SECONDS
            self._due = max(
                min(lingered, self._opened_at + EVERY_SECONDS), self._closed_at + EVERY_SECONDS
            )

    def _pause(self) -> float:
        """Return for how many seconds to wait for a job, before looking around."""
        if self._is_ending:
            return 0.0
        if self._due < math.inf:
            return max(self._due - time.monotonic(), 0.0)
        return EVERY_SECONDS if self._keepers else LINGER_SECONDS

    def _let_go(self) -> None:
        if is_any_open():
            close_idle()
            self._opened_at, self._closed_at = None, time.monotonic()
        # What is still open is in use: that may end without a job, when a cursor is forgotten.
        self._due = time.monotonic() + EVERY_SECONDS if is_any_open() else math.inf

    def _leave(self) -> bool:
        with self._changing:
            # An interpreter that ends waits for this thread: nobody comes back to what is open.
            is_over = self._is_ending or not threading.main_thread().is_alive()
            stays = self._keepers or is_any_open()
            if not self._jobs.empty() or (stays and not is_over):
                return False
            self._has_thread = self._is_ending = False
            return True

    def _close_all(self) -> None:
        close_all()
        self._is_ending = True


def _do(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


async def let_go() -> None:
    """Close what the sync code of this request has opened, and give its thread back.

    Where a sync caller waits for us (a sync middleware, WSGI) the thread is that caller's, and
    stays; in a transaction, such as that of a TestCase, both stay.
    """
    with suppress(RuntimeError):  # the interpreter ends: nothing is to be given back to anybody
        if blocks_a_thread():
            await sync_to_async(close_idle)()
        else:
            await _let_go_of_executor()


async def _let_go_of_executor() -> None:
    executor = executor_here()
    if executor is None or isinstance(executor, TransientThread):
        return
    is_free = await asyncio.shield(asyncio.wrap_future(executor.submit(close_idle)))
    # From here on in one turn of the loop. A query that was queued behind our job may have opened
    # a connection: so there is one more job, and it is the last one.
    if is_free and replace_executor(executor, TransientThread()):
        executor.submit(close_idle)
        executor.shutdown(wait=False)


@contextmanager
def kept_thread() -> Iterator[None]:
    """Have the sync code of a producer run in one and the same thread from here on."""
    executor = executor_here()
    if isinstance(executor, TransientThread):
        with executor.kept():
            yield
    else:
        yield


_here = threading.local()


def lets_go_by_itself() -> bool:
    """Return whether this is a thread that closes by itself what its jobs leave open."""
    return hasattr(_here, "is_transient")


def _watch(connection: BaseDatabaseWrapper, **named: Any) -> None:
    watch_cursors(connection)


connection_created.connect(_watch, dispatch_uid="resumable_streams.holdings")
