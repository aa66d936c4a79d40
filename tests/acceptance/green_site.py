"""A site for gevent: everything sync asks the database, beside async sources that do, too."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from tests.acceptance.site_settings import *  # noqa: F403
from tests.acceptance.site_settings import INSTALLED_APPS, MIDDLEWARE, RESUMABLE_STREAMS

ROOT_URLCONF = "tests.acceptance.green_site"
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]
MIDDLEWARE = [name for name in MIDDLEWARE if "Csrf" not in name]
RESUMABLE_STREAMS["default"]["RECORDS"] = True
LOGGING = {  # what Django keeps for itself with DEBUG off: why a view is a 500
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django.request": {"handlers": ["console"], "level": "ERROR"}},
}
WORDS = 10


def _urls() -> list[Any]:  # imported late: this module is the settings, too
    from asgiref.sync import async_to_sync, sync_to_async
    from django.contrib.auth.mixins import LoginRequiredMixin
    from django.contrib.auth.models import Group
    from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
    from django.urls import include, path

    from resumable_streams import signals, streams
    from resumable_streams.http.response import ResumableStreamResponse
    from resumable_streams.models import StreamRecord
    from resumable_streams.views import AcquireView, stream_response

    def count() -> int:
        return Group.objects.count()

    def remember(sender: Any, signal: Any, **named: Any) -> None:
        Group.objects.get_or_create(name=signal.name)

    for signal in (signals.stream_acquired, signals.stream_finalized, signals.reader_opened):
        signal.connect(remember, weak=False)

    class Async(AcquireView):
        async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
            for number in range(WORDS):
                await sync_to_async(count)()
                await asyncio.to_thread(count)
                await asyncio.sleep(0.05)
                yield b"%d " % number

    class Sync(AcquireView):
        def refuse(self, request: HttpRequest) -> None:
            count()

        def produce(self, request: HttpRequest) -> Iterator[bytes]:
            def words() -> Iterator[bytes]:
                for number in range(WORDS):
                    count()
                    time.sleep(0.05)
                    yield b"%d " % number

            return words()

    class Bridge(AcquireView):
        def produce(self, request: HttpRequest) -> Iterator[bytes]:
            def words() -> Iterator[bytes]:
                for number in range(WORDS):
                    async_to_sync(asyncio.sleep)(0.05)
                    count()
                    yield b"%d " % number

            return words()

    class Private(LoginRequiredMixin, Async):
        pass

    def by_hand(request: HttpRequest) -> HttpResponseBase:
        reader = streams.run(None, [b"by hand"], owner="me")
        return ResumableStreamResponse(reader, request)

    async def a_loop_of_its_own(request: HttpRequest) -> HttpResponseBase:
        return await stream_response(request, [b"never"])

    def page(request: HttpRequest) -> HttpResponse:
        before = count()
        time.sleep(0.01)
        return JsonResponse({"before": before, "after": count()})

    def told(request: HttpRequest) -> JsonResponse:
        records = StreamRecord.objects.values_list("status", flat=True)
        names = Group.objects.values_list("name", flat=True)
        return JsonResponse({"signals": sorted(names), "records": sorted(records)})

    return [
        path("", page),
        path("told/", told),
        path("async/", Async.as_view()),
        path("sync/", Sync.as_view()),
        path("bridge/", Bridge.as_view()),
        path("private/", Private.as_view()),
        path("by-hand/", by_hand),
        path("loop/", a_loop_of_its_own),
        path("streams/", include("resumable_streams.urls")),
    ]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
