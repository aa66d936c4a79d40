"""The differences in a process that gevent has patched, where a thread is a greenlet.

All greenlets share one OS thread, and asyncio knows one running loop for each OS thread: a loop in
a greenlet would be seen by every other one, and Django refuses the ORM to code that sees a loop. So
the home loop gets a real thread there, and everything sync stays in greenlets of the main thread,
where connections, pools and locks of the site belong. Between the two, only `mailbox` and
`Greenlets` hand anything over: both wake the main thread in the one way gevent has for it.

Without gevent these are the plain things. eventlet has no such way: it is refused.
"""

import atexit
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, Protocol, TypeVar

from ..compat import call_at_exit

__all__ = [
    "EVENTLET",
    "Greenlets",
    "Mailbox",
    "at_exit",
    "is_eventlet",
    "is_green",
    "is_main_thread",
    "lock",
    "mailbox",
    "start_real_thread",
    "start_thread",
]

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")

TURN_SECONDS = 1.0

EVENTLET = (
    "Streams do not work in a process that eventlet has patched: a greenlet cannot wait for an "
    "event loop in another thread there. Use gunicorn with -k gevent, gthread or uvicorn_worker."
)

_main_hub: Any = None


def is_green() -> bool:
    """Return whether gevent has made greenlets of the threads of this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


def is_eventlet() -> bool:
    """Return whether eventlet has."""
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and patcher.is_monkey_patched("thread")


def is_main_thread() -> bool:
    """Return whether this is the main thread of the process, in any greenlet of it."""
    if is_green():
        return bool(_hub_here().main_hub)
    return threading.current_thread() is threading.main_thread()


def _hub_here() -> Any:
    from gevent import get_hub

    return get_hub()


def _main() -> Any:
    """Return the hub of the main thread, where the greenlets of the site run."""
    global _main_hub
    if _main_hub is None or _main_hub.dead:  # dead: we are a fork
        hub = _hub_here()
        if not hub.main_hub:
            raise RuntimeError("Under gevent, the first stream has to be used in the main thread.")
        _main_hub = hub
    return _main_hub


def _in_main_thread(callback: Callable[..., object], *arguments: object) -> None:
    """Have the hub of the main thread call back, soon; from any thread."""
    _main().loop.run_callback_threadsafe(callback, *arguments)


def lock() -> AbstractContextManager[Any]:
    """Return a lock for a few lines that never wait, between any threads."""
    if not is_green():
        return threading.Lock()
    from gevent.monkey import get_original

    made: AbstractContextManager[Any] = get_original("_thread", "allocate_lock")()
    return made


def start_thread(function: Callable[[], object], *, name: str, daemon: bool = False) -> None:
    """Run sync code beside all other: in a thread, or in a greenlet of the main thread."""
    if is_green():
        from gevent import spawn

        _in_main_thread(spawn, function)
    else:
        threading.Thread(target=function, name=name, daemon=daemon).start()


def start_real_thread(function: Callable[[], object], *, name: str) -> None:
    """Run a function in a thread of the operating system."""
    if is_green():
        from gevent.monkey import get_original

        _main()  # remembered before anybody asks for it from elsewhere
        get_original("_thread", "start_new_thread")(function, ())
    else:
        threading.Thread(target=function, name=name, daemon=True).start()


def at_exit(function: Callable[[], object]) -> None:
    """Have `function` called when the interpreter ends, while threads, or greenlets, still run."""
    if is_green():  # which leaves out what `threading` would call
        atexit.register(function)
    else:
        call_at_exit(function)


class Mailbox(Protocol[Item]):
    """A queue that one thread reads, and any writes to."""

    def put(self, item: Item) -> None: ...

    def get(self, block: bool = True, timeout: float | None = None) -> Item: ...

    def empty(self) -> bool: ...

    def qsize(self) -> int: ...


def mailbox() -> Mailbox[Any]:
    """Return a queue for a reader that waits in a thread, or in a greenlet of the main thread."""
    return _GreenMailbox() if is_green() else SimpleQueue()


class _GreenMailbox:
    """A queue that is read in greenlets of the main thread."""

    def __init__(self) -> None:
        from gevent.event import Event

        self._items: deque[Any] = deque()
        self._news = Event()

    def put(self, item: Any) -> None:
        self._items.append(item)
        _in_main_thread(self._news.set)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        late = None if timeout is None else time.monotonic() + timeout
        while not self._items:
            left = TURN_SECONDS if late is None else late - time.monotonic()
            if left <= 0:
                raise Empty
            # With a time limit: a hub with nothing to wait for, as at the end of the process, takes
            # a wait without one for a deadlock. `_news` is set by the hub, so not meanwhile.
            self._news.clear()
            if not self._items:
                self._news.wait(min(left, TURN_SECONDS))
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)


class Greenlets(ThreadPoolExecutor):
    """The thread pool of an event loop in a real thread, made of greenlets of the main thread.

    Its own threads would be greenlets of the loop's thread, which all see the loop.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        from gevent import spawn

        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        _in_main_thread(spawn, run)
        return future
