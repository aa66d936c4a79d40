"""The undocumented parts of Python, Django and asgiref that this package uses.

The docstring of each describes the fallback. `tests/django_edges/test_compat.py` names them all, so
that a release without one is noticed there first.
"""

import asyncio
import atexit
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import wraps
from io import BytesIO
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest
from django.utils import functional
from django.views.decorators.csrf import csrf_exempt

__all__ = [
    "blocks_a_thread",
    "call_at_exit",
    "close_shared_connections",
    "connections_in_every_thread",
    "executor_here",
    "have_shared_sync_code_run_by",
    "have_sync_code_run_by",
    "is_exempted_from_csrf",
    "is_unloaded",
    "keep_unread",
    "loads_session_user",
    "open_cursors",
    "plain_request",
    "replace_executor",
    "running_loop",
    "runs_one_call",
    "sync_code_in",
    "unwrapped",
    "watch_cursors",
]

# --- Python: the loop that runs here, and the end of the interpreter ---


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or None.

    `asyncio.get_running_loop` is what is documented; it raises an error, which costs more.
    """
    find = getattr(asyncio, "_get_running_loop", None)
    if find is not None:
        loop: asyncio.AbstractEventLoop | None = find()
        return loop
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def call_at_exit(function: Callable[[], object]) -> None:
    """Have `function` called when the interpreter ends, while threads still run.

    Without the hook it is called after they have been waited for: streams that are live then end as
    `producer_lost`.
    """
    getattr(threading, "_register_atexit", atexit.register)(function)


# --- asgiref: which thread runs the sync code of a context ---


def _executors() -> Any:
    """Return asgiref's executor of each context, or None: then threads last as long as these."""
    return getattr(SyncToAsync, "context_to_thread_executor", None)


def _context() -> ContextVar[ThreadSensitiveContext] | None:
    return getattr(SyncToAsync, "thread_sensitive_context", None)


def _context_here() -> ThreadSensitiveContext | None:
    variable = _context()
    return None if variable is None else variable.get(None)


def executor_here() -> Executor | None:
    """Return what runs the sync code of the running task, if it has a thread of its own by now."""
    executors, context = _executors(), _context_here()
    if executors is None or context is None:
        return None
    executor: Executor | None = executors.get(context)
    return executor


def replace_executor(old: Executor, new: Executor) -> bool:
    """Have the later sync code of the running task's context run by `new`; return whether it will.

    Only what asgiref made itself is replaced: an executor that somebody gave it is theirs.
    """
    if type(old) is not ThreadPoolExecutor or executor_here() is not old:
        return False
    context = _context_here()
    if getattr(context, "_executor", None) is not None:
        return False
    _executors()[context] = new
    return True


@asynccontextmanager
async def sync_code_in(executor: Executor) -> AsyncIterator[None]:
    """Have the sync code of a fresh context run by `executor`; also what outlives the block.

    Where asgiref does not let us at its executors, its public form (3.13) has to do. That refuses
    what outlives the block.
    """
    executors, variable = _executors(), _context()
    if executors is None or variable is None:
        async with ThreadSensitiveContext(executor=executor):
            yield
        return
    context = ThreadSensitiveContext()
    executors[context] = executor
    variable.set(context)
    yield


def blocks_a_thread() -> bool:
    """Return whether a sync caller waits for us: its thread, then, runs our sync code."""
    return getattr(getattr(AsyncToSync, "executors", None), "current", None) is not None


def have_sync_code_run_by(executor: Executor) -> None:
    """Have the sync code of the running task, and of what it starts, run by `executor`."""
    executors = getattr(AsyncToSync, "executors", None)
    if executors is not None:
        executors.current = executor


def have_shared_sync_code_run_by(executor: Executor) -> None:
    """Have sync code run by `executor` that no context has an executor for."""
    if hasattr(SyncToAsync, "single_thread_executor"):
        SyncToAsync.single_thread_executor = executor  # type: ignore[assignment]


def close_shared_connections() -> None:
    """Close the database connections of the thread that runs sync code without a context's own.

    Without asgiref's executor they stay open until the process ends.
    """
    executor = getattr(SyncToAsync, "single_thread_executor", None)
    if executor is not None and getattr(executor, "_threads", None):
        executor.submit(connections.close_all).result()


def runs_one_call(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Return whether a loop lives for one `async_to_sync` call only; False if asgiref hides it."""
    return loop in getattr(AsyncToSync, "loop_thread_executors", ())


# --- Django: whose connections a thread uses ---


@contextmanager
def connections_in_every_thread(shared: Mapping[str, BaseDatabaseWrapper]) -> Iterator[None]:
    """Have all threads use these connections, by alias, also those that have one of their own.

    Without `ConnectionHandler._connections` each thread keeps to its own.
    """
    handler: Any = connections
    own = getattr(handler, "_connections", None)
    if own is None:
        yield
        return
    handler._connections = _SomeShared(own, shared)
    try:
        yield
    finally:
        handler._connections = own


class _SomeShared:
    """The connections of a thread as attributes, of which some are the same in all threads."""

    def __init__(self, own: Any, shared: Mapping[str, BaseDatabaseWrapper]) -> None:
        vars(self).update(_own=own, _shared=shared)

    def __getattr__(self, alias: str) -> Any:
        return self._shared[alias] if alias in self._shared else getattr(self._own, alias)

    def __setattr__(self, alias: str, connection: Any) -> None:
        if alias not in self._shared:
            setattr(self._own, alias, connection)

    def __delattr__(self, alias: str) -> None:
        if alias not in self._shared:
            delattr(self._own, alias)


# --- Django: which cursors of a connection are open ---


def watch_cursors(connection: BaseDatabaseWrapper) -> None:
    """Have `open_cursors` know the chunked cursors of this connection; call it on connecting.

    The cursor for which it connects is being made just then, and not by the method that we replace:
    so the first one is watched whatever it is. Without `_prepare_cursor` it is not.
    """
    if hasattr(connection.chunked_cursor, "opened"):
        return
    opened: set[weakref.ref[Any]] = set()
    connection.chunked_cursor = _watching(connection.chunked_cursor, opened)  # type: ignore[method-assign]
    prepare = getattr(connection, "_prepare_cursor", None)
    if prepare is not None:
        first = _watching(prepare, opened, then=lambda: vars(connection).pop("_prepare_cursor"))
        connection._prepare_cursor = first  # type: ignore[attr-defined]


def open_cursors(connection: BaseDatabaseWrapper) -> int:
    """Return how many cursors of a watched connection are neither closed nor forgotten."""
    return len(getattr(connection.chunked_cursor, "opened", ()))


def _watching(
    make: Callable[..., Any],
    opened: set["weakref.ref[Any]"],
    *,
    then: Callable[[], object] = lambda: None,
) -> Callable[..., Any]:
    @wraps(make)
    def make_and_watch(*arguments: Any) -> Any:
        then()
        cursor = make(*arguments)
        reference, close = weakref.ref(cursor, opened.discard), cursor.close

        def close_it() -> Any:
            opened.discard(reference)
            return close()  # the driver's own: it does not refer to what it is set on

        opened.add(reference)
        cursor.close = close_it
        return cursor

    make_and_watch.opened = opened  # type: ignore[attr-defined]
    return make_and_watch


# --- Django: lazy objects, which to look at is to load ---


def is_unloaded(value: object) -> bool:
    """Return whether a value is a lazy object that nobody has looked at; if in doubt, it is."""
    nothing = getattr(functional, "empty", None)
    return isinstance(value, functional.LazyObject) and _inside(value, nothing) is nothing


def unwrapped(value: Any) -> Any:
    """Return what a lazy object has loaded, or any other value as it is."""
    return _inside(value, value) if isinstance(value, functional.LazyObject) else value


def loads_session_user(value: object) -> bool:
    """Return whether a lazy object is the user of `AuthenticationMiddleware`; if in doubt, not."""
    loader = getattr(value, "__dict__", {}).get("_setupfunc")
    return getattr(loader, "__module__", "") == "django.contrib.auth.middleware"


def _inside(value: object, default: Any) -> Any:
    return getattr(value, "__dict__", {}).get("_wrapped", default)


# --- Django: the body of a request that somebody reads as a stream ---


def keep_unread(request: HttpRequest) -> None:
    """Have `request.read()` go on when the server's file of the body is gone."""
    request._stream = BytesIO(request.read())


# --- Django: a view that a project has exempted from the CSRF check ---


def is_exempted_from_csrf(view: object) -> bool:
    """Return whether `csrf_exempt` is among the decorators of a view; if in doubt, it is not.

    Its mark alone does not tell: decorators hand it on from the view below them.
    """
    while view is not None:
        if getattr(view, "__code__", None) in _EXEMPTING:
            return True
        view = getattr(view, "__wrapped__", None)
    return False


def _view(request: HttpRequest) -> Any: ...


async def _async_view(request: HttpRequest) -> Any: ...


_EXEMPTING = frozenset(csrf_exempt(view).__code__ for view in (_view, _async_view))


# --- Django REST framework: the request around a request ---


def plain_request(request: Any) -> Any:
    """Return Django's request inside one of Django REST framework; any other as it is."""
    inner = getattr(request, "__dict__", {}).get("_request")
    return inner if isinstance(inner, HttpRequest) else request
