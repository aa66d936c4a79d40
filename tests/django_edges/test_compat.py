"""Every undocumented part of Python, Django and asgiref, and what happens without it."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import functional
from django.utils.connection import ConnectionDoesNotExist
from django.utils.functional import SimpleLazyObject
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from rest_framework.request import Request

from resumable_streams import compat
from resumable_streams.compat import (
    blocks_a_thread,
    close_shared_connections,
    connections_in_every_thread,
    executor_here,
    is_exempted_from_csrf,
    is_unloaded,
    keep_unread,
    loads_session_user,
    open_cursors,
    plain_request,
    replace_executor,
    running_loop,
    runs_one_call,
    sync_code_in,
    unwrapped,
    watch_cursors,
)
from resumable_streams.process.holdings import TransientThread


def here() -> int:
    return threading.get_ident()


# asyncio._get_running_loop, threading._register_atexit


async def test_the_running_loop_is_found_with_and_without_the_short_way(monkeypatch):
    loop = asyncio.get_running_loop()
    assert running_loop() is loop
    assert await asyncio.to_thread(running_loop) is None
    monkeypatch.delattr(asyncio, "_get_running_loop")
    assert running_loop() is loop
    assert await asyncio.to_thread(running_loop) is None


AT_EXIT = """
import sys, threading
from resumable_streams.compat import call_at_exit
if "without" in sys.argv:
    del threading._register_atexit
go_on = threading.Event()
threading.Thread(target=lambda: (go_on.wait(2), print("thread"))).start()
call_at_exit(lambda: (print("told"), go_on.set()))
"""


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("arguments", "order"), [([], "told thread"), (["without"], "thread told")]
)
def test_the_end_of_the_interpreter_is_told_while_threads_run_if_python_allows(
    arguments: list[str], order: str
):
    run = [sys.executable, "-c", AT_EXIT, *arguments]
    done = subprocess.run(run, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == order.split()


# SyncToAsync.thread_sensitive_context, SyncToAsync.context_to_thread_executor


async def test_the_executor_of_a_context_is_found_once_it_is_there():
    async with ThreadSensitiveContext():
        assert executor_here() is None
        await sync_to_async(here)()
        assert type(executor_here()) is ThreadPoolExecutor


async def test_a_replaced_executor_runs_what_follows():
    async with ThreadSensitiveContext():
        before = await sync_to_async(here)()
        old = executor_here()
        assert old is not None
        with ThreadPoolExecutor(max_workers=1) as new:
            assert replace_executor(old, new)
            assert await sync_to_async(here)() == new.submit(here).result() != before
        old.shutdown()


async def test_an_executor_that_somebody_else_replaced_meanwhile_stays():
    async with ThreadSensitiveContext():
        await sync_to_async(here)()
        with ThreadPoolExecutor() as unknown, ThreadPoolExecutor() as new:
            assert not replace_executor(unknown, new)


async def test_an_executor_that_a_project_gave_is_not_replaced():
    with ThreadPoolExecutor(max_workers=1) as theirs, ThreadPoolExecutor() as new:
        async with ThreadSensitiveContext() as context:
            context._executor = theirs  # what asgiref 3.13 does with its argument `executor`
            SyncToAsync.context_to_thread_executor[context] = theirs
            assert executor_here() is theirs
            assert not replace_executor(theirs, new)


async def test_a_context_without_a_thread_of_its_own_has_no_executor():
    await sync_to_async(here)()
    assert executor_here() is None


async def test_sync_code_runs_where_it_is_told_to_also_after_the_block():
    thread, go_on = TransientThread(), asyncio.Event()
    try:
        late = await in_a_fresh_context(runs_in(thread, go_on))
        go_on.set()
        assert await late == await asyncio.wrap_future(thread.submit(here))
    finally:
        await asyncio.wrap_future(thread.end())


async def in_a_fresh_context(coroutine: Any) -> Any:
    return await asyncio.create_task(coroutine, context=contextvars.Context())


async def runs_in(thread: TransientThread, go_on: asyncio.Event) -> asyncio.Task[int]:
    async def later() -> int:
        await go_on.wait()
        return await sync_to_async(here)()

    async with sync_code_in(thread):
        assert await sync_to_async(here)() == await asyncio.wrap_future(thread.submit(here))
        return asyncio.create_task(later())


async def test_without_access_to_the_executors_the_public_form_has_to_do(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(compat, "_executors", lambda: None)
    assert executor_here() is None

    async def work() -> None:
        async with sync_code_in(thread):
            assert await sync_to_async(here)() == await asyncio.wrap_future(thread.submit(here))

    with ThreadPoolExecutor(max_workers=1) as thread:
        await in_a_fresh_context(work())


@pytest.mark.parametrize("name", ["context_to_thread_executor", "thread_sensitive_context"])
async def test_what_asgiref_takes_away_is_not_found(monkeypatch: pytest.MonkeyPatch, name: str):
    async with ThreadSensitiveContext():
        await sync_to_async(here)()
        with monkeypatch.context() as without:
            without.delattr(SyncToAsync, name)
            assert executor_here() is None


# AsyncToSync.executors, AsyncToSync.loop_thread_executors


async def test_a_sync_caller_that_waits_is_noticed():
    def call() -> tuple[bool, bool]:
        return AsyncToSync(look)()

    async def look() -> tuple[bool, bool]:
        return blocks_a_thread(), runs_one_call(asyncio.get_running_loop())

    assert await look() == (False, False)
    assert await sync_to_async(call)() == (True, False)  # on the loop of its caller
    assert await asyncio.to_thread(call) == (True, True)


@pytest.mark.parametrize("name", ["executors", "loop_thread_executors"])
async def test_without_asgirefs_word_nobody_waits(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.delattr(AsyncToSync, name)
    loop = asyncio.get_running_loop()
    assert not (blocks_a_thread() if name == "executors" else runs_one_call(loop))


# BaseDatabaseWrapper._prepare_cursor


@pytest.fixture
def connection() -> Any:
    """Return a connection to the suite's kind of database that nobody else uses."""
    made = connections.create_connection(DEFAULT_DB_ALIAS)
    yield made
    made.close()


@pytest.mark.django_db
@pytest.mark.parametrize("number", ["first", "second"])
def test_a_chunked_cursor_is_counted_until_it_is_closed(connection: BaseDatabaseWrapper, number):
    if number == "second":
        connection.chunked_cursor().close()
    cursor = connection.chunked_cursor()
    cursor.execute("SELECT 1")
    assert open_cursors(connection) == 1
    with connection.chunked_cursor():
        assert open_cursors(connection) == 2
    assert cursor.fetchone() == (1,)
    cursor.close()
    assert open_cursors(connection) == 0


@pytest.mark.django_db
def test_a_plain_cursor_costs_nothing(connection: BaseDatabaseWrapper):
    connection.cursor().close()  # the first one, which connects
    with connection.cursor() as cursor:
        assert "close" not in vars(cursor)
        assert open_cursors(connection) == 0


@pytest.mark.django_db
def test_a_connection_is_watched_again_when_it_is_opened_again(connection: BaseDatabaseWrapper):
    for _ in range(3):
        with connection.chunked_cursor():
            assert open_cursors(connection) == 1
        connection.close()


@pytest.mark.django_db
def test_a_forgotten_cursor_is_not_counted(connection: BaseDatabaseWrapper):
    cursor = connection.cursor()  # the first one, of which nobody knows what it is for
    assert open_cursors(connection) == 1
    del cursor
    gc.collect()
    assert open_cursors(connection) == 0


@pytest.mark.django_db
def test_without_its_hook_the_second_cursor_is_the_first_that_is_counted(monkeypatch):
    monkeypatch.delattr(BaseDatabaseWrapper, "_prepare_cursor")
    connection: Any = connections.create_connection(DEFAULT_DB_ALIAS)
    watch_cursors(connection)
    monkeypatch.undo()
    connection.connect()
    with connection.chunked_cursor():
        assert open_cursors(connection) == 1
    connection.close()


def test_a_connection_that_nobody_watches_has_no_open_cursors():
    assert open_cursors(connections.create_connection(DEFAULT_DB_ALIAS)) == 0


# ConnectionHandler._connections


def in_a_thread(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(function).result()


def test_all_threads_use_a_connection_that_is_shared():
    shared: Any = object()

    def look_and_change() -> list[Any]:
        connections["theirs"] = shared  # one of its own, which nobody else sees
        connections["ours"] = object()  # type: ignore[assignment]
        del connections["ours"]
        return [connections["ours"], connections["theirs"]]

    with connections_in_every_thread({"ours": shared}):
        assert in_a_thread(look_and_change) == [shared, shared]
        with pytest.raises(ConnectionDoesNotExist):
            connections["theirs"]
    with pytest.raises(ConnectionDoesNotExist):
        connections["ours"]


def test_where_django_hides_its_connections_each_thread_keeps_to_its_own(monkeypatch: Any):
    monkeypatch.setattr(compat, "connections", handler := SimpleNamespace())
    with connections_in_every_thread({"ours": object()}):  # type: ignore[dict-item]
        assert not vars(handler)


# SyncToAsync.single_thread_executor


def test_the_thread_that_code_without_a_context_shares_closes_its_connections(monkeypatch: Any):
    closed_in: list[int] = []
    connection: Any = SimpleNamespace(close=lambda: closed_in.append(here()))
    with ThreadPoolExecutor(max_workers=1) as executor:
        monkeypatch.setattr(SyncToAsync, "single_thread_executor", executor)
        close_shared_connections()  # it has no thread
        assert not executor._threads
        executor.submit(connections.__setitem__, DEFAULT_DB_ALIAS, connection).result()
        close_shared_connections()
        assert closed_in == [executor.submit(here).result()]


def test_where_asgiref_has_no_such_thread_nothing_is_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(SyncToAsync, "single_thread_executor")
    close_shared_connections()


# LazyObject._wrapped, SimpleLazyObject._setupfunc, functional.empty


def test_a_lazy_object_tells_whether_it_is_loaded():
    lazy = SimpleLazyObject(lambda: "loaded")
    assert is_unloaded(lazy)
    assert str(lazy) == "loaded"
    assert not is_unloaded(lazy)
    assert type(unwrapped(lazy)) is str
    assert not is_unloaded("plain")
    assert unwrapped("plain") == "plain"


def test_a_lazy_object_that_tells_nothing_is_taken_for_unloaded(monkeypatch: pytest.MonkeyPatch):
    class Silent(functional.LazyObject):  # type: ignore[type-arg]
        def __init__(self) -> None:
            pass

    assert is_unloaded(Silent())
    silent = Silent()
    assert unwrapped(silent) is silent
    monkeypatch.delattr(functional, "empty")
    assert is_unloaded(Silent())


def test_the_user_of_the_session_is_told_from_others():
    request = RequestFactory().get("/")
    request.session = SessionStore()
    AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
    assert loads_session_user(request.user)
    assert is_unloaded(request.user)
    assert not loads_session_user(SimpleLazyObject(AnonymousUser))
    assert not loads_session_user(AnonymousUser())


# HttpRequest._stream


def test_what_is_unread_of_a_body_is_read_when_the_servers_file_is_gone():
    request = RequestFactory().post("/", b"the body", content_type="text/plain")
    file = request._stream
    assert request.read(4) == b"the "
    keep_unread(request)
    assert request._stream is not file
    assert request.read() == b"body"


# The code of csrf_exempt


def test_an_exempt_view_is_known_below_other_decorators_and_no_other_is():
    def view(request: Any) -> HttpResponse:
        return HttpResponse()

    async def async_view(request: Any) -> HttpResponse:
        return HttpResponse()

    for exempt in (csrf_exempt(view), never_cache(csrf_exempt(view)), csrf_exempt(async_view)):
        assert is_exempted_from_csrf(exempt)
    marked: Any = never_cache(view)
    marked.csrf_exempt = True
    for other in (view, marked, csrf_protect(view), None, object()):
        assert not is_exempted_from_csrf(other)


# Request._request of Django REST framework


def test_the_request_inside_a_request_is_found(monkeypatch):
    plain = RequestFactory().get("/")
    assert plain_request(plain) is plain
    assert plain_request(Request(plain)) is plain
    unlike: Any = SimpleNamespace(_request="something else")
    assert plain_request(unlike) is unlike
