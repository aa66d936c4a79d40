"""A client for the streams of a site, in scripts, notebooks and other services.

    from resumable_streams.client import SiteClient

    with SiteClient("https://example.com", token="…") as site:
        for part in site.acquire("/chat/", json={"question": "…"}).parts():
            ...

It follows a stream to its end, whatever cuts the connection: it resumes at the byte, or after the
last whole event, and waits between tries. `AsyncSiteClient` is the same for async code. Needs the
extra `client`, and neither settings nor `INSTALLED_APPS`.
"""

try:
    import httpx as httpx
except ImportError as error:
    raise ImportError(
        "The client needs httpx: pip install 'django-resumable-streams[client]'"
    ) from error

from .backoff import Backoff
from .blocking import RemoteStream, SiteClient
from .errors import (
    AnswerLost,
    BadRequest,
    BeyondTheEnd,
    BrokenOff,
    ClientError,
    Conflict,
    Forbidden,
    GaveUp,
    NotAStream,
    NotAuthenticated,
    NotFound,
    Refusal,
    RemoteFailure,
    Replaced,
    TooMany,
    WrongFormat,
)
from .frames import ServerEvent
from .nonblocking import AsyncRemoteStream, AsyncSiteClient
from .verbs import RemoteState

__all__ = [
    "AnswerLost",
    "AsyncRemoteStream",
    "AsyncSiteClient",
    "Backoff",
    "BadRequest",
    "BeyondTheEnd",
    "BrokenOff",
    "ClientError",
    "Conflict",
    "Forbidden",
    "GaveUp",
    "NotAStream",
    "NotAuthenticated",
    "NotFound",
    "Refusal",
    "RemoteFailure",
    "RemoteState",
    "RemoteStream",
    "Replaced",
    "ServerEvent",
    "SiteClient",
    "TooMany",
    "WrongFormat",
]
