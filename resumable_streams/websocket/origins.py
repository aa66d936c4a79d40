"""The origins whose pages may open a WebSocket: Django's rule for forms, as there is no CSRF token.

A name in ALLOWED_HOSTS is this site. A pattern there (`*`, `.example.com`) may cover pages of
others, of another tenant, say: of its hosts only the one that the handshake is for counts.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest

from ..conf import project_setting

__all__ = ["origins_of_site"]

ANY = "*"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def origins_of_site(scope: Mapping[str, Any]) -> list[str]:
    """Return the origins from which a socket may be opened, as Channels writes them."""
    hosts = project_setting("ALLOWED_HOSTS") or (LOCAL_HOSTS if project_setting("DEBUG") else ())
    if ANY in hosts and all(name != b"origin" for name, _ in scope.get("headers", ())):
        return [ANY]  # it is no page
    names = [host for host in hosts if host != ANY and not host.startswith(".")]
    trusted = [
        origin.replace("://*.", "://.") for origin in project_setting("CSRF_TRUSTED_ORIGINS")
    ]
    return [*names, *trusted, *_host(scope)]


def _host(scope: Mapping[str, Any]) -> list[str]:
    """Return the host that the handshake is for, if it is one of ALLOWED_HOSTS."""
    try:
        return [ASGIRequest({**scope, "method": "GET"}, BytesIO()).get_host()]
    except DisallowedHost:
        return []
