"""Forged requests: Django's own check, which clients with tokens need not pass.

A page of another origin can have a browser send cookies, and the credentials that browsers send by
themselves, but no `Authorization` of its own. So a request that carries one is no forgery, unless
it was the session that logged its user in: a proxy may have added the header. Whatever a cookie
has authenticated needs the token, also if the cookie is not Django's.
"""

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware

from ..compat import is_exempted_from_csrf, plain_request
from ..conf import csrf_middleware, get_settings, load_callable
from ..owners import carries_token, is_user_of_session

__all__ = ["forgery_of", "refuse_forgery"]

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


async def refuse_forgery(request: HttpRequest, *, using: str | None) -> HttpResponseBase | None:
    """Return the answer of this site to a request that may be forged; None for any other.

    A project that has put `csrf_exempt` around its view has said that none is. `using` is the alias
    whose OWNER names who asks: one that asks authenticators never takes the word of the session for
    a request with a token.
    """
    middleware = csrf_middleware()
    if middleware is None or not _may_be_forged(request, using):
        return None
    if is_exempted_from_csrf(getattr(request.resolver_match, "func", None)):
        return None
    answer: HttpResponseBase | None = await sync_to_async(_check)(middleware, request)
    return answer


def forgery_of(request: Any) -> str | None:
    """Return why a request may be forged, in words; None for any other. It is sync code."""
    request, middleware = plain_request(request), csrf_middleware()
    if middleware is None or not _may_be_forged(request, None):
        return None
    reason: str | None = _check(_telling(middleware), request)
    return reason


def _may_be_forged(request: HttpRequest, using: str | None) -> bool:
    if request.method in SAFE_METHODS or request.resolver_match is None:  # of a test, past Django
        return False
    if not carries_token(request):
        return True
    return is_user_of_session(request) and not _asks_authenticators(using)


def _asks_authenticators(using: str | None) -> bool:
    owner = None if using is None else load_callable(get_settings(using), "owner")
    return getattr(owner, "authenticates", False)


def _check(middleware: type[CsrfViewMiddleware], request: HttpRequest) -> Any:
    check = middleware(_no_response)
    check.process_request(request)
    return check.process_view(request, None, (), {})  # type: ignore[arg-type]


def _no_response(request: HttpRequest) -> Any: ...


def _telling(middleware: type[CsrfViewMiddleware]) -> type[CsrfViewMiddleware]:
    """Return a middleware that returns the reason, and leaves the answer to its caller."""
    return type("Telling", (middleware,), {"_reject": lambda self, request, reason: reason})
