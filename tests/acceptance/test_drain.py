"""A deploy: the process is told to end while answers are being produced."""

import time

import httpx
import pytest

from tests.tools.serving import PLAIN
from tests.tools.waiting import A_SECOND, until

from .conftest import Serve
from .deploy_site import line
from .servers import COMMANDS, Server, at, visitor, warmed_up
from .table import Table
from .test_two_processes import Reading, begin

KINDS = list(COMMANDS)
# Hypercorn tells its workers by an event that only it sees, and waits for its readers first: they
# go when its patience ends, after 3 seconds. Answers are to be longer than that, and shorter than
# what we give them.
RELEASED_WITHIN = {"hypercorn": 3 + A_SECOND}
RATE = {"hypercorn": "50"}


@pytest.fixture(scope="module")
def other(lasting: Serve, redis_url: str) -> Server:
    """Return a server of the same site that goes on."""
    return warmed_up(lasting(REDIS_URL=redis_url))


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_answer_is_finished_and_its_reader_resumes_elsewhere(
    passing: Serve,
    other: Server,
    redis_url: str,
    expected: bytes,
    kind: str,
    servers_table: Table,
) -> None:
    rate = RATE.get(kind, "100")
    ending = passing(kind, DEMO_RATE=rate, REDIS_URL=redis_url, DRAIN_TIMEOUT="8")
    with visitor(ending) as owner, at(other, owner) as elsewhere, at(ending, owner) as tab:
        address = begin(owner)
        reading = Reading(tab, address)
        reading.start()
        reading.wait_for_bytes()
        ending.process.terminate()
        told = time.monotonic()
        reading.join(timeout=30)
        assert reading.ended_at - told < RELEASED_WITHIN.get(kind, A_SECOND)
        assert reading.was_cut  # raw has no other way to say that bytes are missing
        rest = elsewhere.get(address, params={"offset": len(reading.received)})
        assert reading.received + rest.content == expected
        assert elsewhere.get(f"{address}status/").json()["status"] == "done"
        until(lambda: ending.process.poll() is not None)
    servers_table.put(kind, "short answers finish", "yes")
    servers_table.put(kind, "readers are sent elsewhere", f"after {reading.ended_at - told:.1f} s")
    servers_table.put(kind, "a cut raw body looks cut", "yes")


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_answer_is_interrupted_in_writing(
    passing: Serve, other: Server, redis_url: str, kind: str, servers_table: Table
) -> None:
    ending = passing(kind, DEMO_RATE="10", REDIS_URL=redis_url, DRAIN_TIMEOUT="1")
    with visitor(ending) as owner, at(other, owner) as elsewhere:
        address = begin(owner)
        ending.process.terminate()
        told = time.monotonic()
        until(lambda: ending.process.poll() is not None)
        assert time.monotonic() - told < 20  # and not as long as the answer takes
        state = elsewhere.get(f"{address}status/").json()
        assert (state["status"], state["error"]) == ("error", "interrupted")
    servers_table.put(kind, "long ones are interrupted", "yes")


@pytest.mark.parametrize("kind", KINDS)
def test_it_streams_chunk_by_chunk_and_keeps_nothing_of_who_has_left(
    site: Serve, redis_url: str, kind: str, servers_table: Table
) -> None:
    server = site(
        kind,
        DJANGO_SETTINGS_MODULE="tests.acceptance.deploy_site",
        REDIS_URL=redis_url,
        DRAIN_TIMEOUT="0",
    )
    with (
        httpx.Client(
            verify=PLAIN, base_url=server.url, headers={"X-User": "me"}, timeout=20
        ) as client,
        client.stream("POST", "/produce?count=10&every=0.1") as response,
    ):
        chunks = list(response.iter_raw())
        assert b"".join(chunks) == b"".join(map(line, range(10)))
        assert len(chunks) > 1
        for _ in range(3):
            with client.stream("POST", "/produce?count=2&every=60") as quiet:
                assert next(quiet.iter_raw()) == line(0)  # long before there is more
        servers_table.put(kind, "chunk by chunk", "yes")
        until(lambda: client.get("/readers").json()["readers"] == 0)
        servers_table.put(kind, "a client that left is noticed", "at once")
