"""Streams behind Debian's nginx, with its defaults and with the block of the docs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest

from tests.acceptance.servers import Server
from tests.tools.serving import PLAIN

from .conftest import Proxy
from .nginx import BLOCKS

SITE = "tests.acceptance.frames_site"
RESUME = b'{"type":"error","errorText":"The connection ended before the answer did: resume."}\n\n'
COUNT = 30

Start = Callable[..., Server]


@pytest.fixture
def start(site: Any, redis_url: str) -> Start:
    """Return what starts a server."""
    return partial(site, "uvicorn", DJANGO_SETTINGS_MODULE=SITE, REDIS_URL=redis_url)


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


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("wire_format", ["raw", "sse", "ui_message"])
def test_a_frame_arrives_before_the_next_and_as_it_is(
    start: Start, proxy: Proxy, block: str, wire_format: str
) -> None:
    path = f"/produce?format={wire_format}&count=100&every=30"
    with visitor(proxy(start(DRAIN_TIMEOUT="0").url, block=block)) as client:
        with client.stream("POST", path, headers={"Accept-Encoding": "gzip"}) as response:
            assert next(response.iter_raw()).startswith(b"data: ")
        assert response.headers["Content-Encoding"] == "identity"
        state = client.get(f"{response.headers['Location']}status/").json()
    assert state["status"] == "streaming"


@pytest.mark.parametrize("block", BLOCKS)
def test_a_message_that_goes_on_is_never_taken_for_the_whole(
    start: Start, proxy: Proxy, block: str
) -> None:
    server = start(MAX_RESPONSE_SECONDS="1")
    with visitor(proxy(server.url, block=block)) as client:
        path = f"/produce?format=ui_message&count={COUNT}&every=0.1"
        _, body, was_cut = read(client, "POST", path)
    assert b'"delta":"0 "' in body
    assert b'"type":"finish"' not in body
    assert was_cut is (block == "documented")
    assert body.endswith(RESUME) is (block == "defaults")


@pytest.mark.parametrize("block", BLOCKS)
def test_raw_bytes_are_compared_with_head_before_they_are_called_whole(
    start: Start, proxy: Proxy, block: str
) -> None:
    server = start(MAX_RESPONSE_SECONDS="1")
    with visitor(proxy(server.url, block=block)) as client:
        path = f"/produce?format=raw&count={COUNT}&every=0.1"
        headers, body, was_cut = read(client, "POST", path)
        assert was_cut is (block == "documented")  # behind HTTP/1.0 it cannot be seen
        path, epoch = headers["Location"], headers["X-Resumable-Stream-Epoch"]
        bodies = 1
        while not is_whole(client.head(path, params={"epoch": epoch}), len(body)):
            _, rest, _ = read(client, "GET", f"{path}?offset={len(body)}&epoch={epoch}")
            body, bodies = body + rest, bodies + 1
    assert body == b"".join(b"data: %d \n\n" % number for number in range(COUNT))
    assert bodies > 1


def is_whole(head: httpx.Response, size: int) -> bool:
    status, stored = (head.headers[f"X-Resumable-Stream-{name}"] for name in ("Status", "Size"))
    return status == "done" and int(stored) == size


@pytest.mark.parametrize("block", BLOCKS)
def test_events_that_go_on_end_without_a_last_one_and_are_resumed(
    start: Start, proxy: Proxy, block: str
) -> None:
    server = start(MAX_RESPONSE_SECONDS="1")
    with visitor(proxy(server.url, block=block)) as client:
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
    said = [line for line in body.splitlines() if line.startswith(b"data: ")]
    assert said[:COUNT] == [b"data: %d " % number for number in range(COUNT)]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("wire_format", ["raw", "ui_message"])
def test_a_process_that_is_killed_is_seen_behind_the_documented_block(
    start: Start, proxy: Proxy, block: str, wire_format: str
) -> None:
    server = start()
    with visitor(proxy(server.url, block=block)) as client:
        path = f"/produce?format={wire_format}&count=200&every=0.05"
        _, body, was_cut = read(client, "POST", path, then=server.kill)
    assert body
    assert was_cut is (block == "documented")
