"""The page, and the endpoints of the chat."""

import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial, wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from resumable_streams import StreamError, streams
from resumable_streams.formats import Missing
from resumable_streams.http import error_response, missing_response
from resumable_streams.owners import get_identity
from resumable_streams.views import AcquireView, resume_response, stream_response

from . import answers, llm
from .models import Chat, Message
from .questions import BadQuestion, Question, is_key, parse, parse_text

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def answering_errors(view: View) -> View:
    """Answer what is wrong with a request or a stream as JSON, with the status code it has."""

    @wraps(view)
    async def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return await view(request, *args, **kwargs)
        except BadQuestion as error:
            return _refusal(str(error), status=400)
        except StreamError as error:
            return error_response(error)

    return answer


@require_GET
@never_cache
@ensure_csrf_cookie
@answering_errors
async def page(request: HttpRequest) -> HttpResponse:
    """Show the chat that `?chat=` names, else the latest one, else a new one."""
    owners = await _owners(request, acquire=True)  # tabs opened from now on share a session
    chats = Chat.objects.filter(owner__in=owners)
    wanted = request.GET.get("chat")
    if is_key(wanted):
        chat = await chats.filter(key=wanted).afirst() or Chat(key=wanted)
    else:
        chat = await chats.afirst() or Chat(key=uuid.uuid4().hex)
    boot = {"api": reverse("chat:ask"), "chat": await _history(chat)}
    shown = {
        "boot": boot,
        "new_chat": uuid.uuid4().hex,
        "has_sockets": hasattr(request, "scope"),  # not under WSGI
    }
    return render(request, "chat/page.html", shown)


@require_POST
@answering_errors
async def ask(request: HttpRequest) -> HttpResponseBase:
    """Answer the last message of the user, or join the answer that it has already."""
    question = parse(request.body)
    owner, *_ = await _owners(request, acquire=True)
    chat = await _find(request, question.chat)
    if chat is None:
        chat, _ = await Chat.objects.aget_or_create(owner=owner, key=question.chat)
    info = await answers.settle(chat)
    if info and info.status in ("streaming", "done") and await _is_repeated(chat, question):
        return await resume_response(request, chat.stream_id)
    is_busy = info.is_streaming if info else chat.is_starting
    if is_busy or not await _claim(chat, question, owner):
        return _refusal("Another answer of this chat is still being written.", status=409)
    turns = await _turns(chat, question)
    response = await stream_response(
        request,
        partial(answers.message_parts, chat, turns),
        stream_id=chat.stream_id,
        format="ui_message",
        attrs={"chat": chat.key},
    )
    if response.status_code != HTTPStatus.OK:  # draining, a full quota, no store: let others try
        await Chat.objects.filter(pk=chat.pk, stream_id=chat.stream_id).aupdate(claimed=None)
    return response


@require_GET
@never_cache
@answering_errors
async def history(request: HttpRequest, key: str) -> HttpResponse:
    """Tell what was said, and which stream is being written; an unknown chat is empty."""
    return JsonResponse(await _history(await _find(request, key) or Chat(key=key)))


@require_GET
@never_cache
@answering_errors
async def join(request: HttpRequest, key: str) -> HttpResponseBase:
    """Replay the answer that is being written, and go on live; 204 when there is none."""
    chat = await _find(request, key)
    if chat is None or not chat.stream_id:
        return missing_response(Missing.NO_CONTENT)
    return await resume_response(request, chat.stream_id, format="ui_message", active=True)


@require_POST
@answering_errors
async def stop(request: HttpRequest, key: str) -> HttpResponse:
    """Stop the answer that is being written; a chat without one stays as it is."""
    chat = await _find(request, key)
    if chat is None:
        return _refusal("No such chat.", status=404)
    info = await streams.acancel(chat.stream_id, owner=chat.owner) if chat.stream_id else None
    return JsonResponse({"status": info.status if info else None}, status=202)


class RawView(AcquireView):
    """Relay the model's events; the body may be empty, or have messages for a real model."""

    format = "raw"

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            is_json = request.content_type == "application/json"
            self.text = parse_text(request.body) if is_json else ""
        except BadQuestion as error:
            return _refusal(str(error), status=400)
        return await super().post(request, *args, **kwargs)

    async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        """Return the events of one answer."""
        text = self.text or "Say something about byte streams."
        return answers.raw_events([llm.Turn(role=Message.Role.USER, text=text)])

    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        """Call the bytes what they are."""
        return {"content_type": "text/event-stream"}


async def _owners(request: HttpRequest, *, acquire: bool = False) -> tuple[str, ...]:
    """Return in whose name the visitor may read; `acquire` leaves a session if there is none."""
    identity = await get_identity(request, using=streams.alias, acquire=acquire)
    return tuple(map(str, identity.owners))


async def _find(request: HttpRequest, key: str) -> Chat | None:
    for owner in await _owners(request):
        if chat := await Chat.objects.filter(owner=owner, key=key).afirst():
            return chat
    return None


async def _history(chat: Chat) -> dict[str, Any]:
    """Describe a chat to its page."""
    if chat.pk is None:
        return {"id": chat.key, "messages": [], "active": None}
    info = await answers.settle(chat)
    messages = [
        {"id": message.key, "role": message.role, "text": message.text, "status": message.status}
        async for message in chat.messages.all()
    ]
    active = chat.stream_id if info and info.is_streaming else None
    return {"id": chat.key, "messages": messages, "active": active}


async def _is_repeated(chat: Chat, question: Question) -> bool:
    """Tell whether the latest answer is for this question, which was only sent once more."""
    if question.again or chat.asked != question.message:
        return False
    return await chat.messages.filter(key=question.message, text=question.text).aexists()


async def _claim(chat: Chat, question: Question, owner: str) -> bool:
    """Give the chat a new stream of `owner`, unless another request has just given it one.

    After a login that is the user, so that the chat of the visitor moves to the account.
    """
    unchanged = Chat.objects.filter(pk=chat.pk, stream_id=chat.stream_id)
    stream_id = str(uuid.uuid4())
    if not await unchanged.aupdate(
        owner=owner, stream_id=stream_id, asked=question.message, claimed=timezone.now()
    ):
        return False
    chat.owner, chat.stream_id = owner, stream_id
    return True


async def _turns(chat: Chat, question: Question) -> list[llm.Turn]:
    """Save the question, drop what followed it (it may be asked again), return what was said."""
    asked, _ = await chat.messages.aupdate_or_create(
        key=question.message, defaults={"role": Message.Role.USER, "text": question.text}
    )
    await chat.messages.filter(pk__gt=asked.pk).adelete()
    return [
        llm.Turn(role=message.role, text=message.text)
        async for message in chat.messages.exclude(text="")
    ]


def _refusal(reason: str, *, status: int) -> JsonResponse:
    return JsonResponse({"error": reason}, status=status)
