"""The page of the chat, answers by signed link, and the model's events as they are."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from resumable_streams import StreamDoesNotExist, streams
from resumable_streams.owners import get_identity
from resumable_streams.views import AcquireView

from . import damage, llm
from .answers import Assistant, raw_events, words

MAX_THREAD_ID = 256  # characters
SUGGESTIONS = [
    "What happens to my answer if I reload now?",
    "Who writes while nobody reads?",
    "Show me the code that reads a stream",
]
LINK_SECONDS = 600


@require_GET
@never_cache
@ensure_csrf_cookie
async def page(request: HttpRequest) -> HttpResponse:
    """Show the chat that `?chat=` names, else the latest one, else a new one."""
    assistant = await Assistant.of(request, acquire=True)
    conversations = (await assistant.conversations())["conversations"]
    key = request.GET.get("chat")
    if not key:
        key = conversations[0]["id"] if conversations else uuid.uuid4().hex
    boot = {
        "api": reverse("chat:chat"),
        "chat": await assistant.history(key),
        "conversations": conversations,
        "urls": {
            "share": reverse("chat:share", args=["ID"]),
            "kill": None if damage.REASON else reverse("chat:kill", args=["ID"]),
        },
    }
    shown = {
        "boot": boot,
        "new_chat": uuid.uuid4().hex,
        "suggestions": SUGGESTIONS,
        "no_kill": damage.REASON,
    }
    return render(request, "chat/page.html", shown)


@require_GET
@never_cache
@ensure_csrf_cookie
async def session(request: HttpRequest) -> HttpResponse:
    """Give a page that Django does not render what `page` gives: a session and a CSRF token."""
    await Assistant.of(request, acquire=True)
    return HttpResponse(status=204)


@require_POST
async def share(request: HttpRequest, stream_id: str) -> HttpResponse:
    """Return the address of a page that shows a stream to whoever has it, for a while."""
    identity = await get_identity(request, using="default")
    try:
        token = await streams.asign(
            stream_id, owner=identity, max_age=LINK_SECONDS, request=request
        )
    except StreamDoesNotExist:
        raise Http404 from None
    return JsonResponse({"address": f"{reverse('chat:shared', args=[stream_id])}?token={token}"})


@require_GET
@never_cache
def shared(request: HttpRequest, stream_id: str) -> HttpResponse:
    """Show the stream of a signed link; the page asks for it with the token."""
    address = reverse("resumable_streams:stream", args=[stream_id])
    return render(request, "chat/shared.html", {"address": f"{address}?{request.GET.urlencode()}"})


class RawView(AcquireView):
    """Relay the model's events; the body may be empty, or have messages for a real model."""

    format = "raw"

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            self.read(request)
        except (ValueError, RecursionError) as error:  # too many levels of JSON
            return JsonResponse({"error": str(error)}, status=400)
        return await super().post(request, *args, **kwargs)

    def read(self, request: HttpRequest) -> None:
        """Keep the question; raise ValueError for a body that cannot be understood."""
        self.turns = [llm.Turn(role="user", text=question_of(request))]

    async def produce(self, request: HttpRequest) -> AsyncIterator[Any]:
        """Return the events of one answer."""
        return raw_events(self.turns)

    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        """Call the bytes what they are."""
        return {"content_type": "text/event-stream"}


class AgentView(RawView):
    """Answers for the `HttpAgent` of AG-UI. A run is named by its client, and so is its stream."""

    format = "ag_ui"

    def read(self, request: HttpRequest) -> None:
        """Keep the question and the ids of the run."""
        super().read(request)
        match json.loads(request.body or b"null"):
            case {"runId": str(run), "threadId": str(thread)} if len(thread) <= MAX_THREAD_ID:
                self.attrs = {"run_id": run, "thread_id": thread}
            case _:
                raise ValueError(
                    f"'runId' and 'threadId' are strings, the latter of at most {MAX_THREAD_ID}."
                )

    def get_stream_id(self, request: HttpRequest) -> str:
        """Return the id of the run: a run that is run again is the same stream."""
        return self.attrs["run_id"]

    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        """Return the names that the events of the run have."""
        return self.attrs

    async def produce(self, request: HttpRequest) -> AsyncIterator[Any]:
        """Return the words of one answer."""
        return words(self.turns)


def question_of(request: HttpRequest) -> str:
    """Return the text of the last message, if the request has any."""
    if request.content_type != "application/json" or not request.body.strip():
        return "Say something about byte streams."
    match json.loads(request.body):
        case {"messages": [*_, {"content": str(text)}]}:
            return text
        case {"messages": [*_, {"parts": [*parts]}]}:
            return "".join(
                str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part
            )
    raise ValueError("'messages' is a list of at least one message.")
