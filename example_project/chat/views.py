"""The page of the chat, and the model's events as they are."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from resumable_streams.views import AcquireView

from . import llm
from .answers import Assistant, raw_events


@require_GET
@never_cache
@ensure_csrf_cookie
async def page(request: HttpRequest) -> HttpResponse:
    """Show the chat that `?chat=` names, else the latest one, else a new one."""
    assistant = await Assistant.of(request, acquire=True)
    key = request.GET.get("chat")
    if not key:
        latest = (await assistant.conversations())["conversations"][:1]
        key = latest[0]["id"] if latest else uuid.uuid4().hex
    boot = {"api": reverse("chat:chat"), "chat": await assistant.history(key)}
    shown = {
        "boot": boot,
        "new_chat": uuid.uuid4().hex,
        "has_sockets": hasattr(request, "scope"),  # not under WSGI
    }
    return render(request, "chat/page.html", shown)


class RawView(AcquireView):
    """Relay the model's events; the body may be empty, or have messages for a real model."""

    format = "raw"

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            self.text = question_of(request)
        except ValueError as error:
            return JsonResponse({"error": str(error)}, status=400)
        return await super().post(request, *args, **kwargs)

    async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        """Return the events of one answer."""
        return raw_events([llm.Turn(role="user", text=self.text)])

    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        """Call the bytes what they are."""
        return {"content_type": "text/event-stream"}


def question_of(request: HttpRequest) -> str:
    """Return the text of the last message, if the request has any."""
    if request.content_type != "application/json" or not request.body.strip():
        return "Say something about byte streams."
    match json.loads(request.body):
        case {"messages": [*_, {"content": str(text)}]}:
            return text
        case {"messages": [*_, {"parts": [*parts]}]}:
            return "".join(str(part["text"]) for part in parts if "text" in part)
    raise ValueError("'messages' is a list of at least one message.")
