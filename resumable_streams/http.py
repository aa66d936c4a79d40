"""Streams over HTTP: positions in, one response class and one table of errors out.

A body ends in one of three ways. *Cleanly*: the format has said how the stream ended. *Interrupted*
(this process drains, the store is away, the response has lived long enough): a format with frames
ends it without a terminal frame, and the client comes back. *Cut*: a format without frames has no
other way to say that bytes are missing than to break the connection, so that no client takes a
part for the whole.
"""

import asyncio
import errno
import json
import math
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import RequestAborted
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from .exceptions import (
    InvalidOffset,
    InvalidOwner,
    InvalidStreamId,
    InvalidTenant,
    ShuttingDown,
    StoreUnavailable,
    StreamDoesNotExist,
    StreamError,
    StreamFailed,
    StreamLimitExceeded,
)
from .formats import Encoder, Format, Missing, get_format, raw, ui_message
from .owners import Identity
from .readers import StreamReader
from .runtime import runtime
from .sse import EventId
from .streams import StreamManager
from .types import StreamInfo, StreamStatus

__all__ = [
    "BodyCut",
    "ByteRange",
    "Opening",
    "Position",
    "ResumableStreamResponse",
    "Span",
    "error_response",
    "format_of",
    "head_response",
    "info_response",
    "missing_response",
    "open_stream",
    "parse_position",
    "plan_range",
]

ID_HEADER = "X-Resumable-Stream-Id"
OFFSET_HEADER = "X-Resumable-Stream-Offset"
SIZE_HEADER = "X-Resumable-Stream-Size"
STATUS_HEADER = "X-Resumable-Stream-Status"

MAX_OFFSET = 2**53 - 1  # what JavaScript and Lua count exactly; no log is that long
VERY_LARGE = 10**11  # a last byte from here on asks for what is yet to come (RFC 8673)
RETRY_AFTER = 1  # seconds


# --- positions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Hold one range of RFC 9110: from `first` to `last`, or, without `first`, the last bytes."""

    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """State which bytes a 206 carries; `length` None: the end of the body is not the end of it."""

    first: int
    last: int
    total: int | None
    length: int | None

    @property
    def content_range(self) -> str:
        return f"bytes {self.first}-{self.last}/{'*' if self.total is None else self.total}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """State where a reader wants to go on. At most one of the first three is set."""

    event_id: EventId | None = None
    offset: int | None = None
    byte_range: ByteRange | None = None
    live: bool = True


def parse_position(query: Mapping[str, str], headers: Mapping[str, str]) -> Position:
    """Return the position that a request names; raise InvalidOffset for one that is malformed.

    `Last-Event-ID` comes first: EventSource reconnects to its first address, `?offset=` and all.
    """
    event_id, offset = _parse_event_id(headers), _parse_offset(query)
    byte_range = None if "If-Range" in headers else _parse_range(headers.get("Range", ""))
    live = _parse_live(query)
    if event_id is not None:
        return Position(event_id=event_id, live=live)
    if offset is not None:
        return Position(offset=offset, live=live)
    return Position(byte_range=byte_range, live=live)


def _parse_event_id(headers: Mapping[str, str]) -> EventId | None:
    text = headers.get("Last-Event-ID", "")
    event_id = EventId.parse(text)
    if text and event_id is None:
        raise InvalidOffset
    return event_id


def _parse_offset(query: Mapping[str, str]) -> int | None:
    text = query.get("offset")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]+", text):
        raise InvalidOffset
    return _number(text)


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return min(int(significant or "0"), MAX_OFFSET) if len(significant) < 20 else MAX_OFFSET


def _parse_live(query: Mapping[str, str]) -> bool:
    text = query.get("live", "1")
    if text not in ("0", "1"):
        raise InvalidOffset
    return text == "1"


def _parse_range(text: str) -> ByteRange | None:
    """Return the one byte range asked for; None for a unit or a set of ranges we may ignore."""
    unit, _, ranges = text.partition("=")
    if unit.strip().lower() != "bytes" or "," in ranges:
        return None
    match = re.fullmatch(r"([0-9]*)-([0-9]*)", ranges.strip())
    if match is None or match[0] == "-":
        raise InvalidOffset
    first, last = (_number(digits) if digits else None for digits in match.groups())
    if first is not None and last is not None and last < first:
        raise InvalidOffset
    return ByteRange(first, last)


def plan_range(wanted: ByteRange, info: StreamInfo) -> Span | None:
    """Return what answers a range of the stream as it is now; None to ignore the range.

    Raises InvalidOffset where nothing of it is there (416). An open range of a live stream is
    ignored, as its end is not known; a very large last byte says that the client knows that.
    """
    size, live = info.size, info.is_streaming
    if wanted.first is None:
        return None if live else _plan_suffix(wanted.last or 0, info)
    if live and wanted.last is None:
        return None
    if live and wanted.last is not None and wanted.last >= VERY_LARGE:
        if wanted.first > size:
            raise InvalidOffset(size)
        return Span(wanted.first, wanted.last, total=None, length=None)
    if wanted.first >= size:
        raise InvalidOffset(size)
    last = size - 1 if wanted.last is None else min(wanted.last, size - 1)
    return _span(wanted.first, last, info)


def _plan_suffix(length: int, info: StreamInfo) -> Span:
    if not length or not info.size:
        raise InvalidOffset(info.size)
    return _span(max(0, info.size - length), info.size - 1, info)


def _span(first: int, last: int, info: StreamInfo) -> Span:
    # Of a failed stream the whole is not known, and its last byte is followed by the cut.
    failed = info.status is StreamStatus.ERROR
    cut = failed and last == info.size - 1
    total = None if failed or info.is_streaming else info.size
    return Span(first, last, total=total, length=None if cut else last - first + 1)


# --- from a position to a reader ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Hold a reader that stands where the answer begins.

    `reset`: not where the client asked to go on. `is_over`: the client has had it all.
    """

    reader: StreamReader
    reset: bool = False
    span: Span | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Reach one stream in the name of all owners of a request, in their order."""

    manager: StreamManager
    stream_id: str
    identity: Identity
    request: HttpRequest

    async def resume(self, offset: int, *, live: bool) -> StreamReader:
        for owner in self.identity.owners:
            reader = await self.manager.resume(
                self.stream_id,
                owner=owner,
                tenant=self.identity.tenant,
                offset=offset,
                live=live,
                request=self.request,
            )
            if reader is not None:
                return reader
        raise StreamDoesNotExist

    async def ask(self, verb: Callable[..., Any]) -> Any:
        """Call a verb of the manager for one owner after the other, until one is answered."""
        for owner in self.identity.owners:
            answer = await verb(
                self.stream_id, owner=owner, tenant=self.identity.tenant, request=self.request
            )
            if answer:
                return answer
        raise StreamDoesNotExist

    async def status(self) -> StreamInfo:
        info: StreamInfo = await self.ask(self.manager.status)
        return info


async def open_stream(access: Access, position: Position) -> Opening:
    """Return a reader at the position; raise StreamDoesNotExist, or InvalidOffset beyond it."""
    if position.event_id is not None:
        return await _open_after_event(access, position.event_id, live=position.live)
    if position.byte_range is not None:
        return await _open_range(access, position.byte_range, live=position.live)
    return Opening(reader=await access.resume(position.offset or 0, live=position.live))


async def _open_after_event(access: Access, seen: EventId, *, live: bool) -> Opening:
    offset = seen.offset or 0
    try:
        reader = await access.resume(offset, live=live)
    except InvalidOffset:
        # Beyond the end, or the id is of another, longer incarnation of the stream.
        reader = await access.resume(0, live=live)
        if reader.info.epoch == seen.epoch:
            raise
    if reader.info.epoch != seen.epoch:
        if reader.offset:
            reader = await access.resume(0, live=live)
        return Opening(reader=reader, reset=True)
    return Opening(reader=reader, is_over=_is_over(reader.info, seen))


def _is_over(info: StreamInfo, seen: EventId) -> bool:
    """Return whether a client that saw this has nothing left to learn.

    At the last byte of a failed or cancelled stream it has: that it failed or was cancelled.
    """
    if seen.offset is None:
        return not info.is_streaming
    return info.status is StreamStatus.DONE and seen.offset == info.size


async def _open_range(access: Access, wanted: ByteRange, *, live: bool) -> Opening:
    info = await access.status()
    span = plan_range(wanted, info) if format_of(info).is_log else None
    if span is None:
        return Opening(reader=await access.resume(0, live=live))
    reader = await access.resume(span.first, live=live and span.length is None)
    if reader.info.epoch != info.epoch:  # begun again between the two
        return Opening(reader=await access.resume(0, live=live))
    return Opening(reader=reader, span=span)


def format_of(info: StreamInfo) -> Format:
    """Return the format a stream was acquired with; raw for one that is not known here."""
    try:
        return get_format(info.attrs.get("format", raw.name))
    except KeyError:
        return raw


# --- the body -----------------------------------------------------------------------------------


class BodyCut(RequestAborted, asyncio.CancelledError):
    """End a body so that the server breaks the connection.

    Django takes it for a client that has left (the one base is for Django 6, the other for 5.2): it
    closes the response, logs nothing and does not send the last chunk. The server then finds the
    answer unfinished, and drops the connection. Any other exception would do the same with a
    traceback, for what is no fault.
    """


class Body:
    """Send what a reader reads as an encoder says, until the end, `length` bytes or `seconds`."""

    def __init__(
        self,
        reader: StreamReader,
        encoder: Encoder,
        *,
        cut: Callable[[], BaseException],
        length: int | None = None,
        keep_alive: float | None = None,
        seconds: float | None = None,
    ) -> None:
        self._reader = reader
        self._encoder = encoder
        self._cut = cut
        self._left = length
        self._keep_alive = keep_alive
        self._seconds = seconds

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield the body; b"" too, which makes a server send the headers and notice who left."""
        deadline = _now() + (self._seconds or math.inf)
        try:
            yield self._encoder.opening()
            while self._left != 0:
                try:
                    data = await self._read(deadline)
                except (StreamError, StopAsyncIteration) as ending:
                    yield self._last(ending)
                    return
                yield self._encoder.keep_alive() if data is None else self._take(data)
        finally:
            self._reader.close()

    def blocking(self) -> Iterator[bytes]:
        """Yield the same in a thread without a loop (WSGI)."""
        frames = self.frames()

        async def step() -> bytes | None:
            return await anext(frames, None)

        try:
            while (frame := runtime.call_sync(step)) is not None:
                yield frame
        finally:
            runtime.call_sync(frames.aclose)

    async def _read(self, deadline: float) -> bytes | None:
        """Return the next bytes; None for a keep-alive in their place."""
        if (patience := min(self._keep_alive or math.inf, deadline - _now())) > 0:
            try:
                async with asyncio.timeout(None if patience == math.inf else patience):
                    return await anext(self._reader)
            except TimeoutError:
                if _now() < deadline:
                    return None
        raise ShuttingDown  # to this client it is the same

    def _take(self, data: bytes) -> bytes:
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return self._encoder.feed(data)

    def _last(self, ending: StreamError | StopAsyncIteration) -> bytes:
        info = self._reader.info
        last: bytes | None
        if isinstance(ending, StreamFailed):
            last = self._encoder.failure(info, ending.code, ending.detail)
        elif isinstance(ending, StreamError):
            last = self._encoder.interruption()
        else:
            last = b"" if info.is_streaming else self._encoder.end(info)
        if last is None:
            raise self._cut()
        return last


def _now() -> float:
    return asyncio.get_running_loop().time()


class ResumableStreamResponse(StreamingHttpResponse):
    """Answer with a stream, from where its reader stands, in the format it was acquired with.

    Closing the response, which Django does when the client is gone, closes the reader and nothing
    else: production goes on. Under WSGI it is iterated in the thread of the request.
    """

    keep_alive: float | None = 15
    """Seconds of silence after which a format that can says that the connection is alive."""

    max_seconds: float | None = None
    """Seconds after which the body is interrupted, so that the client comes back."""

    def __init__(
        self,
        reader: StreamReader,
        request: HttpRequest,
        *,
        reset: bool = False,
        span: Span | None = None,
    ) -> None:
        wire_format, info, scope = format_of(reader.info), reader.info, _scope(request)
        body = Body(
            reader,
            wire_format.encoder(info, reader.offset, reset=reset),
            cut=_reset_error if scope is None else lambda: _cut(scope),
            length=None if span is None else span.length,
            keep_alive=self.keep_alive,
            seconds=self.max_seconds,
        )
        super().__init__(
            body.blocking() if scope is None else body.frames(),
            status=200 if span is None else 206,
            content_type=wire_format.get_content_type(info),
        )
        self.reader = reader
        _describe(self, info, offset=reader.offset)
        _measure(self, info, offset=reader.offset, span=span)

    def close(self) -> None:
        self.reader.close()
        super().close()


def _scope(request: HttpRequest) -> Mapping[str, Any] | None:
    """Return the ASGI scope of a request; None under WSGI."""
    return getattr(request, "scope", None)


def _cut(scope: Mapping[str, Any]) -> BodyCut:
    _disconnect_daphne(scope)
    return BodyCut("The stream ended without all of its bytes.")


def _reset_error() -> ConnectionResetError:
    """Return what wsgiref and gunicorn take for a client that has left."""
    return ConnectionResetError(errno.ECONNRESET, "The stream ended without all of its bytes.")


def _disconnect_daphne(scope: Mapping[str, Any]) -> None:
    """Break the connection of a request that daphne serves, after what was sent.

    daphne waits for the rest of an unfinished answer for ever, and stops watching all of its
    applications when one raises after the headers. The request is the one that gave the scope its
    list of headers.
    """
    reactor = sys.modules.get("twisted.internet.reactor")
    for transport in getattr(reactor, "getReaders", list)():
        protocol = getattr(transport, "protocol", None)
        protocol = getattr(protocol, "wrappedProtocol", protocol)  # TLS
        channel = getattr(protocol, "_channel", protocol)
        for request in getattr(channel, "requests", ()):
            if getattr(request, "clean_headers", None) is scope["headers"]:
                request.loseConnection()
                return


# --- answers ------------------------------------------------------------------------------------


def _describe(
    response: HttpResponse | StreamingHttpResponse, info: StreamInfo, *, offset: int
) -> None:
    """Set the headers of every answer that is, or would be, a stream."""
    headers = {
        "Cache-Control": "no-cache, no-transform",
        "X-Accel-Buffering": "no",
        "Content-Encoding": "identity",  # or the gzip of Django 5.2 holds frames back
        "X-Content-Type-Options": "nosniff",
        ID_HEADER: info.stream_id,
        OFFSET_HEADER: str(offset),
        **format_of(info).headers,
    }
    for name, value in headers.items():
        response[name] = value
    _expose(response, ID_HEADER, OFFSET_HEADER, SIZE_HEADER, STATUS_HEADER)


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


def info_response(info: StreamInfo, *, status: int = 200) -> HttpResponse:
    """Answer with the state of a stream as JSON; times are seconds since 1970."""
    answer: dict[str, object] = {
        "id": info.stream_id,
        "status": info.status.value,
        "size": info.size,
        "created": info.created,
        "expires": info.expires,
        "error": info.error_code or None,
    }
    if info.error:
        answer["detail"] = info.error
    return _json_response(answer, status=status)


def _json_response(answer: Mapping[str, object], *, status: int) -> HttpResponse:
    response = HttpResponse(json.dumps(answer), status=status, content_type="application/json")
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def missing_response(missing: Missing | str = Missing.NOT_FOUND) -> HttpResponse:
    """Answer that there is nothing for this caller, the same whatever the reason."""
    if missing == Missing.NO_CONTENT:
        response = HttpResponse(status=204)
    elif missing == Missing.FINISH:
        content = ui_message.part({"type": "finish"})
        headers = ui_message.headers
        response = HttpResponse(content, content_type=ui_message.content_type, headers=headers)
    else:
        return _json_response({"error": "stream_not_found"}, status=404)
    response["Cache-Control"] = "no-store"
    return response


ANSWERS: dict[type[StreamError], tuple[int, str]] = {
    InvalidOffset: (400, "invalid_position"),
    InvalidStreamId: (400, "invalid_stream_id"),
    InvalidTenant: (400, "invalid_tenant"),
    InvalidOwner: (401, "no_owner"),
    StreamLimitExceeded: (429, "too_many_streams"),
    StoreUnavailable: (503, "unavailable"),
    ShuttingDown: (503, "shutting_down"),
}
"""The status code and the word for each error a request can meet, all but 404 and 416."""


def error_response(error: StreamError, *, acquiring: bool = False) -> HttpResponse:
    """Answer with what an error means to a client; raise it again if it means nothing to one.

    To a reader an impossible id or tenant is a missing stream.
    """
    unnamed = isinstance(error, InvalidStreamId | InvalidTenant) and not acquiring
    if unnamed or isinstance(error, StreamDoesNotExist):
        return missing_response()
    if isinstance(error, InvalidOffset) and error.size is not None:
        response = _json_response({"error": "beyond_the_end"}, status=416)
        response["Content-Range"] = f"bytes */{error.size}"
        return response
    status, word = next((ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS), (0, ""))
    if not status:
        raise error
    response = _json_response({"error": word}, status=status)
    if status in (429, 503):
        response["Retry-After"] = str(getattr(error, "retry_after", RETRY_AFTER))
    return response
