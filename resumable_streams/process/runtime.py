"""The home loop of the process, and the tasks that outlive a request.

Everything that holds a connection lives on one event loop, the *home loop*: under ASGI the
server's own (adopted with the first stream), from sync code and short-lived loops a daemon thread
with a loop of its own. Callers on other loops hop to it. One client a process, not one a loop:
a loop per `async_to_sync` call would leak a connection each.

A producer is detached from the request that started it: a task with a fresh context (the request's
points at an executor that is gone by then), and its own thread for sync code with its own database
connections, both there while it uses them. The runtime holds it until it is done.

`drain` is how a process ends without losing answers: no new producers, readers sent elsewhere,
running producers given time, the rest interrupted in writing.
"""

import asyncio
import contextvars
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.utils import timezone, translation

from ..compat import (
    have_shared_sync_code_run_by,
    have_sync_code_run_by,
    running_loop,
    runs_one_call,
    sync_code_in,
)
from ..exceptions import ShuttingDown
from .green import EVENTLET, Greenlets, Mailbox, is_eventlet, is_green, mailbox, start_real_thread
from .holdings import TransientThread
from .threads import Asker, AskingLoop, AskingThread, asker

__all__ = ["Resource", "Runtime", "runtime"]

logger = logging.getLogger("resumable_streams.runtime")

P = ParamSpec("P")
T = TypeVar("T")

THREAD_LINGERS_SECONDS = 0.05
INTERRUPT_SECONDS = 15.0
ASYNC_VIEW = (
    "Under gevent, streams are used by sync code, with the sync verbs, and by the views of this "
    "package: the event loop of an async view would keep every other greenlet off the database. "
    "(The views of this package need gevent to have patched the process before they are imported: "
    "no --preload.)"
)


class Resource(Protocol):
    """Something that lives on the home loop."""

    def release_readers(self) -> None:
        """End the readers with ShuttingDown; producers go on."""

    async def aclose(self) -> None:
        """Close everything."""

    async def retire(self) -> None:
        """End what is at work, as a drain without grace does, then close everything."""


class Runtime:
    """The home loop of this process, for code on any loop or thread."""

    def __init__(self) -> None:
        self.grace: float | None = None
        """How long a drain waits for producers, in seconds; None until something is at work."""
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._drain: asyncio.Task[None] | None = None
        self.drain_started = asyncio.Event()  # for those on the home loop
        self.before_interrupting: list[Callable[[], Awaitable[object]]] = []
        self.has_thread = False
        self.is_draining = False
        self.resources: dict[str, Resource] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def home(self) -> asyncio.AbstractEventLoop:
        """Return the home loop; find it a new one after a fork, or when its loop is gone."""
        loop = self._loop
        if loop is not None and self._lasts(loop):
            return loop
        if is_eventlet():
            raise RuntimeError(EVENTLET)
        with self._lock:
            loop = self._loop
            if loop is None or not self._lasts(loop):
                self._forget()
                loop = _lasting_loop()
                self.has_thread = loop is None
                self._loop = loop = loop or _start_thread()
            return loop

    def _lasts(self, loop: asyncio.AbstractEventLoop) -> bool:
        # A loop of ours takes calls before its thread has come to run it.
        return loop.is_running() or (self.has_thread and not loop.is_closed())

    def is_home(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether a loop that was the home loop still is."""
        return loop is self._loop and self._lasts(loop)

    @property
    def is_open(self) -> bool:
        """Whether there is anything for `aclose` to close, a thread of ours included."""
        return bool(self.resources or self._retiring or self.has_thread)

    @property
    def detached(self) -> frozenset[asyncio.Task[None]]:
        """The tasks that outlive the requests which started them, producers above all."""
        return frozenset(self._tasks)

    async def call(
        self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await `function` on the home loop, from any loop."""
        if self.home() is asyncio.get_running_loop():
            return await function(*args, **kwargs)
        if is_green():
            raise RuntimeError(ASYNC_VIEW)
        return await asyncio.wrap_future(
            self._hop(partial(function, *args, **kwargs), AskingLoop())
        )

    def call_sync(
        self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Wait for `function` on the home loop, from a thread that runs no loop.

        Raises SynchronousOnlyOperation in one that does.
        """
        if running_loop() is not None:
            raise SynchronousOnlyOperation("An event loop runs in this thread: use the async form.")
        thread = AskingThread()
        future = self._hop(partial(function, *args, **kwargs), thread)
        try:
            return thread.wait_for(future)
        except BaseException:
            future.cancel()
            raise

    def _hop(self, work: Callable[[], Awaitable[T]], who: Asker) -> Future[T]:
        async def asked() -> T:
            asker.set(who)
            if is_green() and isinstance(who, AskingThread):
                have_sync_code_run_by(who)  # all of it: Django's part of a view, too
            return await work()

        # The language and the time zone of a thread are invisible to other threads.
        there = _localized(asked, translation.get_language(), timezone.get_current_timezone())
        return asyncio.run_coroutine_threadsafe(there, self.home())

    def detach(self, work: Callable[[], Awaitable[None]], *, name: str) -> asyncio.Task[None]:
        """Start `work` on the home loop (where the caller is), apart from the caller's context.

        The caller's language and time zone go with it; cancellation, context variables, the
        executor and the database connections of the request do not.
        """
        if self.is_draining:
            raise ShuttingDown
        language, zone = translation.get_language(), timezone.get_current_timezone()
        task = asyncio.get_running_loop().create_task(
            _localized(partial(_isolated, work), language, zone),
            name=name,
            context=contextvars.Context(),
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def start_drain(self, then: Callable[[], None] | None = None) -> None:
        """Start to drain, from any thread or a signal handler; call `then` when that is done."""
        self.is_draining = True
        loop = self._loop
        if loop is None or not loop.is_running():
            if then:
                then()
        else:
            loop.call_soon_threadsafe(self._drain_then, then)

    def _drain_then(self, then: Callable[[], None] | None) -> None:
        task = self._draining(self.grace or 0)
        if then:
            task.add_done_callback(lambda _: then())

    async def drain(self) -> None:
        """Refuse new producers, end readers, give producers `grace` seconds, interrupt the rest.

        Happens once: later callers wait for the same drain. Readers end without a terminal
        frame, so that their clients resume elsewhere.
        """
        await asyncio.shield(self._draining(self.grace or 0))

    def _draining(self, grace: float) -> asyncio.Task[None]:
        self.is_draining = True
        self.drain_started.set()
        if self._drain is None:
            self._drain = asyncio.create_task(
                self._drain_within(grace), name="resumable_streams.drain"
            )
        return self._drain

    async def _drain_within(self, grace: float) -> None:
        for resource in list(self.resources.values()):
            resource.release_readers()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        if self._tasks:
            await self._call_last()
        pending = list(self._tasks)
        for task in pending:
            task.cancel()  # a producer answers by finalizing its stream as interrupted
        if pending:  # one whose thread is stuck has done so, and is left behind
            await asyncio.wait(pending, timeout=INTERRUPT_SECONDS)

    async def _call_last(self) -> None:
        """Let those act who can have somebody else go on with what we would interrupt."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INTERRUPT_SECONDS):
                calls = [call() for call in self.before_interrupting]
                await asyncio.gather(*calls, return_exceptions=True)

    async def aclose(self) -> None:
        """Drain (without grace, unless a drain is under way) and close every connection.

        The next use starts afresh.
        """
        await self._draining(0)
        for resource in list(self.resources.values()):
            await resource.aclose()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self.has_thread:
            # Late enough for our own answer to reach the thread that waits for it.
            asyncio.get_running_loop().call_later(THREAD_LINGERS_SECONDS, _stop_loop)
        self._forget()

    def retire(self, name: str) -> None:
        """Close a resource whose settings have changed; the next use makes a new one.

        From a thread without a loop this waits until it is closed.
        """
        resource, loop = self.resources.pop(name, None), self._loop
        if resource is None or loop is None or loop.is_closed():
            return
        here = running_loop()
        if here is loop:
            self._retire(resource)
        elif here is None and self._lasts(loop):
            self.call_sync(resource.retire)
        else:  # another loop must not wait; and that of a test may stand still just now
            loop.call_soon_threadsafe(self._retire, resource)

    def _retire(self, resource: Resource) -> None:
        task = asyncio.create_task(resource.retire(), name="resumable_streams.retire")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


def _lasting_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running loop, unless it lives for one `async_to_sync` call only."""
    loop = running_loop()
    return None if runs_one_call(loop) else loop


def _start_thread() -> asyncio.AbstractEventLoop:
    started: Mailbox[asyncio.AbstractEventLoop] = mailbox()

    def serve() -> None:
        loop = asyncio.new_event_loop()
        if is_green():
            loop.set_default_executor(Greenlets())
        started.put(loop)
        while not loop.is_closed():
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:  # of a task that a source has started
                logger.error("A task raised %s; the others go on.", type(error).__name__)
            else:
                loop.close()

    if is_green():
        have_shared_sync_code_run_by(TransientThread())
    start_real_thread(serve, name="resumable_streams")
    return started.get()


def _stop_loop() -> None:
    asyncio.get_running_loop().stop()


async def _localized(work: Callable[[], Awaitable[T]], language: str | None, zone: Any) -> T:
    if language is not None:
        translation.activate(language)
    timezone.activate(zone)
    return await work()


async def _isolated(work: Callable[[], Awaitable[None]]) -> None:
    thread = TransientThread()
    async with sync_code_in(thread):
        try:
            await work()
        finally:
            await asyncio.shield(asyncio.wrap_future(thread.end()))


runtime = Runtime()
"""The runtime of this process."""
