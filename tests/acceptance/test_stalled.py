"""Readers that do not read: what each one costs a server, while the others go on."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.tools.serving import PLAIN
from tests.tools.waiting import pass_time_sync, until

from .conftest import Serve
from .deploy_site import line
from .servers import COMMANDS, IMPATIENT, Server
from .table import Table

MIB = 1_048_576
SIZE = 16 * MIB  # the default of MAX_STREAM_BYTES
ME = {"X-User": "me"}
READERS = 1_000 if os.environ.get("WRITE_SERVERS_TABLE") else 200
BOUND = 2 * MIB  # two pages of the store's, and what the server takes ahead
MARKS: dict[str, Any] = {"daphne": ()}
KINDS = [pytest.param(kind, marks=MARKS.get(kind, pytest.mark.nightly)) for kind in COMMANDS]


@pytest.fixture
def start(site: Serve, redis_url: str) -> Callable[..., Server]:
    return partial(
        site,
        DJANGO_SETTINGS_MODULE="tests.acceptance.deploy_site",
        REDIS_URL=redis_url,
        DRAIN_TIMEOUT="0",
    )


def resident(server: Server) -> int:
    """Return the bytes of memory of a server and its workers."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in server.pids]
    return sum(int(one.partition("VmRSS:")[2].split()[0]) * 1_024 for one in statuses)


def settled(server: Server) -> int:
    """Return the memory once it has stopped to grow, for two seconds."""
    seen = [0, 0, resident(server)]

    def is_settled() -> bool:
        pass_time_sync(1)
        seen.append(resident(server))
        return seen[-1] - seen[-3] <= 2 * MIB

    until(is_settled)
    return seen[-1]


@contextmanager
def stalled(server: Server, address: str, count: int) -> Iterator[None]:
    """Ask for the stream `count` times, read the head of each answer and no more."""
    where = urlsplit(server.url)
    with ExitStack() as open_sockets:
        for _ in range(count):
            client = open_sockets.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.settimeout(20)
            client.connect((where.hostname, where.port))
            client.sendall(
                f"GET {address} HTTP/1.1\r\nHost: localhost\r\nX-User: me\r\n\r\n".encode()
            )
            assert client.recv(16).startswith(b"HTTP/1.1 200")
        yield


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
def test_a_stalled_reader_holds_bounded_memory_and_nobody_else(
    start: Callable[..., Server], kind: str, servers_table: Table
) -> None:
    server = start(kind)
    with httpx.Client(verify=PLAIN, base_url=server.url, headers=ME, timeout=30) as client:
        with client.stream("POST", f"/flood?size={SIZE}") as response:
            address = f"/streams/{response.headers['X-Resumable-Stream-Id']}/"
            assert sum(map(len, response.iter_raw())) == SIZE
        idle = settled(server)
        with stalled(server, address, READERS):
            until(lambda: client.get("/readers").json()["readers"] == READERS)
            held = (settled(server) - idle) / READERS
            assert client.get("/", timeout=10).status_code == 200
            assert len(client.get(address).content) == SIZE
            assert client.get("/readers").json()["readers"] == READERS
        # They have left, and with them their readers.
        until(lambda: client.get("/readers").json()["readers"] == 0)
        assert held < BOUND
    servers_table.put(kind, "a stalled reader holds", f"{held / MIB:.1f} MiB")


@pytest.mark.timeout(60)
def test_daphne_drops_who_reads_nothing_for_as_long_as_a_response_may_last(
    start: Callable[..., Server],
) -> None:
    server = start("daphne", MAX_RESPONSE_SECONDS="2")
    with httpx.Client(verify=PLAIN, base_url=server.url, headers=ME, timeout=30) as client:
        with client.stream("POST", f"/flood?size={SIZE}") as response:
            address = f"/streams/{response.headers['X-Resumable-Stream-Id']}/"
            assert sum(map(len, response.iter_raw())) == SIZE
        before = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        with stalled(server, address, 20):
            until(lambda: client.get("/readers").json()["readers"] == 0)
            # Not only the readers: their connections, too, though the clients are still there.
            until(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) <= before)


def test_daphne_may_end_a_response_itself(start: Callable[..., Server]) -> None:
    """Its --http-timeout finishes a request that we have asked to tell us about its client."""
    server = start(IMPATIENT)
    with httpx.Client(verify=PLAIN, base_url=server.url, headers=ME, timeout=30) as client:
        with client.stream("POST", "/produce?count=20000&every=0.001") as response:
            received = b"".join(response.iter_raw())
        assert len(received) > 16_384
        assert received.startswith(line(0))
        until(lambda: client.get("/readers").json()["readers"] == 0)
        pass_time_sync(2)  # every second it looks at how its applications have ended
    assert "timed out while sending" in server.written()
    assert "Traceback" not in server.written()
