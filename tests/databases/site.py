"""A site on PostgreSQL whose requests and sources use the database. Settings, URLs and views."""

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import include, path

from tests.acceptance.site_settings import *  # noqa: F403
from tests.acceptance.site_settings import INSTALLED_APPS, MIDDLEWARE
from tests.settings import POSTGRESQL
from tests.tools.waiting import eventually

ROOT_URLCONF = "tests.databases.site"
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]
MIDDLEWARE = [name for name in MIDDLEWARE if "Csrf" not in name]

POOL = {"min_size": 0, "max_size": 4, "max_idle": 1, "timeout": 10}
POOLED: dict[str, Any] = {"OPTIONS": {"pool": POOL}}
PERSISTENT: dict[str, Any] = {"OPTIONS": {}, "CONN_MAX_AGE": 600}
DATABASES = {
    "default": POSTGRESQL
    | {"NAME": os.environ["DATABASE_NAME"]}
    | (POOLED if os.environ["DATABASE_KIND"] == "pool" else PERSISTENT)
}
IN_MEMORY = {"BACKEND": "resumable_streams.stores.memory.MemoryStore"}
ON_REDIS = {
    "BACKEND": "resumable_streams.stores.redis.RedisStore",
    "LOCATION": os.environ.get("REDIS_URL"),
    "KEY_PREFIX": os.environ.get("KEY_PREFIX", ""),
}
RESUMABLE_STREAMS = {
    "default": (ON_REDIS if "REDIS_URL" in os.environ else IN_MEMORY) | {"HOOK_ERRORS": "raise"}
}


class Stage:
    """What the sources do: they ask the database until `quiet`, and end at `over`."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_quiet = threading.Event()
        self.is_over = threading.Event()

    async def until_over(self) -> None:
        await eventually(self.is_over.is_set, seconds=600)  # it is set from any thread


STAGE = Stage()


async def waiting() -> AsyncIterator[bytes]:
    yield b"."
    await STAGE.until_over()


async def asking() -> AsyncIterator[bytes]:
    """Ask the database at random times; the last time after the last chunk."""
    from django.contrib.auth.models import User

    yield b"."
    while not STAGE.is_quiet.is_set():
        await asyncio.sleep(random.uniform(0, 0.5))
        assert await User.objects.acount()
        STAGE.asked += 1
        yield b"."
    await User.objects.acount()
    await STAGE.until_over()


def asking_in_a_thread() -> Iterator[bytes]:
    """Ask the database, yield, then block: as a client does that waits for a model."""
    from django.contrib.auth.models import User

    assert User.objects.count()
    yield b"."
    STAGE.is_over.wait()


async def rows() -> AsyncIterator[str]:
    """Yield a table row by row, slowly, from one cursor."""
    from django.contrib.auth.models import User

    async for user in User.objects.order_by("pk").aiterator(chunk_size=1):
        yield f"{user.username} "
        if user.username == "user-1":
            await STAGE.until_over()


def in_a_transaction() -> Iterator[bytes]:
    from django.contrib.auth.models import User
    from django.db import transaction

    with transaction.atomic():
        User.objects.create(username="first")
        yield b"."
        STAGE.is_over.wait()
        User.objects.create(username="second")
        yield b"."


async def ordered(stream_id: str) -> AsyncIterator[bytes]:
    """Ask the database a few times, then be silent: in a worker, to which nobody talks."""
    from django.contrib.auth.models import User

    for _ in range(5):
        await User.objects.acount()
        yield b"."
        await asyncio.sleep(random.uniform(0, 0.3))
    await asyncio.Event().wait()


SOURCES: dict[str, Callable[[], Any]] = {
    one.__name__: one for one in (waiting, asking, asking_in_a_thread, rows, in_a_transaction)
}


async def ask_elsewhere(**named: Any) -> None:
    """Be a receiver that needs a connection of its own while the request waits for it."""
    from django.contrib.auth.models import User
    from django.db import connections

    def ask() -> None:
        User.objects.count()
        connections.close_all()

    with ThreadPoolExecutor(max_workers=1) as executor:
        await asyncio.get_running_loop().run_in_executor(executor, ask)


def _urls() -> list[Any]:
    # Imported late: this module is the settings, too.
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.db import connections

    from resumable_streams import streams
    from resumable_streams.contrib.chat.views import ChatView
    from resumable_streams.http.response import ResumableStreamResponse
    from resumable_streams.process.runtime import runtime
    from resumable_streams.signals import stream_acquired
    from resumable_streams.views import stream_response

    stream_acquired.connect(ask_elsewhere)

    # Under ASGI a persistent connection of Django's own stays behind with every request: of these
    # there are none here, so that what is left is of streams.

    def page(request: HttpRequest) -> JsonResponse:
        answer = {"user": request.user.username, "users": User.objects.count()}
        connections.close_all()
        return JsonResponse(answer)

    def log_in(request: HttpRequest, count: int) -> JsonResponse:
        """Return the sessions of so many new users."""
        users = [User(username=f"user-{number}", password="x") for number in range(count)]
        answer = {"sessions": [_session(user) for user in User.objects.bulk_create(users)]}
        connections.close_all()
        return JsonResponse(answer)

    def _session(user: User) -> str:
        session = SessionStore()
        session["_auth_user_id"] = str(user.pk)
        session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
        session["_auth_user_hash"] = user.get_session_auth_hash()
        session.create()
        assert session.session_key
        return session.session_key

    class Assistant(ChatView):
        save_interval = 0.2

        async def answer(self, conversation: Any, messages: Any) -> AsyncIterator[str]:
            yield "."
            await STAGE.until_over()

    async def produce(request: HttpRequest, name: str) -> HttpResponseBase:
        return await stream_response(request, SOURCES[name])

    def produce_in_a_sync_view(request: HttpRequest, name: str) -> HttpResponseBase:
        reader = streams.run(
            None,
            SOURCES[name],
            owner=f"user:{request.user.pk}",
            attrs={"format": "raw"},
            request=request,
        )
        return ResumableStreamResponse(reader, request)

    async def order(request: HttpRequest) -> HttpResponseBase:
        reader = await streams.aenqueue(
            None,
            f"{ordered.__module__}.{ordered.__name__}",
            owner=f"user:{(await request.auser()).pk}",
            attrs={"format": "raw"},
            request=request,
        )
        return ResumableStreamResponse(reader, request)

    async def tell(request: HttpRequest) -> JsonResponse:
        """Say what lives; with ?quiet or ?over, have the sources go on to that."""
        if "quiet" in request.GET:
            STAGE.is_quiet.set()
        if "over" in request.GET:
            STAGE.is_over.set()
        return JsonResponse({"live": len(runtime._tasks), "asked": STAGE.asked})

    return [
        path("api/", include(Assistant.urls("chat"))),
        path("", page),
        path("log-in/<int:count>", log_in),
        path("produce/<str:name>", produce),
        path("produce-in-a-sync-view/<str:name>", produce_in_a_sync_view),
        path("order", order),
        path("stage", tell),
    ]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
