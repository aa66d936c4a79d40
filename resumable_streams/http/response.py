"""Streams over HTTP: one response class, the headers, and one table of errors."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import NoReverseMatch, get_resolver, get_urlconf, reverse

from ..conf import DEFAULT_ALIAS, get_settings
from ..engine.reader import StreamReader
from ..exceptions import (
    InvalidOffset,
    InvalidOwner,
    InvalidPage,
    InvalidSlot,
    InvalidStreamId,
    InvalidTenant,
    OffsetInsideFrame,
    ShuttingDown,
    SlotBusy,
    StoreUnavailable,
    StreamDoesNotExist,
    StreamError,
    StreamLimitExceeded,
    StreamReplaced,
)
from ..formats import Missing, come_back, format_of, sse, ui_message
from ..positions import Span
from ..types import StreamInfo, StreamPage, StreamStatus
from .body import Body
from .transports import BodyCut, transport_of

__all__ = [
    "BodyCut",
    "ResumableStreamResponse",
    "error_response",
    "head_response",
    "info_response",
    "missing_response",
    "name_in_api",
    "over_response",
    "page_response",
    "state_of",
    "word_of",
]

ID_HEADER = "X-Resumable-Stream-Id"
OFFSET_HEADER = "X-Resumable-Stream-Offset"
SIZE_HEADER = "X-Resumable-Stream-Size"
STATUS_HEADER = "X-Resumable-Stream-Status"
EPOCH_HEADER = "X-Resumable-Stream-Epoch"
EXPOSED = (ID_HEADER, EPOCH_HEADER, OFFSET_HEADER, SIZE_HEADER, STATUS_HEADER, "Location")
"""What scripts of other origins may read of a stream; of a refusal, `Retry-After`."""

CACHE_CONTROL = "private, no-store, no-transform"
"""Bodies are somebody's own, and grow. They have no ETag: from it, ConditionalGetMiddleware would
make a 304 of a body that starts elsewhere."""

RETRY_AFTER = 1  # seconds


class ResumableStreamResponse(StreamingHttpResponse):
    """A response with a stream, from the offset of its reader, in the format it was acquired with.

    Closing the response, which Django does when the client is gone, closes the reader and nothing
    else: production goes on. Under WSGI it is iterated in the thread of the request.
    """

    keep_alive: float | None
    """Seconds of silence after which a format that can says that the connection is alive: in a
    subclass in place of KEEP_ALIVE."""

    max_seconds: float | None
    """Seconds after which the body is interrupted, so that the client comes back: in a subclass in
    place of MAX_RESPONSE_SECONDS."""

    def __init__(
        self,
        reader: StreamReader,
        request: HttpRequest,
        *,
        reset: bool = False,
        span: Span | None = None,
    ) -> None:
        wire_format, info, scope = format_of(reader.info), reader.info, _scope(request)
        settings = get_settings(reader.alias)
        body = Body(
            reader,
            wire_format.encoder(info, reader.offset, reset=reset),
            transport_of(request),
            length=None if span is None else span.length,
            keep_alive=getattr(self, "keep_alive", settings.keep_alive),
            seconds=getattr(self, "max_seconds", settings.max_response_seconds),
        )
        self._frames = None if scope is None else body.frames()
        super().__init__(
            self._frames or body.blocking(),
            status=200 if span is None else 206,
            content_type=wire_format.get_content_type(info),
        )
        self.reader = reader
        _describe(self, info, offset=reader.offset)
        _measure(self, info, offset=reader.offset, span=span)
        if request.method == "POST":
            _locate(self, request, reader.alias, info)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate the body itself, unless a middleware has put something around it.

        Django would do so through two generators, which cost more than the frames.
        """
        is_wrapped = getattr(self, "_iterator", None) is not self._frames
        if self._frames is not None and not is_wrapped:
            return _Frames(self._frames)
        wrapped: AsyncIterator[bytes] = super().__aiter__()
        return wrapped

    def close(self) -> None:
        self.reader.close()
        super().close()


class _Frames(AsyncIterator[bytes]):
    """The frames of a body, for one iteration; closing that leaves the rest, as with Django's."""

    __slots__ = ("_frames",)

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        self._frames = frames

    def __anext__(self) -> Awaitable[bytes]:
        return anext(self._frames)

    async def aclose(self) -> None:
        """Do nothing: the response closes its reader."""


def _scope(request: HttpRequest) -> Mapping[str, Any] | None:
    """Return the ASGI scope of a request; None under WSGI."""
    return getattr(request, "scope", None)


def _describe(
    response: HttpResponse | StreamingHttpResponse, info: StreamInfo, *, offset: int
) -> None:
    """Set the headers of every answer that is, or would be, a stream."""
    headers = {
        "Cache-Control": CACHE_CONTROL,
        "X-Accel-Buffering": "no",
        "Content-Encoding": "identity",  # or the gzip of Django 5.2 holds frames back
        "X-Content-Type-Options": "nosniff",
        OFFSET_HEADER: str(offset),
        **format_of(info).headers,
    }
    for name, value in headers.items():
        response[name] = value
    _name(response, info)


def _name(response: HttpResponse | StreamingHttpResponse, info: StreamInfo) -> None:
    """Say of which stream, and which incarnation of it, an answer is."""
    response[ID_HEADER] = info.stream_id
    response[EPOCH_HEADER] = info.epoch
    _expose(response, *EXPOSED)


def _locate(
    response: StreamingHttpResponse, request: HttpRequest, alias: str, info: StreamInfo
) -> None:
    """Say where to come back, if the project has our addresses for this alias.

    Those of the API that is asked come first: its users may be unknown elsewhere.
    """
    here = getattr(request.resolver_match, "namespace", "")
    names = [f"{namespace}:stream" for namespace in _namespaces(alias)]
    for name in (f"{here}:{name_in_api(alias)}", *names):
        with suppress(NoReverseMatch):
            response["Location"] = reverse(name, args=[info.stream_id])
            return


def name_in_api(alias: str) -> str:
    """Return the name of the address of a stream in an API, whose namespace is not ours."""
    return f"resumable-stream-{alias}"


def _namespaces(alias: str) -> list[str]:
    """Return the namespaces in which the project has included the addresses of an alias."""
    resolver = get_resolver(get_urlconf())
    return [
        namespace
        for namespace in resolver.app_dict.get("resumable_streams", ())
        if _alias_of(resolver.namespace_dict[namespace][1].url_patterns) == alias
    ]


def _alias_of(patterns: Sequence[Any]) -> str:
    """Return the alias whose streams are at these addresses, which may be a project's own."""
    named = (one.callback for one in patterns if getattr(one, "name", None) == "stream")
    view = next(named, None)
    of_class: str = getattr(getattr(view, "view_class", None), "using", DEFAULT_ALIAS)
    initial: dict[str, str] = getattr(view, "view_initkwargs", {})
    return initial.get("using", of_class)


def _expose(response: HttpResponse | StreamingHttpResponse, *names: str) -> None:
    """Let scripts of other origins read the headers, with those they may read already."""
    header = "Access-Control-Expose-Headers"
    exposed = [name.strip() for name in response.get(header, "").split(",") if name.strip()]
    known = {name.lower() for name in exposed}
    exposed += [name for name in names if name.lower() not in known]
    response[header] = ", ".join(exposed)


def _measure(
    response: StreamingHttpResponse, info: StreamInfo, *, offset: int, span: Span | None
) -> None:
    """Set the headers that say how long the body is, where that is known and means bytes."""
    if not format_of(info).is_log:
        return
    response["Accept-Ranges"] = "bytes"
    if span is not None:
        response["Content-Range"] = span.content_range
        if span.length is not None:
            response["Content-Length"] = str(span.length)
    elif info.status in (StreamStatus.DONE, StreamStatus.CANCELLED):
        response["Content-Length"] = str(info.size - offset)


def head_response(
    info: StreamInfo, request: HttpRequest, *, offset: int = 0
) -> StreamingHttpResponse:
    """Answer HEAD: the headers of the stream, with its size and status."""
    # A streaming one, as Django would give a plain one the length of its empty body.
    response = StreamingHttpResponse(
        iter(()) if _scope(request) is None else _nothing(),
        content_type=format_of(info).get_content_type(info),
    )
    _describe(response, info, offset=offset)
    _measure(response, info, offset=offset, span=None)
    response[SIZE_HEADER] = str(info.size)
    response[STATUS_HEADER] = info.status.value
    return response


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


def state_of(info: StreamInfo) -> dict[str, object]:
    """Return the state of a stream as clients get it; times are seconds since 1970."""
    state: dict[str, object] = {
        "id": info.stream_id,
        "status": info.status.value,
        "size": info.size,
        "created": info.created,
        "expires": info.expires,
        "error": info.error_code or None,
    }
    if info.slot:
        state["slot"] = info.slot
    return {**state, "detail": info.error} if info.error else state


def info_response(info: StreamInfo, *, status: int = 200) -> HttpResponse:
    """Answer with the state of a stream as JSON."""
    response = _json_response(state_of(info), status=status)
    _name(response, info)
    return response


def page_response(page: StreamPage) -> HttpResponse:
    """Answer with a page of a list as JSON; `next` is null on the last one."""
    answer = {"streams": list(map(state_of, page.streams)), "next": page.next or None}
    return _json_response(answer, status=200)


def over_response(info: StreamInfo) -> HttpResponse:
    """Answer that the client has had all of it: 204, at which EventSource stops."""
    response = HttpResponse(status=204, headers={"Cache-Control": CACHE_CONTROL})
    _name(response, info)
    return response


def _json_response(answer: Mapping[str, object], *, status: int) -> HttpResponse:
    response = HttpResponse(json.dumps(answer), status=status, content_type="application/json")
    response["Cache-Control"] = CACHE_CONTROL
    response["X-Content-Type-Options"] = "nosniff"
    return response


def missing_response(missing: Missing | str = Missing.NOT_FOUND) -> HttpResponse:
    """Answer that there is nothing for this caller, in the same way for every reason."""
    if missing == Missing.NO_CONTENT:
        response = HttpResponse(status=204)
    elif missing == Missing.FINISH:
        content = ui_message.part({"type": "finish"})
        headers = ui_message.headers
        response = HttpResponse(content, content_type=ui_message.content_type, headers=headers)
    else:
        return _json_response({"error": "stream_not_found"}, status=404)
    response["Cache-Control"] = CACHE_CONTROL
    return response


ANSWERS: dict[type[StreamError], tuple[int, str]] = {
    OffsetInsideFrame: (400, "inside_a_frame"),
    InvalidOffset: (400, "invalid_position"),
    InvalidSlot: (400, "invalid_slot"),
    InvalidPage: (400, "invalid_page"),
    SlotBusy: (409, "slot_busy"),
    StreamReplaced: (412, "stream_replaced"),
    InvalidStreamId: (400, "invalid_stream_id"),
    InvalidTenant: (400, "invalid_tenant"),
    InvalidOwner: (401, "no_owner"),
    StreamLimitExceeded: (429, "too_many_streams"),
    StoreUnavailable: (503, "unavailable"),
    ShuttingDown: (503, "shutting_down"),
}
"""The status code and the word for each error a request can meet, all but 404, 413 and 416."""

STREAM_LIMITS = ("MAX_CHUNK_BYTES", "MAX_ENTRIES_PER_STREAM", "MAX_STREAM_BYTES")
"""The limits of one stream: to try again later is of no use."""


def error_response(
    error: StreamError,
    *,
    acquiring: bool = False,
    missing: Missing | str = Missing.NOT_FOUND,
    reading: HttpRequest | None = None,
) -> HttpResponse:
    """Answer with what an error means to a client; raise it again if it means nothing to one.

    To a reader an impossible id or tenant is a missing stream; `missing` is the answer to that.
    `reading` is the request of one that would go on with a stream.
    """
    unnamed = isinstance(error, InvalidStreamId | InvalidTenant) and not acquiring
    if unnamed or isinstance(error, StreamDoesNotExist):
        return missing_response(missing)
    status, word = _answer_to(error)
    if not status:
        raise error
    if status == 503 and reading is not None and _is_event_source(reading):
        return _come_back_response()
    answer = {"error": word}
    if isinstance(error, InvalidPage):
        answer["detail"] = str(error)
    if isinstance(error, OffsetInsideFrame):
        answer["detail"] = error.message
    response = _json_response(answer, status=status)
    if status == 416:
        response["Content-Range"] = f"bytes */{getattr(error, 'size', None)}"
    if isinstance(error, SlotBusy):  # a stream of the same owner
        response[ID_HEADER] = error.stream_id
        _expose(response, ID_HEADER)
    if isinstance(error, StreamReplaced):
        response[EPOCH_HEADER] = error.epoch
        _expose(response, EPOCH_HEADER)
    if status in (429, 503):
        response["Retry-After"] = str(getattr(error, "retry_after", None) or RETRY_AFTER)
        _expose(response, "Retry-After")
    return response


def _answer_to(error: StreamError) -> tuple[int, str]:
    """Return the status code and the word for an error; 0 for one that means nothing to clients."""
    if isinstance(error, StreamLimitExceeded) and error.limit in STREAM_LIMITS:
        return 413, "too_large"
    if isinstance(error, InvalidOffset) and error.size is not None:
        return 416, "beyond_the_end"
    return next((ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS), (0, ""))


def word_of(error: StreamError) -> str:
    """Return the word by which an answer names an error; "" for one without an answer."""
    return _answer_to(error)[1]


def _is_event_source(request: HttpRequest) -> bool:
    """Return whether a browser's EventSource asks, and not a client that sees status codes.

    This is what the HTML standard has it send; fetch-event-source sends the first header only.
    """
    is_alone = request.headers.get("Accept", "").strip() == "text/event-stream"
    return is_alone and "no-cache" in request.headers.get("Cache-Control", "")


def _come_back_response() -> HttpResponse:
    """Answer an EventSource with nothing but when to come back; any other status would end it."""
    response = HttpResponse(come_back(), content_type=sse.content_type)
    response["Cache-Control"] = CACHE_CONTROL
    return response
