"""Middleware as projects have it: sync only, async only, reading what the client sent."""

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import async_only_middleware, sync_only_middleware

SyncNext = Callable[[HttpRequest], HttpResponseBase]
AsyncNext = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_only_middleware
def sync_only(get_response: SyncNext) -> SyncNext:
    """Go around sync code, and touch what a template would."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response["X-Name"] = str(getattr(request, "user", "-"))
        return response

    return middleware


@async_only_middleware
def async_only(get_response: AsyncNext) -> AsyncNext:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        response["X-Path"] = request.path
        return response

    return middleware


@sync_only_middleware
def reads_form(get_response: SyncNext) -> SyncNext:
    """Look at the form and its files first, as a firewall or a toolbar does."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        request.names = (*request.POST, *request.FILES)  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


@sync_only_middleware
def reads_body(get_response: SyncNext) -> SyncNext:
    """Look at the bytes first, as what checks a signature or logs requests does."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        request.length = len(request.body)  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


@sync_only_middleware
def counts_visits(get_response: SyncNext) -> SyncNext:
    """Write to the session with every request."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        request.session["visits"] = request.session.get("visits", 0) + 1
        return get_response(request)

    return middleware
