"""Visitors of a site behind a proxy, who look at every byte."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from resumable_streams.client import Backoff, RemoteStream, SiteClient
from tests.tools.serving import PLAIN

__all__ = ["COUNT", "numbered", "read", "start_stream", "visitor"]

COUNT = 30


def numbered() -> list[str]:
    """Return the words that the site sends for `count=COUNT`."""
    return [f"{number} " for number in range(COUNT)]


@contextmanager
def visitor(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(verify=PLAIN, base_url=url, headers={"X-User": "me"}, timeout=20) as client:
        yield client


def read(
    client: httpx.Client, method: str, path: str, then: Callable[[], None] | None = None
) -> tuple[httpx.Headers, bytes, bool]:
    """Return the headers, what came of the body, and whether it was seen to be cut."""
    received = bytearray()
    with client.stream(method, path) as response:
        assert response.status_code in (200, 204)
        try:
            for data in response.iter_raw():
                received += data
                if then is not None:
                    then()
        except httpx.RemoteProtocolError:
            return response.headers, bytes(received), True
    return response.headers, bytes(received), False


def start_stream(client: httpx.Client, wire_format: str) -> tuple[RemoteStream, list[str]]:
    """Start a stream; return it, and the requests so far, which go on to be noted."""
    asked: list[str] = []
    client.event_hooks = {"request": [lambda request: asked.append(request.method)]}
    site = SiteClient(http=client, backoff=Backoff(first=0.01))
    return site.acquire(f"/produce?format={wire_format}&count={COUNT}&every=0.1"), asked
