"""Explanations of refusals for the people of the site: lines of the log, never part of an answer.

A 503 is logged always, with the cause. Why a request got 401 or 404 is logged with DEBUG only, as
such a line says that a stream exists.
"""

import logging
from contextlib import suppress
from dataclasses import replace

from django.http import HttpRequest

from ..compat import plain_request
from ..conf import DEFAULT_OWNER, get_settings, session_cookie_name
from ..control import FIRST_GENERATION
from ..engine import get_engine
from ..exceptions import ShuttingDown, StoreUnavailable, StreamError
from ..operating.client_info import request_id
from ..owners import carries_token
from ..permissions import Checked, checked_of
from ..process.runtime import runtime
from ..types import RefusalReason

__all__ = ["explain_refusal"]

logger = logging.getLogger("resumable_streams.http")
debug_logger = logging.getLogger("resumable_streams.debug")

OLDER_GENERATIONS = 20

UNNAMED = "missing: the view named no stream: its stream_id was None."
REASONS: dict[RefusalReason, str] = {
    RefusalReason.REVOKED: (
        "revoked: the streams of this owner were revoked after this one began, by `manage.py "
        "resumable_streams revoke`, by the admin, or by REVOKE_ON."
    ),
    RefusalReason.ENDED: (
        "ended: the stream is there and has ended, and the view asks for active streams only "
        "(active=True)."
    ),
    RefusalReason.INVALID_STREAM_ID: "invalid: this is no stream id, so nothing was looked up.",
    RefusalReason.INVALID_TENANT: (
        "invalid: TENANT returned what is no tenant (1 to 64 characters of A-Z, a-z, 0-9, '_', "
        "'-'), so nothing was looked up."
    ),
}


async def explain_refusal(
    request: HttpRequest,
    error: StreamError,
    reason: RefusalReason,
    *,
    status: int,
    alias: str,
    stream_id: str | None,
) -> None:
    """Log why a request is refused, as far as its people may know."""
    if isinstance(error, StoreUnavailable | ShuttingDown):
        level = logging.INFO if isinstance(error, ShuttingDown) else logging.WARNING
        named = f"stream {stream_id or '-'}, request {request_id(request) or '-'}"
        logger.log(level, "%s for %s (%s): %s", status, _asked(request), named, error)
    elif status != 400 and get_settings(alias).debug:
        is_unnamed = stream_id is None and reason is RefusalReason.INVALID_STREAM_ID
        why = UNNAMED if is_unnamed else await _why(request, reason, alias)
        if why:
            debug_logger.warning("%s for %s: %s", status, _asked(request), why)


def _asked(request: HttpRequest) -> str:
    return f"{request.method} {request.path}"  # no query: it may hold the token of a link


async def _why(request: HttpRequest, reason: RefusalReason, alias: str) -> str | None:
    """Return why this is a 401 or 404, and None for any other refusal: those tell clients."""
    checked = checked_of(request)
    match reason:
        case RefusalReason.NO_OWNER:
            return _why_nobody(request, alias)
        case RefusalReason.MISSING if checked is not None:
            return await _why_missing(checked, alias)
        case RefusalReason.FOREIGN if checked is not None and checked.by_link:
            return (
                "foreign: the token of the address does not open this stream. It was altered, has "
                "expired, or was signed for another stream, or for an earlier one of this id."
            )
        case RefusalReason.FOREIGN:
            return f"foreign: the stream is there, and belongs to another owner.{_cookie(request)}"
    return REASONS.get(reason)


def _why_nobody(request: HttpRequest, alias: str) -> str:
    owner = get_settings(alias).owner
    if owner == DEFAULT_OWNER and getattr(request, "session", None) is None:
        return (
            "no owner: the request has neither a user nor a session. Add SessionMiddleware and "
            "AuthenticationMiddleware to MIDDLEWARE, or set OWNER."
        )
    if carries_token(request):
        return (
            f"no owner: the request came with a token in Authorization, and OWNER ({owner}) knows "
            f"no user of it. Such a request is never a visitor's. Plain views do not know the "
            f"users of REST framework or ninja: set OWNER to a function that asks their "
            f"authenticators, or use the views and addresses of resumable_streams.contrib "
            f"(docs/clients.md)."
        )
    auth = getattr(plain_request(request), "auth", None)
    if auth is not None:
        return (
            f"no owner: request.auth is of type {type(auth).__name__}, which is no user. Have the "
            f"authenticator return the user, or set request.user."
        )
    return (
        f"no owner: OWNER ({owner}) returned None, or what is no owner (PUBLIC, or a string of 1 "
        f"to 1024 bytes).{_cookie(request)}"
    )


def _cookie(request: HttpRequest) -> str:
    name = session_cookie_name()
    if name in request.COOKIES:
        return ""
    return (
        f" No cookie {name!r} came with this request, so it is of a new visitor: fetch() sends "
        f"cookies to another origin with credentials: 'include' only, curl with -b."
    )


async def _why_missing(checked: Checked, alias: str) -> str:
    older, outlives_process = await runtime.call(_look_back, checked, alias)
    key = checked.key
    if older is not None:
        return (
            f"rotated: the stream is of generation {older} of tenant {key.tenant!r}, and "
            f"{key.generation} is in force (`manage.py resumable_streams rotate`)."
        )
    if not outlives_process:
        return (
            "missing: the memory of this process has no such stream. The memory store is of one "
            "process: another worker process, or the one before a restart or reload, had its own. "
            "Set BACKEND to resumable_streams.stores.redis.RedisStore."
        )
    return (
        f"missing: tenant {key.tenant!r} of alias {alias!r} has no such stream. It never began, "
        f"has expired (TTL), was deleted or purged, or is in another tenant or alias."
    )


async def _look_back(checked: Checked, alias: str) -> tuple[int | None, bool]:
    """Return the older generation that has the stream, if any, and whether the store lasts."""
    store, key = get_engine(alias).store, checked.key
    first = max(FIRST_GENERATION, key.generation - OLDER_GENERATIONS)
    with suppress(StoreUnavailable):
        for generation in range(key.generation - 1, first - 1, -1):
            if await store.look(replace(key, generation=generation)) is not None:
                return generation, True
    return None, store.outlives_process
