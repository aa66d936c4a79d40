"""A deploy: the process is told to end while answers are being produced."""

import time

import pytest

from .conftest import Serve
from .servers import COMMANDS, at, visitor
from .test_two_processes import Reading, begin, wait_until

KINDS = list(COMMANDS)
# Within how many seconds attached readers are sent elsewhere. Hypercorn tells its workers by an
# event that only it sees, and waits for its readers first: they go when its patience (3 s) ends.
RELEASED_WITHIN = {"hypercorn": 5.0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_answer_is_finished_and_its_reader_resumes_elsewhere(
    site: Serve, redis_url: str, expected: bytes, kind: str
) -> None:
    ending = site(kind, DEMO_RATE="100", REDIS_URL=redis_url, DRAIN_TIMEOUT="8")
    other = site(REDIS_URL=redis_url)
    with visitor(ending) as owner, at(other, owner) as elsewhere, at(ending, owner) as tab:
        address = begin(owner)
        reading = Reading(tab, address)
        reading.start()
        reading.wait_for_bytes()
        ending.process.terminate()
        told = time.monotonic()
        reading.join(timeout=5)
        assert reading.ended_at - told < RELEASED_WITHIN.get(kind, 1.5)
        # Raw has no other way to say that bytes are missing; Hypercorn ends such a body cleanly.
        assert reading.was_cut is (kind != "hypercorn")
        rest = elsewhere.get(address, params={"offset": len(reading.received)})
        assert reading.received + rest.content == expected
        assert elsewhere.get(f"{address}status/").json()["status"] == "done"
        wait_until(lambda: ending.process.poll() is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_answer_is_interrupted_in_writing(
    site: Serve, redis_url: str, expected: bytes, kind: str
) -> None:
    ending = site(kind, DEMO_RATE="10", REDIS_URL=redis_url, DRAIN_TIMEOUT="1")
    other = site(REDIS_URL=redis_url)
    with visitor(ending) as owner, at(other, owner) as elsewhere:
        address = begin(owner)
        ending.process.terminate()
        told = time.monotonic()
        wait_until(lambda: ending.process.poll() is not None)
        assert time.monotonic() - told < 6
        state = elsewhere.get(f"{address}status/").json()
        assert (state["status"], state["error"]) == ("error", "interrupted")
