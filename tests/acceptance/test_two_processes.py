"""Two server processes on one Redis: whatever one does, the other one knows."""

import json
import threading
import time

import httpx
import pytest

from resumable_streams.sse import data_of
from tests.tools.waiting import A_SECOND, pass_time_sync, until

from .conftest import Serve
from .servers import Server, at, visitor, warmed_up

LEASE, SWEEP = 1.5, 0.5
SLOW = {"DEMO_RATE": "60", "LEASE": str(LEASE), "SWEEP": str(SWEEP)}


@pytest.fixture(scope="module")
def first(lasting: Serve, redis_url: str) -> Server:
    return warmed_up(lasting(**SLOW, REDIS_URL=redis_url))


@pytest.fixture(scope="module")
def second(lasting: Serve, redis_url: str) -> Server:
    return warmed_up(lasting("uvicorn", **SLOW, REDIS_URL=redis_url))


@pytest.fixture
def doomed(passing: Serve, redis_url: str) -> Server:
    """Return a server of the same site that the test may kill."""
    return passing(**SLOW, REDIS_URL=redis_url)


class Reading(threading.Thread):
    """Read one response to its end, in the background."""

    def __init__(self, client: httpx.Client, address: str):
        super().__init__(daemon=True)
        self.client, self.address = client, address
        self.received = b""
        self.ended_at = 0.0
        self.was_cut = False

    def run(self) -> None:
        try:
            with self.client.stream("GET", self.address) as response:
                for data in response.iter_raw():
                    self.received += data
        except httpx.TransportError:
            self.was_cut = True
        self.ended_at = time.monotonic()

    def wait_for_bytes(self) -> None:
        until(lambda: self.received)


def begin(client: httpx.Client) -> str:
    """Start an answer, read its first bytes, leave; return the address of its stream."""
    with client.stream("POST", "/api/raw") as response:
        next(response.iter_raw())
        return f"/streams/{response.headers['X-Resumable-Stream-Id']}/"


def test_produced_in_one_process_and_resumed_in_the_other(
    first: Server, second: Server, expected: bytes
) -> None:
    with visitor(first) as owner, at(second, owner) as elsewhere, visitor(second) as stranger:
        address = begin(owner)
        assert stranger.get(address).status_code == 404
        assert elsewhere.get(address).content == expected


def test_cancelled_from_the_other_process(first: Server, second: Server, expected: bytes) -> None:
    with visitor(first) as owner, at(second, owner) as elsewhere, at(first, owner) as tab:
        address = begin(owner)
        reading = Reading(tab, address)
        reading.start()
        reading.wait_for_bytes()
        asked = time.monotonic()
        assert elsewhere.post(f"{address}cancel/").status_code == 202
        assert elsewhere.post(f"{address}cancel/").status_code == 202
        reading.join(timeout=30)
        assert reading.ended_at - asked < A_SECOND
        state = owner.get(f"{address}status/").json()
        assert state["status"] == "cancelled"
        # What was written stays readable, to the byte, and nothing is added to it.
        kept = elsewhere.get(address).content
        assert 0 < len(kept) == state["size"] < len(expected)
        assert expected.startswith(kept)
        assert kept.startswith(reading.received)
        pass_time_sync(0.3)
        assert owner.get(f"{address}status/").json()["size"] == state["size"]


def test_a_killed_producer_is_reported_within_lease_and_sweep(
    doomed: Server, second: Server, expected: bytes
) -> None:
    with visitor(doomed) as owner, at(second, owner) as elsewhere:
        address = begin(owner)
        reading = Reading(elsewhere, address)
        reading.start()
        reading.wait_for_bytes()
        doomed.kill()
        killed = time.monotonic()
        reading.join(timeout=30)
        assert reading.ended_at - killed < LEASE + SWEEP + A_SECOND
        assert reading.was_cut  # a raw body that lacks bytes must not look complete
        assert expected.startswith(reading.received)
        state = elsewhere.get(f"{address}status/").json()
        assert (state["status"], state["error"]) == ("error", "producer_lost")
        assert state["size"] == len(reading.received)


def test_a_chat_that_loses_its_producer_ends_with_an_error_part(
    doomed: Server, second: Server
) -> None:
    question = {
        "id": "chat-1",
        "trigger": "submit-message",
        "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}],
    }
    with visitor(doomed) as owner, at(second, owner) as elsewhere:
        with owner.stream("POST", "/api/chat", json=question) as response:
            assert response.status_code == 200
            assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
            next(response.iter_raw())
        reading = Reading(elsewhere, "/api/chat/chat-1/stream")
        reading.start()
        reading.wait_for_bytes()
        doomed.kill()
        reading.join(timeout=30)
        frames = reading.received.decode().strip().split("\n\n")
        parts = [json.loads(data_of(frame.encode())) for frame in frames if "[DONE]" not in frame]
        assert parts[0]["type"] == "start"
        assert parts[-1]["type"] == "error"
        assert "producer_lost" in parts[-1]["errorText"]
        assert elsewhere.get("/api/chat/chat-1/stream").status_code == 204
