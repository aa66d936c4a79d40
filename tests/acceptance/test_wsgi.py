"""WSGI servers: chunk by chunk, resumed by anybody, sent elsewhere by a deploy."""

import socket
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import httpx
import pytest

from tests.tools.serving import PLAIN
from tests.tools.waiting import A_SECOND, until

from .conftest import Serve
from .deploy_site import line
from .servers import WSGI_COMMANDS, Server
from .table import Table
from .test_two_processes import Reading

KINDS = list(WSGI_COMMANDS)
VIEWS = ["produce", "produce-sync", "produce-in-a-sync-view"]
ME = {"X-User": "me"}
SITE = "tests.acceptance.deploy_site"


@pytest.fixture
def start(passing: Serve, redis_url: str) -> Callable[..., Server]:
    """Return a function that starts a server which the test may end."""
    return partial(passing, DJANGO_SETTINGS_MODULE=SITE, REDIS_URL=redis_url)


@pytest.fixture(scope="module")
def other(lasting: Serve, redis_url: str) -> Server:
    """Return a server of the same site for those who come back."""
    server = lasting("uvicorn", DJANGO_SETTINGS_MODULE=SITE, REDIS_URL=redis_url)
    httpx.post(f"{server.url}/produce?count=1&every=0", headers=ME, timeout=30)  # to warm it up
    return server


def answer(count: int) -> bytes:
    return b"".join(map(line, range(count)))


@pytest.mark.parametrize("kind", KINDS)
def test_it_streams_chunk_by_chunk_and_is_resumed(
    start: Callable[..., Server], kind: str, servers_table: Table
) -> None:
    server = start(kind)
    with httpx.Client(verify=PLAIN, base_url=server.url, headers=ME, timeout=30) as client:
        for view in VIEWS:
            with client.stream("POST", f"/{view}?count=10&every=0.1") as response:
                assert response.status_code == 200
                first = next(response.iter_raw())
                assert len(first) < len(answer(10))
                address = f"/streams/{response.headers['X-Resumable-Stream-Id']}/"
            # The client has left after the first bytes, and production goes on.
            rest = client.get(address, params={"offset": len(first)})
            assert first + rest.content == answer(10)
            assert client.get(address, headers={"X-User": "stranger"}).status_code == 404
            assert client.get(f"{address}status/").json()["status"] == "done"
    servers_table.put(kind, "chunk by chunk", "yes")
    assert "Traceback" not in server.written()


@pytest.mark.parametrize("kind", KINDS)
def test_a_deploy_sends_readers_elsewhere_and_lets_short_answers_finish(
    start: Callable[..., Server], other: Server, kind: str, servers_table: Table
) -> None:
    ending = start(kind, DRAIN_TIMEOUT="8")
    with httpx.Client(verify=PLAIN, base_url=ending.url, headers=ME, timeout=30) as client:
        address, reading = _begin(client, "/produce?count=30&every=0.1")
        ending.process.terminate()
        told = time.monotonic()
        reading.join(timeout=30)
        assert reading.ended_at - told < A_SECOND
        # wsgiref neither counts bytes nor sends chunks: where a body ends is where it closes.
        assert reading.was_cut is (kind != "runserver (WSGI)")
        rest = httpx.get(
            f"{other.url}{address}?offset={len(reading.received)}", headers=ME, timeout=30
        )
        assert reading.received + rest.content == answer(30)
        until(lambda: ending.process.poll() is not None)
    servers_table.put(kind, "short answers finish", "yes")
    servers_table.put(kind, "readers are sent elsewhere", f"after {reading.ended_at - told:.1f} s")
    servers_table.put(kind, "a cut raw body looks cut", "yes" if reading.was_cut else "**no**")


@pytest.mark.parametrize("kind", KINDS)
def test_a_deploy_interrupts_a_long_answer_in_writing(
    start: Callable[..., Server], other: Server, kind: str, servers_table: Table
) -> None:
    ending = start(kind, DRAIN_TIMEOUT="1")
    with httpx.Client(verify=PLAIN, base_url=ending.url, headers=ME, timeout=30) as client:
        address, _ = _begin(client, "/produce?count=1000&every=0.1")
        ending.process.terminate()
        told = time.monotonic()
        until(lambda: ending.process.poll() is not None)
        assert time.monotonic() - told < 20  # and not as long as the answer takes
        state = httpx.get(f"{other.url}{address}status/", headers=ME).json()
        assert (state["status"], state["error"]) == ("error", "interrupted")
    servers_table.put(kind, "long ones are interrupted", "yes")


def _begin(client: httpx.Client, path: str) -> tuple[str, Reading]:
    with client.stream("POST", path) as response:
        address = f"/streams/{response.headers['X-Resumable-Stream-Id']}/"
        next(response.iter_raw())
    reading = Reading(client, address)
    reading.start()
    reading.wait_for_bytes()
    return address, reading


@pytest.mark.parametrize("kind", KINDS)
def test_a_keep_alive_finds_out_that_the_client_has_left(
    start: Callable[..., Server], kind: str, servers_table: Table
) -> None:
    server = start(kind, KEEP_ALIVE="0.2", DRAIN_TIMEOUT="0")
    where = urlsplit(server.url)
    clients = [socket.create_connection((where.hostname, where.port)) for _ in range(20)]
    for client in clients:  # more than there are threads; each leaves a quiet stream
        client.sendall(
            b"POST /produce?count=2&every=30&format=sse HTTP/1.1\r\n"
            b"Host: localhost\r\nX-User: me\r\nContent-Length: 0\r\n\r\n"
        )
    clients[0].settimeout(30)
    answered = clients[0].recv(65_536)
    assert answered.startswith(b"HTTP/1.1 200"), server.written()
    for client in clients:
        client.close()
    assert httpx.get(f"{server.url}/", timeout=30).status_code == 200
    servers_table.put(kind, "a client that left is noticed", "within two keep-alives, not in raw")
    waits_in = "a greenlet" if "gevent" in kind else "a thread or process"
    servers_table.put(kind, "a stalled reader holds", waits_in)
