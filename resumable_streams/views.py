"""The views: start a stream, come back to it, look at it, end it. All are async.

Subclass `AcquireView`, or call `stream_response` in a view function; the rest is in `urls`. All
check for forged requests as Django does, but for clients with a token: see `http.csrf`.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from inspect import isawaitable
from typing import Any, ClassVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, RawPostDataException
from django.http.response import HttpResponseBase

from .compat import keep_unread, plain_request
from .engine.reader import StreamReader
from .exceptions import InvalidOwner, ShuttingDown, StreamError
from .formats import Missing, get_format
from .http.dispatch import AsyncView
from .http.opening import Opening
from .http.refusals import tell_refused
from .http.response import (
    ResumableStreamResponse,
    error_response,
    head_response,
    info_response,
    over_response,
    page_response,
)
from .http.resuming import StreamAccess
from .identifiers import idempotent_stream_id
from .owners import Identity, get_identity, get_link
from .positions import Position, parse_position
from .process.runtime import runtime
from .producing.sources import Item, Source, open_source
from .streams import StreamManager
from .types import PUBLIC, OnBusy, Owner, Role, StreamInfo

__all__ = [
    "AcquireMixin",
    "AcquireView",
    "CancelView",
    "ListView",
    "ResumeView",
    "StatusView",
    "StreamMixin",
    "cancel_response",
    "delete_response",
    "idempotent_stream_id",
    "list_response",
    "resume_response",
    "status_response",
    "stream_response",
]


async def stream_response(
    request: HttpRequest,
    source: Source,
    *,
    stream_id: str | None = None,
    format: str = "raw",  # noqa: A002
    using: str = "default",
    ttl: float | None = None,
    attrs: Mapping[str, str] | None = None,
    slot: str | None = None,
    on_busy: OnBusy | str = OnBusy.JOIN,
) -> HttpResponseBase:
    """Start a stream in the name of who asks, and answer with it from its first byte.

    With the id of a stream that is there, `source` is not used: its owner gets what is stored and
    what follows, everybody else 404. Without an id, the `Idempotency-Key` of the request stands for
    one, so that a retry joins the stream of the first try. `source` outlives the request: have it
    use nothing that ends with it, such as a body that is not read yet, or an uploaded file.
    `slot` and `on_busy` are as in `streams.run`; a slot that is busy is answered with 409.
    """
    where = {"slot": slot, "on_busy": on_busy}
    starting = _start(request, source, stream_id, format, using, ttl, attrs, where)
    return await _answer(starting, request, "run", using=using, stream_id=stream_id)


async def _start(
    request: HttpRequest,
    source: Source,
    stream_id: str | None,
    format_name: str,
    using: str,
    ttl: float | None,
    attrs: Mapping[str, str] | None,
    where: Mapping[str, Any],
) -> HttpResponseBase:
    get_format(format_name)  # an unknown one is a fault, and shows before the election
    identity = await _identify(request, using, acquire=True)
    if stream_id is None:
        stream_id = _id_of_key(request, identity.owners[0], identity.tenant, using)
    opening = Opening(source)
    reader = await StreamManager(using).arun(
        stream_id,
        opening,
        owner=identity,
        ttl=ttl,
        attrs={**(attrs or {}), "format": format_name},
        request=request,
        **where,
    )
    return ResumableStreamResponse(await opening.seen(reader), request)


async def resume_response(
    request: HttpRequest,
    stream_id: str | None,
    *,
    using: str = "default",
    format: str | None = None,  # noqa: A002
    missing: Missing | str | None = None,
    active: bool = False,
) -> HttpResponseBase:
    """Answer with a stream from where the request asks to go on, at an address of your own.

    A stream always answers in the format it was acquired with; `format` decides the answer for a
    missing stream (`ui_message`: 204), and `missing` overrides that. `stream_id=None` is a stream
    that is not there. With `active` one that has ended is not there either, as the AI SDK's
    `GET {api}/{chat}/stream` wants it. A HEAD is answered with the headers, size and status.
    """
    if missing is None:
        missing = Missing.NOT_FOUND if format is None else get_format(format).missing
    if request.method == "HEAD":
        looking = _head(request, stream_id or "", using)
        return await _answer(looking, request, "status", using=using, stream_id=stream_id)
    resuming = _resume(request, stream_id, using, active)
    return await _answer(
        resuming, request, "resume", using=using, stream_id=stream_id, missing=missing
    )


async def _resume(
    request: HttpRequest, stream_id: str | None, using: str, active: bool
) -> HttpResponseBase:
    position = parse_position(request.GET, request.headers)
    if runtime.is_draining:  # a body would end where it begins
        raise ShuttingDown
    access = await _access(request, stream_id or "", using, reading=True)
    resumption = await access.open(position, active=active)
    reader, start = resumption.reader, resumption.start
    if start.is_over:
        return over_response(reader.info)
    return ResumableStreamResponse(reader, request, reset=start.reset, span=start.span)


async def _head(request: HttpRequest, stream_id: str, using: str) -> HttpResponseBase:
    position = parse_position(request.GET, {})  # ranges are for GET
    access = await _access(request, stream_id, using, reading=True)
    info, start = await access.look(position)
    return head_response(info, request, offset=start.offset)


async def status_response(
    request: HttpRequest, stream_id: str, *, using: str = "default"
) -> HttpResponseBase:
    """Answer with the state of a stream as JSON."""
    status = _status(request, stream_id, using)
    return await _answer(status, request, "status", using=using, stream_id=stream_id)


async def _status(request: HttpRequest, stream_id: str, using: str) -> HttpResponseBase:
    access = await _access(request, stream_id, using, reading=True)
    info, _ = await access.look(Position(epoch=request.GET.get("epoch")))
    return info_response(info)


async def list_response(request: HttpRequest, *, using: str = "default") -> HttpResponseBase:
    """Answer with a page of the streams of who asks, as JSON: `?status=`, `?limit=`, `?cursor=`."""
    return await _answer(_list(request, using), request, "list", using=using)


async def _list(request: HttpRequest, using: str) -> HttpResponseBase:
    identity = await _identify(request, using)
    if PUBLIC in identity.owners:  # streams of nobody are read by those who know their ids
        raise InvalidOwner
    limit = request.GET.get("limit", "50")
    page = await StreamManager(using).alist(
        owner=identity,
        status=request.GET.get("status") or None,
        limit=int(limit) if re.fullmatch("[0-9]{1,4}", limit) else 0,
        cursor=request.GET.get("cursor", ""),
    )
    return page_response(page)


async def cancel_response(
    request: HttpRequest, stream_id: str, *, using: str = "default"
) -> HttpResponseBase:
    """Cancel a stream: 202, however often; an ended one stays as it ended."""
    cancelling = _cancel(request, stream_id, using)
    return await _answer(cancelling, request, "cancel", using=using, stream_id=stream_id)


async def _cancel(request: HttpRequest, stream_id: str, using: str) -> HttpResponseBase:
    access = await _access(request, stream_id, using)
    info: StreamInfo = await access.ask(access.manager.acancel, epoch=request.GET.get("epoch"))
    return info_response(info, status=202)


async def delete_response(
    request: HttpRequest, stream_id: str, *, using: str = "default"
) -> HttpResponseBase:
    """Delete a stream: 204."""
    deleting = _delete(request, stream_id, using)
    return await _answer(deleting, request, "delete", using=using, stream_id=stream_id)


async def _delete(request: HttpRequest, stream_id: str, using: str) -> HttpResponseBase:
    access = await _access(request, stream_id, using)
    await access.ask(access.manager.adelete, epoch=request.GET.get("epoch"))
    return HttpResponse(status=204)


async def _identify(request: HttpRequest, using: str, *, acquire: bool = False) -> Identity:
    identity = await get_identity(request, using=using, acquire=acquire)
    if not identity.owners:
        raise InvalidOwner
    return identity


async def _access(
    request: HttpRequest, stream_id: str, using: str, *, reading: bool = False
) -> StreamAccess:
    manager, link = StreamManager(using), get_link(request) if reading else None
    if link is not None:
        return StreamAccess(manager=manager, stream_id=stream_id, asker=link, request=request)
    identity = await _identify(request, using)
    return StreamAccess(manager=manager, stream_id=stream_id, asker=identity, request=request)


async def _answer(
    answer: Awaitable[HttpResponseBase],
    request: HttpRequest,
    operation: str,
    *,
    using: str,
    stream_id: str | None = None,
    missing: Missing | str = Missing.NOT_FOUND,
) -> HttpResponseBase:
    """Return an answer, or the refusal that its error means to a client; receivers are told."""
    try:
        return await answer
    except StreamError as error:
        refusal = error_response(
            error,
            acquiring=operation == "run",
            missing=missing,
            reading=request if operation == "resume" else None,
        )
        await tell_refused(
            request, error, refusal, operation=operation, alias=using, stream_id=stream_id
        )
        return refusal


def _id_of_key(request: HttpRequest, owner: Owner, tenant: str | None, using: str) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    return idempotent_stream_id(key, owner=owner, tenant=tenant, using=using, scope=request.path)


class StreamMixin(AsyncView):
    """The base of every view of streams; `using` is the alias."""

    using: str = "default"

    async def access(
        self, request: HttpRequest, stream_id: str, *, reading: bool = False
    ) -> StreamAccess:
        """Return the stream of the address, in the name of who asks.

        With `reading`, a request with the `?token=` of a signed link asks in the name of that.
        """
        return await _access(request, stream_id, self.using, reading=reading)


class AcquireMixin:
    """The start of a stream by a view, of whichever framework that is: `AcquireView` of Django's.

    A retry with the same `Idempotency-Key` by the same owner at the same path joins the stream of
    the first try, for as long as that is kept, instead of producing it again.

    `fragment_template` names the template of the mappings that a source of `html` yields.

    The other methods to override, `refuse`, `get_stream_id`, `get_slot` and `get_attrs`, may be
    async. As sync code they run in the thread of the request, where the ORM is allowed.
    """

    using: str = "default"
    format: ClassVar[str] = "raw"
    fragment_template: ClassVar[str | None] = None
    ttl: ClassVar[float | None] = None
    on_busy: ClassVar[OnBusy | str] = OnBusy.JOIN

    owner: Owner
    tenant: str | None

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        """Return the view function; raise ImproperlyConfigured for one that cannot answer."""
        name = initkwargs.get("format", cls.format)
        try:
            if isinstance(name, str):  # else it differs from request to request
                get_format(name)
        except LookupError as error:
            raise ImproperlyConfigured(f"{cls.__qualname__}: {error}") from None
        if cls.produce is AcquireMixin.produce:
            raise ImproperlyConfigured(
                f"{cls.__qualname__} has no `produce`. Write `async def produce(self, request)`, "
                f"which yields text, parts or bytes."
            )
        view: Callable[..., Any] = super().as_view(**initkwargs)  # type: ignore[misc]
        return view

    def produce(self, request: HttpRequest) -> Any:
        """Yield items, as an async generator; or, as a coroutine, return an iterable of them.

        An item is bytes, text, or a mapping that the `format` can write as one part or event.
        Runs for the elected producer only, apart from the request: a disconnect does not end it.
        The body of the request, its form and its files can be read until it has ended.
        """
        raise NotImplementedError("Write `async def produce(self, request)`.")

    def get_stream_id(self, request: HttpRequest) -> str | Awaitable[str | None] | None:
        """Return the id to acquire; None mints one.

        `self.owner` and `self.tenant` are set. Unless you override it: what the `Idempotency-Key`
        of the request stands for.
        """
        return _id_of_key(request, self.owner, self.tenant, self.using)

    def refuse(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase | None] | None:
        """Return an answer to refuse the request, or None; does nothing by default.

        Called before anything is started or read, with `self.owner` and `self.tenant` set: the
        place for how often an owner may ask. A StreamLimitExceeded becomes 429, with its
        `retry_after`. It is asked about retries that join a stream, too.
        """
        return None

    def get_slot(self, request: HttpRequest) -> str | Awaitable[str | None] | None:
        """Return the slot of the stream, such as "chat:42"; None, as here, for none.

        While another stream of the slot runs, `on_busy` of the view says what comes of the request:
        "join", "replace" or "refuse" (409).
        """
        return None

    def get_attrs(self, request: HttpRequest) -> dict[str, str] | Awaitable[dict[str, str]]:
        """Return what to store with the stream; `format` is added."""
        return {}

    async def acquire(self, request: HttpRequest) -> HttpResponseBase:
        """Start a stream in the name of who asks, or join it; answer with it, or refuse."""
        return await _answer(self._acquire(request), request, "run", using=self.using)

    async def _acquire(self, request: HttpRequest) -> HttpResponseBase:
        get_format(self.format)
        identity = await _identify(request, self.using, acquire=True)
        self.owner, self.tenant = identity.owners[0], identity.tenant
        refusal: HttpResponseBase | None = await self._ask("refuse", request)
        if refusal is not None:
            return refusal
        stream_id = await self._ask("get_stream_id", request)
        await sync_to_async(_read_request)(plain_request(request))
        attrs = {**await self._ask("get_attrs", request), "format": self.format}
        if self.fragment_template is not None:
            attrs.setdefault("fragment_template", self.fragment_template)
        slot = await self._ask("get_slot", request)
        names = dict.fromkeys((self.owner, *identity.owners))  # a hook may have replaced the first
        reader = await self._run(request, stream_id, attrs, slot, tuple(names))
        return ResumableStreamResponse(reader, request)

    async def _ask(self, name: str, request: HttpRequest) -> Any:
        hook = getattr(self, name)
        is_ours = getattr(hook, "__func__", None) is getattr(AcquireMixin, name)
        in_thread = not is_ours and not iscoroutinefunction(hook)
        answer = await sync_to_async(hook)(request) if in_thread else hook(request)
        return await answer if isawaitable(answer) else answer

    async def _run(
        self,
        request: HttpRequest,
        stream_id: str | None,
        attrs: Mapping[str, str],
        slot: str | None,
        names: tuple[Owner, ...],
    ) -> StreamReader:
        close_files = _keep_files_open(plain_request(request))
        opening = Opening(partial(self.produce, request))
        try:
            reader = await StreamManager(self.using).arun(
                stream_id,
                lambda: _produce(opening, close_files),
                owner=names,
                tenant=self.tenant,
                ttl=self.ttl,
                attrs=attrs,
                slot=slot,
                on_busy=self.on_busy,
                request=request,
            )
        except Exception:  # refused; of a request that is cancelled the source may have started
            close_files()
            raise
        if reader.role is Role.CONSUMER:
            close_files()
        return await opening.seen(reader)


class AcquireView(AcquireMixin, StreamMixin):
    """A view that starts a stream on POST, and answers with it. Subclass it and write `produce`."""

    http_method_names = ["post", "options"]

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.acquire(request)


async def _produce(source: Source, close_files: Callable[[], None]) -> AsyncIterator[Item]:
    try:
        async with open_source(source) as items:
            async for item in items:
                yield item
    finally:
        close_files()


def _read_request(request: HttpRequest) -> None:
    """Read what the client sent: the server's file of it is gone when the response is.

    A form or a query that Django refuses is refused here, before anything is produced for it. What
    others have read by now stays as it is, and what they left in the stream can be read on.
    """
    request.GET  # noqa: B018
    try:
        if request.content_type != "multipart/form-data":
            request.body  # noqa: B018
        if request.content_type in FORMS:
            request.POST  # noqa: B018
    except RawPostDataException:
        keep_unread(request)


def _keep_files_open(request: HttpRequest) -> Callable[[], None]:
    """Take from the response the closing of uploaded files; return what closes them."""
    close = request.close
    request.close = lambda: None  # type: ignore[method-assign]
    return close


FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class ResumeView(StreamMixin):
    """A view that resumes a stream (GET), shows its headers (HEAD), or deletes it (DELETE)."""

    async def get(self, request: HttpRequest, stream_id: str) -> HttpResponseBase:
        return await resume_response(request, stream_id, using=self.using)

    async def head(self, request: HttpRequest, stream_id: str) -> HttpResponseBase:
        return await resume_response(request, stream_id, using=self.using)

    async def delete(self, request: HttpRequest, stream_id: str) -> HttpResponseBase:
        return await delete_response(request, stream_id, using=self.using)


class ListView(StreamMixin):
    """A view of the streams of who asks, in pages as JSON; of `?status=streaming`, for example."""

    async def get(self, request: HttpRequest) -> HttpResponseBase:
        return await list_response(request, using=self.using)


class StatusView(StreamMixin):
    """A view of the state of a stream as JSON."""

    async def get(self, request: HttpRequest, stream_id: str) -> HttpResponseBase:
        return await status_response(request, stream_id, using=self.using)


class CancelView(StreamMixin):
    """A view that cancels a stream on POST: 202, however often; an ended one stays as it ended."""

    async def post(self, request: HttpRequest, stream_id: str) -> HttpResponseBase:
        return await cancel_response(request, stream_id, using=self.using)
