"""The answers of the views of a chat, beside streams."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from ...engine.reader import StreamReader
from ...formats import ui_message
from ...http.response import CACHE_CONTROL, ResumableStreamResponse
from .models import Conversation, Message
from .replaying import replay

__all__ = [
    "ReplayedResponse",
    "continued_response",
    "json_response",
    "refusal",
    "saved_response",
    "summary",
]


def json_response(answer: Mapping[str, Any], *, status: int = 200) -> HttpResponse:
    """Answer with JSON that nobody keeps a copy of."""
    content = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    response = HttpResponse(content, status=status, content_type="application/json")
    response["Cache-Control"] = CACHE_CONTROL
    response["X-Content-Type-Options"] = "nosniff"
    return response


def refusal(word: str, detail: str = "", *, status: int) -> HttpResponse:
    """Answer with the word for a refusal, and a sentence for the author of the client."""
    return json_response({"error": word, **({"detail": detail} if detail else {})}, status=status)


class ReplayedResponse(ResumableStreamResponse):
    """A stream from its first byte, after frames of what its message had before it began."""

    def __init__(self, reader: StreamReader, request: HttpRequest, before: bytes) -> None:
        super().__init__(reader, request)
        self._before = before
        body = self.streaming_content
        self.streaming_content = (
            _after_async(before, body) if self.is_async else _after(before, body)
        )


async def _after_async(before: bytes, body: Any) -> Any:
    yield before
    async for frame in body:
        yield frame


def _after(before: bytes, body: Any) -> Iterator[bytes]:
    yield before
    yield from body


def continued_response(
    reader: StreamReader, request: HttpRequest, answer: Message
) -> HttpResponseBase:
    """Answer with a whole message while its stream goes on with it after a tool's result.

    The stream has only the new parts; a client that comes back has none of the others.
    """
    earlier = answer.parts[: answer.base]
    if not earlier or reader.offset:
        return ResumableStreamResponse(reader, request)
    return ReplayedResponse(reader, request, replay(answer.key, earlier))


def saved_response(answer: Message, request: HttpRequest, *, base: int = 0) -> HttpResponseBase:
    """Answer with a message from the table, from part `base` on, as its stream would be."""
    end = ui_message.part(_end_of(answer)) + b"data: [DONE]\n\n"
    content = replay(answer.key, answer.parts[base:]) + end
    response = StreamingHttpResponse(
        [content] if getattr(request, "scope", None) is None else _once(content),
        content_type=ui_message.content_type,
        headers={**ui_message.headers, "Cache-Control": CACHE_CONTROL},
    )
    response["X-Accel-Buffering"] = "no"
    return response


def _end_of(answer: Message) -> dict[str, Any]:
    match answer.status:
        case Message.Status.STOPPED:
            return {"type": "abort"}
        case Message.Status.FAILED:
            text = f"The stream ended with an error: {answer.error_code}."
            return {"type": "error", "errorText": text}
    return {"type": "finish"}


async def _once(content: bytes) -> Any:
    yield content


def summary(conversation: Conversation) -> dict[str, Any]:
    """Return a conversation as lists have it."""
    return {
        "id": conversation.key,
        "title": conversation.title,
        "updated": conversation.updated.isoformat(),
        "running": conversation.running,
    }
