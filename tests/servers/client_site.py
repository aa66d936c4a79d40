"""The site of the tests of client.js: answers in every format, of one to four bytes a character."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import path

from tests.acceptance.deploy_site import *  # noqa: F403

ROOT_URLCONF = "tests.servers.client_site"

CHARACTERS = "aé€😀\n"


async def characters(count: int, every: float, *, fails: bool) -> AsyncIterator[str]:
    """Yield a text of `count` pieces, at a pace."""
    for number in range(count):
        yield f"{number}{CHARACTERS[number % 5]}"
        await asyncio.sleep(every)
    if fails:
        raise RuntimeError("as the test wants it")


def _urls() -> list[Any]:
    # Imported late: this module is the settings, too.
    from resumable_streams.views import stream_response
    from tests.acceptance.deploy_site import urlpatterns

    async def ask(request: HttpRequest) -> HttpResponseBase:
        query = request.GET
        source = characters(int(query["count"]), float(query["every"]), fails="fails" in query)
        attrs = {"end_event": query.get("end_event", "")}
        return await stream_response(request, source, format=query["format"], attrs=attrs)

    async def refuse(request: HttpRequest, status: int) -> HttpResponse:
        return HttpResponse(status=status)

    return [path("ask/", ask), path("refuse/<int:status>/", refuse), *urlpatterns]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
