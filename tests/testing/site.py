"""A site in the hand of its tests: its views produce what `script` says, and count users."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.urls import include, path

from resumable_streams.testing import ScriptedSource
from resumable_streams.views import AcquireView

script = ScriptedSource()


def play(*steps: object, is_held: bool = False) -> ScriptedSource:
    """Give the views their script."""
    global script
    script = ScriptedSource(*steps, is_held=is_held)
    return script


class Scripted(AcquireView):
    def produce(self, request: HttpRequest) -> Any:
        return script()


class Counting(AcquireView):
    """The number of groups there are, by the async ORM; then one more."""

    async def produce(self, request: HttpRequest) -> AsyncIterator[str]:
        async for step in script():
            yield f"{step}{await Group.objects.acount()}"
            await Group.objects.acreate(name=f"made by {step}")
            await asyncio.sleep(0)


class CountingInThread(AcquireView):
    """The same, by the ORM in a sync generator."""

    def produce(self, request: HttpRequest) -> Iterator[str]:
        for step in "ab":
            yield f"{step}{Group.objects.count()}"
            Group.objects.create(name=f"made by {step}")


urlpatterns = [
    path("raw/", Scripted.as_view()),
    path("events/", Scripted.as_view(format="sse")),
    path("messages/", Scripted.as_view(format="ui_message")),
    path("counting/", Counting.as_view()),
    path("in-thread/", CountingInThread.as_view()),
    path("streams/", include("resumable_streams.urls")),
]
