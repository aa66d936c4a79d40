"""The site whose streams a client reads: addresses, credentials, and the requests made of them."""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

import httpx

from .backoff import Backoff
from .steps import Ask, Content
from .verbs import Starting

__all__ = [
    "CONNECT_SECONDS",
    "MOST_OF_A_REFUSAL",
    "UNLIMITED",
    "AsyncSecret",
    "Headers",
    "Secret",
    "Site",
    "site_of",
]

Headers = Mapping[str, str] | None

Secret = str | Callable[[], str] | None
"""A token, or a function that returns one; it is called for every request."""

AsyncSecret = str | Callable[[], str | Awaitable[str]] | None
"""The same, and the function may be async."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
MOST_OF_A_REFUSAL = 65_536  # bytes
UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""Each stream that is followed holds one connection, so that a limit would make others wait."""

_STREAM_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One site. `base_url` is where relative addresses begin; tokens go to its origin only."""

    base_url: httpx.URL
    streams: str = "/streams/"
    csrf_cookie: str = "csrftoken"
    csrf_header: str = "X-CSRFToken"
    silence: float | None = 45.0

    def url(self, address: str) -> httpx.URL:
        """Return the whole address that a path of the site, or an address, stands for."""
        url = httpx.URL(address)
        if url.is_absolute_url:
            return url
        if not self.base_url.is_absolute_url:
            raise ValueError(
                "A path needs a site: pass base_url=, or an HTTP client that has one, or the whole "
                "address."
            )
        path = f"{self.base_url.path.rstrip('/')}/{url.path.lstrip('/')}"
        return self.base_url.copy_with(path=path, query=url.query or None)

    def stream_url(self, address_or_id: str) -> httpx.URL:
        """Return the address of a stream."""
        if _STREAM_ID.fullmatch(address_or_id):
            return self.url(f"{self.streams.rstrip('/')}/{address_or_id}/")
        return self.url(address_or_id)

    def is_home(self, url: httpx.URL) -> bool:
        """Return whether an address is of the origin that credentials are for."""
        home = self.base_url
        return (url.scheme, url.host, url.port) == (home.scheme, home.host, home.port)

    def is_known(self, sent: httpx.Headers) -> bool:
        """Return whether the site knows the sender of a request again."""
        return "Authorization" in sent or bool(_cookies(sent).keys() - {self.csrf_cookie})

    def starting(
        self, request: httpx.Request, backoff: Backoff, key: str | None, headers: Headers
    ) -> Starting:
        """Return the start of a stream by a request, whose body has been read."""
        content_type = request.headers.get("Content-Type")
        ask = Ask(
            method="POST",
            url=request.url,
            headers={**(headers or {}), "Idempotency-Key": key or str(uuid.uuid4())},
            content=Content(data=request.content, content_type=content_type),
            opens=True,
        )
        return Starting(
            ask=ask,
            backoff=backoff,
            is_known=self.is_known,
            is_sure=key is not None,
            locate=self.stream_url,
        )

    def request(
        self, http: httpx.Client | httpx.AsyncClient, ask: Ask, token: str | None, csrf: str | None
    ) -> httpx.Request:
        """Return the request that a step asks for, with its credentials."""
        given, content = http.timeout, ask.content or Content()
        waits = self.silence if ask.opens else min(self.silence or ANSWER_SECONDS, ANSWER_SECONDS)
        request = http.build_request(
            ask.method,
            ask.url,
            # Bytes are counted, and half of a compressed body is no use.
            headers={"Accept-Encoding": "identity", **ask.headers},
            content=content.data or None,
            timeout=httpx.Timeout(
                connect=given.connect, read=waits, write=given.write, pool=given.pool
            ),
        )
        if content.content_type is not None:
            request.headers["Content-Type"] = content.content_type
        if self.is_home(ask.url):
            self._sign(request, token, csrf)
        return request

    def _sign(self, request: httpx.Request, token: str | None, csrf: str | None) -> None:
        if token is not None:
            request.headers["Authorization"] = token if " " in token else f"Bearer {token}"
        elif request.method not in SAFE_METHODS:
            csrf = csrf or _cookies(request.headers).get(self.csrf_cookie)
            if csrf:
                request.headers.setdefault(self.csrf_header, csrf)
                # Over https Django asks for the page, of which the origin is enough.
                origin = request.url.copy_with(path="/", query=None, userinfo=b"")
                request.headers.setdefault("Referer", str(origin))


def _cookies(headers: httpx.Headers) -> dict[str, str]:
    try:
        cookies = SimpleCookie(headers.get("Cookie", ""))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in cookies.items()}


def site_of(
    base_url: str,
    http: httpx.Client | httpx.AsyncClient | None,
    token: Any,
    **options: Any,
) -> Site:
    """Return the site that the arguments of a client name; raise ValueError for half of one."""
    base = httpx.URL(base_url or (http.base_url if http is not None else ""))
    if token is not None and not base.is_absolute_url:
        raise ValueError("Pass base_url=, too: a token is sent to the origin of that and no other.")
    return Site(base_url=base, **options)
