"""A signed cookie in which a browser keeps the id of its stream, for as long as that lives.

It is a memory, not a right: the sender still has to be the owner. Its age is the rest of the TTL of
the stream when it was set, in the browser and, as the age is signed with it, here.
"""

import math

from django.core.signing import BadSignature
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .conf import session_cookie_options
from .engine.reader import StreamReader
from .identifiers import validate_stream_id
from .types import StreamInfo

__all__ = ["delete_stream_cookie", "get_stream_cookie", "set_stream_cookie"]

COOKIE = "resumable_stream"
SALT = "resumable_streams.cookies"


def set_stream_cookie(
    response: HttpResponseBase, stream: StreamReader | StreamInfo, *, name: str = COOKIE
) -> None:
    """Have the browser remember the stream until it expires, as it does the session.

    Domain, path, Secure and SameSite are those of the session cookie; scripts cannot read it.
    """
    info = stream.info if isinstance(stream, StreamReader) else stream
    age = max(0, math.floor(info.ttl))
    response.set_signed_cookie(
        name,
        f"{age}:{info.stream_id}",
        salt=SALT,
        max_age=age,
        httponly=True,
        **session_cookie_options(),
    )


def get_stream_cookie(request: HttpRequest, *, name: str = COOKIE) -> str | None:
    """Return the id of the stream that the browser remembers; None without a good cookie."""
    try:
        age, _, stream_id = (request.get_signed_cookie(name, salt=SALT) or "").partition(":")
        request.get_signed_cookie(name, salt=SALT, max_age=int(age))  # raises if it is older
        return validate_stream_id(stream_id)
    except (KeyError, BadSignature, ValueError):  # InvalidStreamId is a ValueError
        return None


def delete_stream_cookie(response: HttpResponseBase, *, name: str = COOKIE) -> None:
    """Have the browser forget the stream."""
    where = {k: v for k, v in session_cookie_options().items() if k != "secure"}
    response.delete_cookie(name, **where)
