"""A site with WebSockets, for real servers. Settings, ASGI application, URLs and views."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path

from tests.acceptance.site_settings import *  # noqa: F403
from tests.acceptance.site_settings import DATABASES, INSTALLED_APPS, RESUMABLE_STREAMS

ROOT_URLCONF = "tests.channels.site"
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]
DATABASES["default"] |= {"CONN_MAX_AGE": 600}  # type: ignore[dict-item]  # leaks show
RESUMABLE_STREAMS["default"].update(KEEP_ALIVE=float(os.environ.get("KEEP_ALIVE", "15")))

SOCKETS: set[Any] = set()
BLOCK = bytes(range(256)) * 256


def line(number: int) -> bytes:
    return b"%06d the words of an answer that somebody waits for\n" % number


async def produce(data: dict[str, Any]) -> AsyncIterator[bytes]:
    """Yield `count` lines, one `every` so many seconds; or `flood` bytes, as fast as they go."""
    for number in range(data.get("count", 0)):
        yield line(number)
        await asyncio.sleep(data["every"])
    for _ in range(data.get("flood", 0) // len(BLOCK)):
        yield BLOCK


def _open_files() -> list[str]:
    return [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.exists()]


def _application() -> Any:
    from resumable_streams.asgi import get_asgi_application
    from resumable_streams.consumers import StreamConsumer, with_websockets

    class Answers(StreamConsumer):
        def produce(self, data: Any) -> Any:
            return produce(data)

        def get_stream_id(self, data: Any) -> str | None:
            name: str | None = data.get("id")
            return name

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            SOCKETS.add(self)
            try:
                await super().__call__(scope, receive, send)
            finally:
                SOCKETS.discard(self)

    routes = [
        path("ws/streams/", Answers.as_asgi()),
        path("ws/streams/<str:stream_id>/", StreamConsumer.as_asgi()),
    ]
    return with_websockets(get_asgi_application(), routes)


def _urls() -> list[Any]:
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.db import connections

    from resumable_streams.process.runtime import runtime

    def log_in(request: HttpRequest, name: str) -> JsonResponse:
        """Return the session of a user, new or not."""
        user, _ = User.objects.get_or_create(username=name)
        session = SessionStore()
        session["_auth_user_id"] = str(user.pk)
        session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
        session["_auth_user_hash"] = user.get_session_auth_hash()
        session.create()
        connections.close_all()
        return JsonResponse({"session": session.session_key})

    async def state(request: HttpRequest) -> JsonResponse:
        """Say what this process holds."""
        engine: Any = runtime.resources.get("default")
        tails = engine.hub.tails if engine else ()
        return JsonResponse(
            {
                "readers": sum(tail.readers for tail in tails),
                "sockets": len(SOCKETS),
                "database": _open_files().count(str(DATABASES["default"]["NAME"])),
                "threads": sorted(one.name for one in threading.enumerate()),
            }
        )

    async def empty(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    return [
        path("", empty),
        path("log-in/<str:name>", log_in),
        path("state", state),
        path("streams/", include("resumable_streams.urls")),
    ]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    if name == "application":
        from django import setup

        setup()
        return _application()
    raise AttributeError(name)
