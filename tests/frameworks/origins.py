"""A site whose page is at another origin than its streams: `localhost` and `127.0.0.1`.

Its users come by a token that is their name, or by a session in a signed cookie.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import include, path

from resumable_streams.views import AcquireView


def token_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def middleware(request: Any) -> Any:
        scheme, _, name = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer":
            request.user = SimpleNamespace(pk=name, is_authenticated=True)
        return get_response(request)

    return middleware


class Answer(AcquireView):
    format = "sse"

    async def produce(self, request: HttpRequest) -> AsyncIterator[str]:
        for word in ("to", "be", "or", "not"):
            yield word


class Endless(AcquireView):
    async def produce(self, request: HttpRequest) -> AsyncIterator[str]:
        yield "on and on"
        await asyncio.Event().wait()


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"<!doctype html><title>{get_token(request)}</title>")


urlpatterns = [
    path("page/", page),
    path("ask/", Answer.as_view()),
    path("endless/", Endless.as_view()),
    path("streams/", include("resumable_streams.urls")),
]
