"""A site for deploys: callers are who their header says. Settings, URLs and views in one module."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import include, path

from tests.acceptance.site_settings import *  # noqa: F403
from tests.acceptance.site_settings import INSTALLED_APPS, MIDDLEWARE, RESUMABLE_STREAMS

ROOT_URLCONF = "tests.acceptance.deploy_site"
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]
MIDDLEWARE = [name for name in MIDDLEWARE if "Csrf" not in name]
RESUMABLE_STREAMS["default"].update(
    OWNER="tests.acceptance.deploy_site.owner",
    KEEP_ALIVE=float(os.environ.get("KEEP_ALIVE", "15")),
    MAX_RESPONSE_SECONDS=float(os.environ.get("MAX_RESPONSE_SECONDS", "3600")),
)


def owner(request: HttpRequest) -> str:
    return request.headers.get("X-User", "nobody")


def line(number: int) -> bytes:
    """Return a line of the answer, as it would come from a model, with where it belongs."""
    return b"%06d the words of an answer that somebody waits for\n" % number


async def paced(
    stream_id: str, count: int, every: float, offset: int = 0, items: int = 0
) -> AsyncIterator[bytes]:
    """Yield lines at a pace; from a byte on."""
    first, rest = divmod(offset, len(line(0)))
    for number in range(first, count):
        yield line(number)[rest if number == first else 0 :]
        await asyncio.sleep(every)


def _paced_in_a_thread(count: int, every: float) -> Iterator[bytes]:
    for number in range(count):
        yield line(number)
        time.sleep(every)


async def _flood(size: int) -> AsyncIterator[bytes]:
    """Yield `size` bytes as fast as they are taken."""
    block = bytes(range(256)) * 256
    for _ in range(size // len(block)):
        yield block


def _urls() -> list[Any]:
    # Imported late: this module is the settings, too.
    from resumable_streams import streams
    from resumable_streams.http.response import ResumableStreamResponse
    from resumable_streams.views import AcquireView, stream_response

    def numbers(request: HttpRequest) -> dict[str, Any]:
        return {"count": int(request.GET["count"]), "every": float(request.GET["every"])}

    class Produce(AcquireView):
        def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
            super().setup(request, *args, **kwargs)
            self.format = request.GET.get("format", "raw")  # type: ignore[misc]

        def get_stream_id(self, request: HttpRequest) -> str | None:
            return request.GET.get("id")

        def produce(self, request: HttpRequest) -> Any:
            return paced("", **numbers(request))

    class ProduceSync(Produce):
        def produce(self, request: HttpRequest) -> Any:
            return _paced_in_a_thread(**numbers(request))

    def produce_in_a_sync_view(request: HttpRequest) -> HttpResponseBase:
        reader = streams.run(
            None,
            lambda: _paced_in_a_thread(**numbers(request)),
            owner=owner(request),
            attrs={"format": "raw"},
        )
        return ResumableStreamResponse(reader, request)

    async def order(request: HttpRequest) -> HttpResponseBase:
        reader = await streams.aenqueue(
            request.GET.get("id"),
            "tests.acceptance.deploy_site.paced",
            numbers(request),
            owner=owner(request),
            attrs={"format": "raw"},
            recover="tests.acceptance.deploy_site.paced",
        )
        return ResumableStreamResponse(reader, request)

    async def flood(request: HttpRequest) -> HttpResponseBase:
        return await stream_response(request, lambda: _flood(int(request.GET["size"])))

    def process(request: HttpRequest) -> JsonResponse:  # gevent runs one async view at a time
        return JsonResponse({"pid": os.getpid()})

    async def vitals(request: HttpRequest) -> JsonResponse:
        """Say what the process holds; with ?objects, also how many objects, which takes a while."""
        holds = {"tasks": len(asyncio.all_tasks())}
        if "objects" in request.GET:
            gc.collect()
            holds["objects"] = len(gc.get_objects())
        return JsonResponse(holds)

    def readers(request: HttpRequest) -> JsonResponse:
        """Count the readers that are attached in this process; a producer is none."""
        from resumable_streams.process.runtime import runtime

        engine: Any = runtime.resources.get("default")
        tails = engine.hub.tails if engine else ()
        return JsonResponse({"readers": sum(tail.readers for tail in tails)})

    return [
        path("", process),
        path("vitals", vitals),
        path("readers", readers),
        path("produce", Produce.as_view()),
        path("produce-sync", ProduceSync.as_view()),
        path("produce-in-a-sync-view", produce_in_a_sync_view),
        path("order", order),
        path("flood", flood),
        path("streams/", include("resumable_streams.urls")),
    ]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
