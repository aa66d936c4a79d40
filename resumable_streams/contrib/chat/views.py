"""The view of a chat: subclass `ChatView` and write `answer`.

class Assistant(ChatView):
    async def answer(self, conversation, messages):
        async for text in model([(m.role, m.text) for m in messages]):
            yield text

urlpatterns = [path("api/", include(Assistant.urls("chat")))]

POST    api/chat                the next message; its answer is a UI message stream
GET     api/chat                conversations, the latest first
GET     api/chat/<id>           one with its messages
GET     api/chat/<id>/stream    the answer that is being written; 204 without one
POST    api/chat/<id>/stop      the end of that
PATCH   api/chat/<id>           another title
DELETE  api/chat/<id>           the conversation, its messages and its streams
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from inspect import isawaitable
from typing import Any, ClassVar, Self

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path

from ...engine.reader import StreamReader
from ...exceptions import StoreUnavailable, StreamDoesNotExist, StreamError
from ...formats import Missing
from ...http.dispatch import AsyncView
from ...http.response import ResumableStreamResponse, error_response, missing_response
from ...http.resuming import StreamAccess
from ...owners import get_identity, load_user
from ...positions import Position, parse_position
from ...process.holdings import let_go
from ...streams import StreamManager
from ...types import Owner, StreamInfo
from . import logs
from .answers import written
from .deleting import delete_rows
from .former import delete_former
from .models import Conversation, Message
from .parts import BadQuestion, bounded, is_key
from .places import Cursor, Place
from .questions import Question, read_object, read_question
from .responses import (
    continued_response,
    json_response,
    refusal,
    saved_response,
    summary,
)
from .saving import settle, settle_or_log, settle_with
from .turns import Newest, Turn, begin, give_way, latest
from .working import PATH, path_of

__all__ = ["ChatView"]

logger = logging.getLogger("resumable_streams.chat")

TRIES = 5
LOOK_SECONDS = 2.0  # for a history, which the table has
STARTING_LOOKS, STARTING_SECONDS = 10, 0.1
BUSY = "Another answer of this conversation is still being written."

ENDPOINTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "chat": ("", "", {"post": "ask", "get": "list"}),
    "stream": ("/<str:key>/stream", "-stream", {"get": "stream"}),
    "stop": ("/<str:key>/stop", "-stop", {"post": "stop"}),
    "detail": ("/<str:key>", "-detail", {"get": "history", "patch": "rename", "delete": "remove"}),
}
"""The addresses: route, suffix of the name, and the handler of each method."""


class ChatView(AsyncView):
    """The views of a chat. Subclass it and write `answer`.

    `on_busy` is the policy for a question while another answer of its conversation is written:
    "refuse" is 409, "replace" stops that answer first.
    """

    using: str = "default"
    on_busy: ClassVar[str] = "refuse"
    save_interval: ClassVar[float | None] = 30
    """Seconds after which an answer is saved while it is written; None: at its end only."""
    max_message_bytes: ClassVar[int] = 65_536
    max_messages: ClassVar[int] = 1_000
    """How many of the last messages of a conversation a history has, and `answer` gets."""
    max_history_bytes: ClassVar[int] = 8_388_608
    """How many bytes of JSON these messages have at most."""
    page_size: ClassVar[int] = 50
    ttl: ClassVar[float | None] = None

    enqueue: ClassVar[bool] = False
    """Answers are produced by workers: `manage.py resumable_streams worker`."""

    name: str = "chat"
    endpoint: str = "chat"

    @classmethod
    def urls(cls, name: str = "chat") -> list[URLPattern]:
        """Return the addresses below `name`, which is the prefix of their names, too."""
        if cls.answer is ChatView.answer:
            raise ImproperlyConfigured(
                f"{cls.__qualname__} has no `answer`. Write "
                f"`async def answer(self, conversation, messages)`, which yields text or parts."
            )
        if cls.on_busy not in ("refuse", "replace"):
            raise ImproperlyConfigured(f"{cls.__qualname__}.on_busy is 'refuse' or 'replace'.")
        if cls.enqueue:
            _check_path(cls)
        return [
            path(
                f"{name}{route}",
                cls.as_view(name=name, endpoint=endpoint, http_method_names=[*methods, "options"]),
                name=f"{name}{suffix}",
            )
            for endpoint, (route, suffix, methods) in ENDPOINTS.items()
        ]

    @classmethod
    async def of(cls, request: HttpRequest, *, name: str = "chat", acquire: bool = False) -> Self:
        """Return the chat of the one who asks, for a page of yours to show what is there.

        `name` is that of its addresses. With `acquire` a visitor gets a session, so that tabs
        opened from now on share it. Raises InvalidOwner for nobody.
        """
        chat = cls(name=name)
        chat.setup(request)
        await load_user(request)
        await chat._identify(acquire=acquire)
        return chat

    async def history(self, key: str) -> dict[str, Any]:
        """Return a conversation as `GET api/chat/<id>` does; one that is not there is empty."""
        conversation = await self._find(key)
        if conversation is None:
            return {"id": key, "title": "", "running": None, "messages": []}
        async with _if_the_store_answers():
            await settle(conversation)
        messages = await sync_to_async(latest)(conversation, self.bounds)
        # As the messages say, which were read last: the answer may have ended in between, and a
        # client adds what it reads of a stream to the parts that it has.
        is_running = bool(messages) and messages[-1].status == Message.Status.RUNNING
        return {
            "id": conversation.key,
            "title": conversation.title,
            "running": messages[-1].stream_id if is_running else None,
            "messages": [message.as_ui_message() for message in messages],
        }

    async def conversations(self, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of conversations as `GET api/chat` does; raise BadQuestion for a cursor."""
        found = None if cursor is None else Cursor.parse(cursor)
        rows = await sync_to_async(self.place.page)(found, self.page_size)
        page = rows[: self.page_size]
        await self._settle_all(page)
        last = page[-1] if len(rows) > len(page) else None
        following = None if last is None else str(Cursor(updated=last.updated, pk=last.pk))
        return {"conversations": list(map(summary, page)), "next": following}

    @property
    def bounds(self) -> Newest:
        """How much of a conversation a history has, and `answer` gets."""
        return Newest(messages=self.max_messages, size=self.max_history_bytes)

    # To override.

    def answer(self, conversation: Conversation, messages: Sequence[Message]) -> Any:
        """Yield the answer to the last message, as text or parts of a UI message stream.

        An async or sync generator, or a coroutine that returns an iterable. It runs apart from the
        request: no disconnect ends it. `self.request` is the request that asked; a worker has no
        request.
        """
        raise NotImplementedError("Write `async def answer(self, conversation, messages)`.")

    def refuse(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase | None] | None:
        """Return an answer to refuse a question before it is saved, or None.

        As sync code it runs in the thread of the request, where the ORM is allowed.
        """
        return None

    def get_title(self, message: str) -> str:
        """Return the title of a conversation from the text of its first question."""
        return message

    # Requests.

    async def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        return await self._respond("post", **kwargs)

    async def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        return await self._respond("get", **kwargs)

    async def patch(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        return await self._respond("patch", **kwargs)

    async def delete(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        return await self._respond("delete", **kwargs)

    async def _respond(self, method: str, key: str | None = None) -> HttpResponseBase:
        _, _, handlers = ENDPOINTS[self.endpoint]
        handler = getattr(self, f"_{handlers[method]}")
        try:
            await self._identify(acquire=handlers[method] == "ask")
            response: HttpResponseBase = await (handler() if key is None else handler(key))
        except BadQuestion as error:
            response = refusal(error.word, str(error), status=error.status)
        except StreamError as error:
            response = error_response(error, acquiring=True)
        return response

    async def _identify(self, *, acquire: bool) -> None:
        identity = await get_identity(self.request, using=self.using, acquire=acquire)
        self.place = Place.of(identity, self.using, chat=self.name)

    async def _find(self, key: str) -> Conversation | None:
        if not is_key(key):
            return None
        return await sync_to_async(self.place.find)(key)

    # Asking.

    async def _ask(self) -> HttpResponseBase:
        question = read_question(self.request.body, size=self.max_message_bytes)
        if (answer := await self._refusal()) is not None:
            return answer
        for _ in range(TRIES):
            turn = await sync_to_async(self._begin)(question)
            if turn.is_new:
                return await self._start(turn)
            if (answer := await self._meet(turn)) is not None:
                return answer
        return refusal("slot_busy", BUSY, status=409)

    def _begin(self, question: Question) -> Turn:
        conversation = self.place.begin(question.conversation)
        text = " ".join(one["text"] for one in question.parts if one["type"] == "text")
        title = "" if conversation.title else self.get_title(text)
        return begin(conversation, question, last=self.bounds, title=title)

    async def _refusal(self) -> HttpResponseBase | None:
        hook: Any = self.refuse
        is_sync = type(self).refuse is not ChatView.refuse and not iscoroutinefunction(hook)
        answer: Any = await sync_to_async(hook)(self.request) if is_sync else hook(self.request)
        refused: HttpResponseBase | None = await answer if isawaitable(answer) else answer
        return refused

    async def _start(self, turn: Turn) -> HttpResponseBase:
        """Answer with the stream of a turn, which is produced here unless it is already."""
        conversation = turn.conversation
        terms: dict[str, Any] = {
            "owner": self._owners(conversation),
            "tenant": conversation.tenant,
            "ttl": self.ttl,
            "attrs": {"format": "ui_message", "message": turn.answer.key},
            "slot": f"chat:{conversation.pk}",  # where the database forgot one that runs
            "on_busy": self.on_busy,
            "request": self.request,
        }
        try:
            reader = await self._produce(turn, terms)
        except StreamError:
            await sync_to_async(give_way)(turn)
            raise
        return ResumableStreamResponse(reader, self.request)

    async def _produce(self, turn: Turn, terms: dict[str, Any]) -> StreamReader:
        manager = StreamManager(self.using)
        if self.enqueue:
            order = {"view": path_of(type(self)), "name": self.name}
            return await manager.aenqueue(turn.stream_id, PATH, order, **terms)
        answer = partial(self.answer, turn.conversation, turn.messages)
        source = partial(written, turn, answer, interval=self.save_interval)
        return await manager.arun(turn.stream_id, source, **terms)

    def _owners(self, conversation: Conversation) -> list[Owner]:
        """Return in whose names is asked: a stream belongs to the owner of its conversation."""
        return list(dict.fromkeys([conversation.stream_owner, *self.place.owners]))

    async def _meet(self, turn: Turn) -> HttpResponseBase | None:
        """Answer where an answer is there already; None if that has given way, or ended."""
        conversation = turn.conversation
        if turn.answer.status != Message.Status.RUNNING:
            return await self._replay(turn)
        info = await settle(conversation)
        if conversation.running is None:
            return None
        if turn.is_same:
            return await (self._start(turn) if info is None else self._join(turn, info))
        if self.on_busy == "refuse":
            return refusal("slot_busy", BUSY, status=409)
        await self._end(conversation, info or await self._running(conversation))
        return None

    async def _replay(self, turn: Turn) -> HttpResponseBase:
        """Answer a question that has its answer, once more."""
        info = await logs.look(self.using, self.place.tenant, turn.stream_id)
        return await self._join(turn, info)

    async def _join(self, turn: Turn, info: StreamInfo | None) -> HttpResponseBase:
        """Answer with a stream that is there, from its start; from the table if it is barred."""
        try:
            if info is None:
                raise StreamDoesNotExist
            resumption = await self._access(info).open(Position())
        except StreamDoesNotExist:
            return saved_response(turn.answer, self.request, base=turn.answer.base)
        return ResumableStreamResponse(resumption.reader, self.request)

    # Coming back, and stopping.

    def _access(self, info: StreamInfo) -> StreamAccess:
        """Return a stream of a conversation that was found in a name of the one who asks.

        It may belong to another: a visitor's conversation has moved while its answer was written.
        """
        manager = StreamManager(self.using).tenant(info.tenant)
        return StreamAccess(
            manager=manager, stream_id=info.stream_id, asker=info.owner, request=self.request
        )

    async def _stream(self, key: str) -> HttpResponseBase:
        position = parse_position(self.request.GET, self.request.headers)
        conversation = await self._find(key)
        info = None if conversation is None else await self._running(conversation)
        if conversation is not None and info is None:
            return await self._just_ended(conversation)
        if conversation is None or info is None:
            return missing_response(Missing.NO_CONTENT)
        try:
            resumption = await self._access(info).open(position)
        except StreamError as error:
            return error_response(error, missing=Missing.NO_CONTENT, reading=self.request)
        reader = resumption.reader
        if not reader.info.is_streaming and self.request.GET.get("stream") != info.stream_id:
            reader.close()  # it has ended just now
            return missing_response(Missing.NO_CONTENT)
        rows = Message.objects.filter(stream_id=info.stream_id)
        answer = await sync_to_async(rows.first)()
        if answer is None:
            return ResumableStreamResponse(reader, self.request)
        return continued_response(reader, self.request, answer)

    async def _just_ended(self, conversation: Conversation) -> HttpResponseBase:
        """Answer where nothing runs: with the last answer, if it ran when the client last looked.

        Its history has that message without parts, and nothing else would bring them.
        """
        stream_id = self.request.GET.get("stream")
        last = await sync_to_async(latest)(conversation, Newest(messages=1))
        if not stream_id or not last or last[0].stream_id != stream_id:
            return missing_response(Missing.NO_CONTENT)
        if last[0].status == Message.Status.RUNNING:  # its stream is not there yet
            return missing_response(Missing.NO_CONTENT)
        return saved_response(last[0], self.request)

    async def _stop(self, key: str) -> HttpResponseBase:
        conversation = await self._find(key)
        if conversation is None:
            return missing_response()
        info = await self._running(conversation)
        if info is not None:
            info = await self._end(conversation, info)
        return json_response({"status": info.status if info else None}, status=202)

    async def _running(self, conversation: Conversation) -> StreamInfo | None:
        """Return the stream of the running answer; wait a moment for one that is about to start."""
        for _ in range(STARTING_LOOKS):
            info = await settle(conversation)
            if info is not None or conversation.running is None:
                return info
            await let_go()
            await asyncio.sleep(STARTING_SECONDS)
        return None

    async def _end(self, conversation: Conversation, info: StreamInfo | None) -> StreamInfo | None:
        """Stop the answer that is being written, and save it."""
        if info is None:
            return None
        manager = StreamManager(self.using)
        ended = await manager.acancel(
            info.stream_id,
            owner=info.owner,
            tenant=info.tenant,
            epoch=info.epoch,
            request=self.request,
        )
        await settle_with(conversation, ended)
        return ended

    # Histories.

    async def _history(self, key: str) -> HttpResponseBase:
        return json_response(await self.history(key))

    async def _list(self) -> HttpResponseBase:
        return json_response(await self.conversations(self.request.GET.get("cursor")))

    async def _settle_all(self, page: Sequence[Conversation]) -> None:
        running = [one for one in page if one.running is not None]
        if not running:
            return
        ids = [str(one.running) for one in running]
        async with _if_the_store_answers():
            infos = await logs.look_at(self.using, self.place.tenant, ids)
            for conversation, info in zip(running, infos, strict=True):
                await settle_or_log(conversation, info)

    async def _rename(self, key: str) -> HttpResponseBase:
        content = read_object(self.request.body)
        title = content.get("title")
        if not isinstance(title, str) or not 1 <= len(title.strip()) <= 200:
            raise BadQuestion("'title' is a string of 1 to 200 characters.")
        bounded(title, size=1_000)
        conversation = await self._find(key)
        if conversation is None:
            return missing_response()
        conversation.title = title.strip()
        rows = Conversation.objects.filter(pk=conversation.pk)
        if not await sync_to_async(rows.update)(title=conversation.title):
            return missing_response()
        return json_response(summary(conversation))

    async def _remove(self, key: str) -> HttpResponseBase:
        conversation = await self._find(key)
        if conversation is None:
            return missing_response()
        await delete_former(await sync_to_async(delete_rows)(conversation))
        return HttpResponse(status=204)


@asynccontextmanager
async def _if_the_store_answers() -> AsyncIterator[None]:
    """Look at streams for a history or a list, which the table has; a later look settles the rest.

    A store that swallows what it is sent keeps nobody waiting.
    """
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            yield
    except StoreUnavailable:  # which the store has logged
        pass
    except TimeoutError:
        logger.warning(
            "The store did not say within %g seconds which answers have ended: they are shown as "
            "they were saved. If this goes on, the store or the way to it is overloaded or dead.",
            LOOK_SECONDS,
        )


def _check_path(view: type[ChatView]) -> None:
    try:
        path_of(view)
    except ImportError as error:
        raise ImproperlyConfigured(str(error)) from error
