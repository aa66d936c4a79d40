"""Visitors of a site behind a proxy, who look at every byte."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.tools.serving import PLAIN

__all__ = ["COUNT", "numbered", "read", "read_events", "read_raw", "visitor"]

COUNT = 30


def numbered() -> list[bytes]:
    """Return the frames that the site sends for `count=COUNT`, with the line that ends each."""
    return [b"data: %d " % number for number in range(COUNT)]


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


def read_raw(client: httpx.Client) -> tuple[bytes, int, bool]:
    """Read raw bytes until HEAD says they are whole; return them, the bodies, the first cut."""
    path = f"/produce?format=raw&count={COUNT}&every=0.1"
    headers, body, was_cut = read(client, "POST", path)
    path, epoch = headers["Location"], headers["X-Resumable-Stream-Epoch"]
    bodies = 1
    while not _is_whole(client.head(path, params={"epoch": epoch}), len(body)):
        _, rest, _ = read(client, "GET", f"{path}?offset={len(body)}&epoch={epoch}")
        body, bodies = body + rest, bodies + 1
    return body, bodies, was_cut


def _is_whole(head: httpx.Response, size: int) -> bool:
    status, stored = (head.headers[f"X-Resumable-Stream-{name}"] for name in ("Status", "Size"))
    return status == "done" and int(stored) == size


def read_events(client: httpx.Client) -> list[bytes]:
    """Read events as EventSource does, until 204; return their lines of data."""
    path = f"/produce?format=sse&count={COUNT}&every=0.1"
    headers, body, was_cut = read(client, "POST", path)
    assert not was_cut
    more = body
    while more:  # at last it is 204
        last = body.rpartition(b"id: ")[2].split(b"\n")[0]
        client.headers["Last-Event-ID"] = last.decode()
        _, more, was_cut = read(client, "GET", headers["Location"])
        assert not was_cut
        body += more
    return [line for line in body.splitlines() if line.startswith(b"data: ")]
