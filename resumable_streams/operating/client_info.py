"""From where is asked: the address, the request id and the user of a request or a Channels scope.

Headers are claims of the client. `X-Forwarded-For` counts only as far as TRUSTED_PROXIES of your
own proxies wrote it: each of them appends the address of its caller, so with n of them the n-th
entry from the right is the client, and everything left of it is hearsay. A
request id from a header is a hint for finding log lines, not a proof.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from ..compat import is_unloaded, unwrapped

__all__ = ["client_ip", "request_id", "user_id"]

MAX_REQUEST_ID = 200
MAX_USER_ID = 255

_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([^:]*):\d+")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def client_ip(request: Any, trusted: int = 0) -> str | None:
    """Return the address of the client behind `trusted` proxies; None when it is not known.

    Without proxies, and for a request that has fewer entries than there are proxies (so it came
    past one), it is the address that is connected to this server.
    """
    if trusted > 0:
        entries = _header(request, "X-Forwarded-For").rsplit(",", trusted)[-trusted:]
        if len(entries) == trusted and entries[0].strip():
            return _address(entries[0].strip())
    return _address(_peer(request))


def request_id(request: Any) -> str:
    """Return the id that a middleware (`request.request_id`) or else `X-Request-ID` gives."""
    given = getattr(request, "request_id", None) or _header(request, "X-Request-ID")
    return _UNPRINTABLE.sub("", str(given)[:MAX_REQUEST_ID])


def user_id(request: Any) -> str:
    """Return the primary key of the user, if one is known by now: never asks the database."""
    user = _user(request)
    if user is None or not getattr(user, "is_authenticated", False):
        return ""
    return str(user.pk)[:MAX_USER_ID]


def _user(request: Any) -> Any:
    if isinstance(request, Mapping):
        return _loaded(request.get("user"))
    # What was assigned to `request.user`, or what Django's own has cached.
    names = ("user", "_acached_user", "_cached_user")
    attributes = getattr(request, "__dict__", {})
    return next((user for name in names if (user := _loaded(attributes.get(name)))), None)


def _loaded(user: Any) -> Any:
    """Return what a lazy object has loaded, None if nothing: to look would be to load it."""
    return None if is_unloaded(user) else unwrapped(user)


def _peer(request: Any) -> str:
    if isinstance(request, Mapping):
        return str((request.get("client") or [""])[0])
    return str(getattr(request, "META", {}).get("REMOTE_ADDR") or "")


def _header(request: Any, name: str) -> str:
    if isinstance(request, Mapping):
        wanted = name.lower().encode()
        values = [value for key, value in request.get("headers", ()) if key.lower() == wanted]
        return b",".join(values).decode("latin-1")
    return str(getattr(request, "META", {}).get("HTTP_" + name.upper().replace("-", "_")) or "")


def _address(text: str) -> str | None:
    """Return an address without port and zone, IPv4 as IPv4; None if it is malformed."""
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] if match[1] is not None else match[2]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)
