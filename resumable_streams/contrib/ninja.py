"""Django Ninja: streams behind its authentication and throttles, in its OpenAPI schema.

    @api.post("/answer/")
    async def answer(request, question: Question):
        return await stream_response(request, words(question), format="sse")

    api.add_router("/streams/", stream_router())

The default OWNER knows the user whom an authenticator returns, or sets as `request.user`. Where the
addresses are those of `resumable_streams.urls`, name `authenticated_owner(…)` as OWNER.
"""

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any, Literal

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Router, Schema
from ninja.errors import AuthenticationError, HttpError

from .. import views
from ..conf import DEFAULT_ALIAS
from ..http.csrf import refuse_forgery
from ..http.response import name_in_api
from ..owners import carries_token, has_set_user, load_user, user_or_session
from ..producing.sources import Source
from ..types import Owner, StreamStatus
from ..views import CancelView, ListView, ResumeView, StatusView

__all__ = [
    "ErrorAnswer",
    "StreamList",
    "StreamState",
    "authenticated_owner",
    "stream_response",
    "stream_router",
]

Authenticator = Callable[[HttpRequest], Any]


class StreamState(Schema):
    """The state of a stream; times are seconds since 1970, sizes are bytes."""

    id: str
    status: Literal["streaming", "done", "error", "cancelled"]
    size: int
    created: float
    expires: float
    error: str | None = None
    slot: str | None = None
    detail: str | None = None


class StreamList(Schema):
    """A page of the streams of who asks; `next` is the cursor of the page after it."""

    streams: list[StreamState]
    next: str | None = None


class ErrorAnswer(Schema):
    """The word for what is wrong."""

    error: str


STREAM = {
    "description": "The stream, from the position that the request names, and what follows.",
    "content": {
        media_type: {"schema": {"type": "string"}}
        for media_type in ("application/octet-stream", "text/event-stream")
    },
}
POSITION = [
    {
        "in": "query",
        "name": "offset",
        "schema": {"type": "integer", "minimum": 0},
        "description": "The first byte of the log that is sent.",
    },
    {
        "in": "query",
        "name": "epoch",
        "schema": {"type": "string"},
        "description": "The incarnation that the offset is about.",
    },
]


PAGE = [
    {
        "in": "query",
        "name": "status",
        "schema": {"type": "string", "enum": list(StreamStatus)},
        "description": "Those in this state only.",
    },
    {
        "in": "query",
        "name": "limit",
        "schema": {"type": "integer", "minimum": 1, "maximum": 1_000, "default": 50},
        "description": "How many at most.",
    },
    {
        "in": "query",
        "name": "cursor",
        "schema": {"type": "string"},
        "description": "The `next` of the page before.",
    },
]


async def stream_response(
    request: HttpRequest, source: Source, *, using: str = DEFAULT_ALIAS, **options: Any
) -> HttpResponseBase:
    """Start a stream, as `views.stream_response` does with these arguments.

    Operations of ninja are exempt from Django's CSRF middleware, and not every authenticator of a
    cookie checks by itself. So this refuses a request that may be forged.
    """
    await load_user(request)
    refusal = None if _shows_key(request) else await refuse_forgery(request, using=using)
    if refusal is not None:
        return refusal
    return await views.stream_response(request, source, using=using, **options)


def _shows_key(request: HttpRequest) -> bool:
    """Return whether an authenticator has let a request in for what no browser adds by itself."""
    is_known = getattr(request, "auth", None) is not None
    return is_known and not request.COOKIES and "Authorization" not in request.headers


def stream_router(using: str = DEFAULT_ALIAS, **options: Any) -> Router:
    """Return a router with the addresses of the streams of an alias.

    They are those of `resumable_streams.urls`. `options` are those of the router: `auth`,
    `throttle`, `tags`. Django's CSRF token is asked of clients as everywhere in this package: see
    `http.csrf`.
    """
    router = Router(**{"tags": ["streams"], **options})
    listing, resume, status, cancel = (
        view.as_view(using=using) for view in (ListView, ResumeView, StatusView, CancelView)
    )
    missing = {404: ErrorAnswer}

    @router.get(
        "",
        response={200: StreamList, 400: ErrorAnswer},
        summary="List the streams of who asks",
        openapi_extra={"parameters": PAGE},
    )
    async def streams(request: HttpRequest) -> HttpResponseBase:
        return await _answer(listing(request))

    @router.api_operation(
        ["GET", "HEAD"],
        "{stream_id}/",
        response={200: Any, **missing},
        url_name=name_in_api(using),
        summary="Resume a stream",
        openapi_extra={"parameters": POSITION, "responses": {200: STREAM}},
    )
    async def stream(request: HttpRequest, stream_id: str) -> HttpResponseBase:
        return await _answer(resume(request, stream_id=stream_id))

    @router.delete("{stream_id}/", response={204: None, **missing}, summary="Delete a stream")
    async def delete(request: HttpRequest, stream_id: str) -> HttpResponseBase:
        return await _answer(resume(request, stream_id=stream_id))

    @router.get(
        "{stream_id}/status/",
        response={200: StreamState, **missing},
        summary="Show the state of a stream",
    )
    async def state(request: HttpRequest, stream_id: str) -> HttpResponseBase:
        return await _answer(status(request, stream_id=stream_id))

    @router.post(
        "{stream_id}/cancel/",
        response={202: StreamState, **missing},
        summary="Cancel a stream",
    )
    async def stop(request: HttpRequest, stream_id: str) -> HttpResponseBase:
        return await _answer(cancel(request, stream_id=stream_id))

    return router


async def _answer(answer: Any) -> HttpResponseBase:
    response: HttpResponseBase = await answer if isawaitable(answer) else answer  # under gevent
    return response


def authenticated_owner(
    *authenticators: Authenticator,
) -> Callable[..., Awaitable[Sequence[Owner]]]:
    """Return a function for `OWNER` that asks authenticators of ninja, in their order.

        # api.py; OWNER is "mysite.api.owner"
        owner = authenticated_owner(Bearer(), django_auth)

    So plain views know who sends a token of ninja. A request without `Authorization` whom they do
    not know is what it is to the default OWNER: a user of the session, or a visitor.
    """

    async def owner(request: Any, *, acquire: bool = False) -> tuple[Owner, ...]:
        if getattr(request, "auth", None) is None and not has_set_user(request):
            request.auth = await _first(authenticators, request)
            if request.auth is None and carries_token(request):
                return ()
        return await user_or_session(request, acquire=acquire)

    owner.authenticates = True  # type: ignore[attr-defined]
    return owner


async def _first(authenticators: Sequence[Authenticator], request: Any) -> Any:
    """Return what the first authenticator finds that finds anything."""
    for authenticator in authenticators:
        try:
            if found := await _ask(authenticator, request):
                return found
        except AuthenticationError:
            continue
        except HttpError as error:
            if error.status_code != 403:
                raise
            if not carries_token(request):  # a cookie without the CSRF token
                raise PermissionDenied(str(error)) from error
    return None


async def _ask(authenticator: Authenticator, request: Any) -> Any:
    is_async = iscoroutinefunction(authenticator) or getattr(authenticator, "is_async", False)
    found = authenticator(request) if is_async else await sync_to_async(authenticator)(request)
    return await found if isawaitable(found) else found
