"""How a process tells us that it is about to end, so that `runtime` can drain in time.

No single hook exists on every server, so there are four, and whichever comes first starts the one
drain of the process; the later ones wait for the same:

    a signal             SIGTERM, SIGINT, of a process that serves requests (`serve`) and unless
                         HANDLE_SIGNALS is off: installed with the first stream, so after the
                         server's own handlers, which it calls next. Readers are released while the
                         server still serves: without that a server waits for them in vain. Only the
                         main thread can install it: the thread of a home loop sends it
                         SIGURG, if it allowed that before (`let_threads_hook_signals`)
    lifespan.shutdown    uvicorn, hypercorn, granian: with `resumable_streams.asgi`
    reactor shutdown     daphne, and runserver with it: Twisted waits for us
    interpreter exit     everything else, WSGI servers among them: threads may still run then
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any

from django.core.signals import request_started

from ..conf import handles_signals
from .green import at_exit, is_main_thread
from .runtime import runtime

__all__ = ["drain", "install", "let_threads_hook_signals", "limit_grace", "serve", "work"]

Handler = Callable[[int, FrameType | None], Any] | int | None

# Ignored by default, so that it harms nobody who is not waiting for it, and used by no server.
WAKE_SIGNAL = getattr(signal, "SIGURG", None)


def install(grace: float) -> None:
    """Hook into the server of this process; call it on the home loop, any number of times."""
    if _process.is_ours():
        _hook_signals()
    if runtime.grace is None:
        _hook_reactor()
        at_exit(_at_exit)
    runtime.grace = max(runtime.grace or 0, 0 if _is_reloading() else grace)


def limit_grace(graces: Collection[float]) -> None:
    """Take what is at work now as the only measure of a drain's patience; settings have changed."""
    if runtime.grace is not None:
        runtime.grace = 0 if _is_reloading() else max(graces, default=0.0)


class _Process:
    """The role of this process: a server, our worker, or somebody else's (a shell, a test)."""

    serves = False
    works = False

    def is_ours(self) -> bool:
        """Return whether its SIGTERM and SIGINT are for us to handle, too."""
        return self.works or (self.serves and handles_signals() and not _is_test())


_process = _Process()


def serve() -> None:
    """Say that this process serves requests, so that a signal which ends it is to drain it first.

    A shell, a script, a management command or a test says nothing: its handlers stay its own.
    """
    if not _process.serves:
        _process.serves = True
        request_started.disconnect(_request_came)
        _hook_late()


def work() -> None:
    """Say that this process is our worker: its signals are handled even with HANDLE_SIGNALS off."""
    _process.works = True


def _hook_late() -> None:
    """Handle signals where streams were at work before the first request came."""
    if runtime.grace is not None and _process.is_ours():
        runtime.home().call_soon_threadsafe(_hook_signals)


def _request_came(**named: object) -> None:
    if not _is_test():  # where it is the test's client that asks
        serve()


request_started.connect(_request_came)


def _is_test() -> bool:
    """Return whether Django's test environment is set up."""
    return hasattr(sys.modules.get("django.core.mail"), "outbox")


def _is_reloading() -> bool:
    """Return whether the autoreloader runs us: a developer saves a file and wants it now."""
    return os.environ.get("RUN_MAIN") == "true"


async def drain() -> None:
    """Drain this process; idempotent, from any loop."""
    await runtime.call(runtime.drain)


def let_threads_hook_signals() -> None:
    """Let other threads have the main thread, where we are, install our signal handlers.

    Holds for the forks of this process, too, also where a server then sets handlers of its own.
    Does nothing in another thread, nor in uWSGI, whose master must keep its own handlers, nor with
    HANDLE_SIGNALS off.
    """
    _process.serves = True
    if is_main_thread() and WAKE_SIGNAL and "uwsgi" not in sys.modules and _process.is_ours():
        signal.signal(WAKE_SIGNAL, _woken)


def _woken(number: int, frame: FrameType | None) -> None:
    _hook_signals()


def _hook_signals() -> None:
    if not is_main_thread():
        if WAKE_SIGNAL and signal.getsignal(WAKE_SIGNAL) is _woken:
            os.kill(os.getpid(), WAKE_SIGNAL)
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        previous = signal.getsignal(number)
        # A process that ignores the signal, or whose handler is not Python's, keeps it that way.
        if previous not in (None, signal.SIG_IGN) and not isinstance(previous, _DrainingHandler):
            signal.signal(number, _DrainingHandler(previous))


class _DrainingHandler:
    """A signal handler that starts the drain, then calls the previous handler."""

    def __init__(self, previous: Handler):
        self._previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if callable(self._previous):
            runtime.start_drain()
            self._previous(number, frame)
        else:  # the default action is to end: let it, once we have drained; a second signal will
            signal.signal(number, signal.SIG_DFL)
            runtime.start_drain(then=lambda: os.kill(os.getpid(), number))


def _hook_reactor() -> None:
    reactor = getattr(sys.modules.get("twisted.internet"), "reactor", None)
    if reactor is None or not reactor.running:
        return
    from twisted.internet.defer import Deferred

    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: Deferred.fromFuture(asyncio.ensure_future(drain()))
    )


def _at_exit() -> None:
    """Drain when the interpreter ends and the home loop's thread still runs."""
    if runtime.has_thread:
        runtime.call_sync(runtime.drain)
        runtime.call_sync(runtime.aclose)
