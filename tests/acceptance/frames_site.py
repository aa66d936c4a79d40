"""The site for deploys with answers made of frames: events, or the parts of a message."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.urls import path

from tests.acceptance.deploy_site import *  # noqa: F403

ROOT_URLCONF = "tests.acceptance.frames_site"


async def events(count: int, every: float) -> AsyncIterator[bytes]:
    """Yield numbered events at a pace."""
    from resumable_streams.sse import event

    for number in range(count):
        yield event(f"{number} ")
        await asyncio.sleep(every)


async def parts(count: int, every: float) -> AsyncIterator[bytes]:
    """Yield a message of numbered words at a pace."""
    from resumable_streams.formats.ui_message import ui_message

    def part(kind: str, **more: str) -> bytes:
        return ui_message.part({"type": kind, **more})

    yield part("start", messageId="m-1") + part("text-start", id="text-1")
    for number in range(count):
        yield part("text-delta", id="text-1", delta=f"{number} ")
        await asyncio.sleep(every)
    yield part("text-end", id="text-1") + part("finish")


async def words(count: int, every: float, *, half: dict[str, Any]) -> AsyncIterator[Any]:
    """Yield numbered words at a pace, as text, and one part between them."""
    for number in range(count):
        yield f"{number} "
        if number == count // 2:
            yield half
        await asyncio.sleep(every)


DATA = {"type": "data-half", "data": {"half": True}}
CUSTOM = {"type": "CUSTOM", "name": "half", "value": True}
SOURCES = {"sse": events, "ui_message": parts, "raw": events}


def _urls() -> list[Any]:
    # Imported late: this module is the settings, too.
    from resumable_streams.views import resume_response, stream_response
    from tests.acceptance.deploy_site import urlpatterns

    async def produce(request: HttpRequest) -> HttpResponseBase:
        wire_format = request.GET["format"]
        count, every = int(request.GET["count"]), float(request.GET["every"])
        return await stream_response(
            request,
            lambda: SOURCES[wire_format](count, every),
            format=wire_format,
            stream_id=request.GET.get("id"),
            attrs={"end_event": request.GET.get("end_event", "")},
        )

    async def chat(request: HttpRequest) -> HttpResponseBase:
        """Answer as the AI SDK's `useChat` posts: the id of the chat is that of its one answer."""
        asked = json.loads(request.body)
        answer = partial(words, half=DATA) if asked.get("plain") else parts
        return await stream_response(
            request,
            lambda: answer(asked["count"], asked["every"]),
            format="ui_message",
            stream_id=asked["id"],
        )

    async def chat_again(request: HttpRequest, chat_id: str) -> HttpResponseBase:
        return await resume_response(request, chat_id, format="ui_message")

    async def agent(request: HttpRequest) -> HttpResponseBase:
        """Answer as AG-UI's `HttpAgent` posts: the id of the run is that of its stream."""
        run = json.loads(request.body)
        asked = run["forwardedProps"]
        return await stream_response(
            request,
            lambda: words(asked["count"], asked["every"], half=CUSTOM),
            format="ag_ui",
            stream_id=run["runId"],
            attrs={"thread_id": run["threadId"], "run_id": run["runId"]},
        )

    return [
        path("produce", produce),
        path("agent", agent),
        path("chat", chat),
        path("chat/<str:chat_id>/stream", chat_again),
        *urlpatterns,
    ]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
