"""The asker: from a request to its owner and its tenant.

`OWNER` is the dotted path of a callable, sync or async, that gets the request and returns the owner
of its streams: a string, PUBLIC, or None for nobody (401). It may return several, most important
first: a stream is bound to the first, and each of them may read. If it has a keyword `acquire`, it
is told whether a stream is being started: only then may it leave a trace, such as a new session.

`TENANT` is the same with a slug; without it there is one tenant, `default`.

A request with a token (`Authorization` of a scheme that browsers do not send by themselves) is its
user's, or nobody's. It never becomes a visitor: no cookie of a client with a token is the same next
time, so nobody would find the stream again.
"""

import inspect
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import QueryDict
from django.utils.crypto import salted_hmac

from .compat import is_unloaded, loads_session_user, plain_request, unwrapped
from .conf import AliasSettings, get_settings, load_callable
from .identifiers import DEFAULT_TENANT
from .links import TOKEN_PARAMETER, SignedLink
from .types import Owner, Public

__all__ = [
    "Identity",
    "carries_token",
    "derived_token",
    "get_identity",
    "get_link",
    "has_set_user",
    "is_user_of_session",
    "load_user",
    "owner_of_user",
    "owners_of",
    "user_or_session",
]

SESSION_KEY = "_resumable_streams_owner"

AMBIENT_SCHEMES = frozenset({"basic", "digest", "negotiate", "ntlm"})
"""What browsers send by themselves, also with a form of another site: as good as a cookie."""

_USER_OF_SESSION = "_resumable_streams_user_of_session"

_RANDOM_KEY = re.compile(r"[a-z0-9]{32}")  # as Django draws them


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The owners and the tenant that a request acts for. Without owners it is nobody's."""

    owners: tuple[Owner, ...]
    tenant: str | None = None


async def get_identity(request: Any, *, using: str, acquire: bool = False) -> Identity:
    """Ask the OWNER and TENANT callables of the alias about a request (or a Channels scope)."""
    settings = get_settings(using)
    owners = _several(await _ask(settings, "owner", request, acquire=acquire))
    if not owners or settings.tenant is None:
        return Identity(owners=owners)
    return Identity(owners=owners, tenant=await _ask(settings, "tenant", request, acquire=acquire))


def get_link(request: Any) -> SignedLink | None:
    """Return the signed link by which a request (or a Channels scope) comes: its `?token=`.

    It reads in the name of the link, and in no other: behind a bad link nothing is there, even for
    the owner.
    """
    query = QueryDict(request["query_string"]) if isinstance(request, dict) else request.GET
    token = query.get(TOKEN_PARAMETER)
    return None if token is None else SignedLink.of(str(token), tenant=DEFAULT_TENANT)


def carries_token(request: Any) -> bool:
    """Return whether a request has an `Authorization` that its client has added on purpose.

    No page of another origin can have a browser send it without asking this site first (a
    preflight of CORS).
    """
    header = getattr(request, "headers", {}).get("Authorization", "")
    scheme, _, _ = header.strip().partition(" ")
    return scheme != "" and scheme.lower() not in AMBIENT_SCHEMES


async def load_user(request: Any) -> Any:
    """Return the user of a request, and have `request.user` and `request.auser()` agree on it.

    A user that was set already stays, be it by a middleware, a framework or a test; so does one
    that an authenticator of ninja left in `request.auth`. A lazy one is loaded, in the thread of
    the request. None: nobody has set any.
    """
    request = await _authenticated(request)
    user, auser = getattr(request, "user", _UNSET), getattr(request, "auser", None)
    if user is _UNSET:
        return None if auser is None else await auser()
    if user is None:
        return None
    if is_unloaded(user):
        if auser is not None and loads_session_user(user):
            user = request.user = await auser()  # asks the database only if there is a session
            setattr(request, _USER_OF_SESSION, user)
        else:
            await sync_to_async(bool)(user)
    request.auser = partial(_user_of, request)
    return unwrapped(user)


_UNSET = object()


async def _user_of(request: Any) -> Any:
    return request.user


async def _authenticated(request: Any) -> Any:
    """Return the request of Django, with the user whom a framework on top of it has found."""
    plain = plain_request(request)
    if plain is not request:
        await sync_to_async(lambda: request.user)()  # it is set on both
    elif _is_user(auth := getattr(request, "auth", None)):
        request.user = auth
    return plain


def _is_user(auth: object) -> bool:
    """Return whether what an authenticator has found is a user, and no token or key of one."""
    if is_unloaded(auth) or not hasattr(auth, "pk"):
        return False
    return bool(getattr(auth, "is_authenticated", False))


def is_user_of_session(request: Any) -> bool:
    """Return whether the session of a request has logged its user in; if in doubt, it has."""
    user = getattr(request, "user", None)
    if is_unloaded(user):
        return loads_session_user(user)
    if not getattr(user, "is_authenticated", False):
        return False
    return loads_session_user(user) or user is getattr(request, _USER_OF_SESSION, None)


def has_set_user(request: Any) -> bool:
    """Return whether somebody has set a user who is not the session's. This loads no user."""
    user = getattr(request, "__dict__", {}).get("user")
    if user is None or is_user_of_session(request):
        return False
    return is_unloaded(user) or bool(getattr(user, "is_authenticated", False))


async def user_or_session(request: Any, *, acquire: bool = False) -> tuple[Owner, ...]:
    """Return the owners of a request: its user, and the visitor its session remembers.

    Who shows more than a cookie is a user or nobody: see `carries_token`. The same holds where an
    authenticator has let a request in for something that is no user, such as a key.
    """
    user = await load_user(request)
    plain = plain_request(request)
    auth = getattr(plain, "auth", None)
    has_shown = carries_token(plain) or (auth is not None and not _is_user(auth))
    session = None if has_shown else getattr(plain, "session", None)
    return await owners_of(user, session, acquire=acquire)


async def owners_of(user: Any, session: Any, *, acquire: bool = False) -> tuple[Owner, ...]:
    """Return the owners that a user and a session stand for.

    A user is its primary key. A visitor is a token in the data of the session: unlike the session
    key it survives the login, after which both may read, and it dies with the logout. Only
    `acquire` stores one; without it a visitor without a token leaves no trace.
    """
    token = None if session is None else await session.aget(SESSION_KEY)
    known = () if token is None else (f"session:{token}",)
    if user is not None and user.is_authenticated:
        return (owner_of_user(user), *known)
    if known or session is None:
        return known
    token = derived_token(session) or secrets.token_urlsafe(24)
    if acquire:
        await session.aset(SESSION_KEY, token)
    return (f"session:{token}",)


def derived_token(session: Any) -> str | None:
    """Return the token of a visitor whose session has none yet; None: it is a random one.

    A session is saved whole, so of two requests at once the last one wins. Where the session was
    there before, both find the same token, therefore; nobody can tell it from the key. A session
    in a cookie has no key of its own: two visitors with the same data may have the same cookie.
    """
    key = getattr(session, "session_key", None) or ""
    if not _RANDOM_KEY.fullmatch(key):
        return None
    return salted_hmac("resumable_streams.owner", key, algorithm="sha256").hexdigest()


def owner_of_user(user: Any) -> Owner:
    """Return the owner that a user stands for."""
    return f"user:{user.pk}"


def _several(answer: Any) -> tuple[Owner, ...]:
    if answer is None:
        return ()
    return (answer,) if isinstance(answer, str | Public) else tuple(answer)


async def _ask(settings: AliasSettings, name: str, request: Any, *, acquire: bool) -> Any:
    function, takes_acquire = _load(settings, name)
    keywords = {"acquire": acquire} if takes_acquire else {}
    if iscoroutinefunction(function):
        return await function(request, **keywords)
    answer = await sync_to_async(function)(request, **keywords)
    return await answer if inspect.isawaitable(answer) else answer


_loaded: dict[str, tuple[Callable[..., Any], bool]] = {}


def _load(settings: AliasSettings, name: str) -> tuple[Callable[..., Any], bool]:
    """Return what a setting names now (a test may patch it), and whether it takes `acquire`."""
    path, function = getattr(settings, name), load_callable(settings, name)
    assert function is not None  # noqa: S101
    if path not in _loaded or _loaded[path][0] is not function:
        _loaded[path] = function, "acquire" in inspect.signature(function).parameters
    return _loaded[path]
