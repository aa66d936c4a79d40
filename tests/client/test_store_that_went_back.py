"""A store that lost its last bytes in a failover: its producer sends them again, and 416 passes."""

from typing import Any

import httpx
import pytest

from resumable_streams.client import Backoff, BeyondTheEnd
from resumable_streams.client.decoding import AS_BYTES
from resumable_streams.client.following import Following, StreamPlace
from resumable_streams.client.steps import Ask, Give, Reply, Step, Talk, Wait

URL = httpx.URL("https://example.com/streams/a/")
HEADERS = {
    "X-Resumable-Stream-Id": "a",
    "X-Resumable-Stream-Epoch": "e1",
    "Accept-Ranges": "bytes",
}
SHORTER = Reply(status=416, headers=httpx.Headers(), url=URL)


def reply(**more: str) -> Reply:
    named = {f"X-Resumable-Stream-{name.title()}": value for name, value in more.items()}
    return Reply(status=200, headers=httpx.Headers({**HEADERS, **named}), url=URL)


def follow(talk: Talk[None], outcomes: list[Any]) -> bytes:
    """Drive a conversation with these outcomes of its requests and reads; return its items."""
    found = b""
    step: Step | None
    while (step := talk.next()) is not None:
        if isinstance(step, Give):
            found += step.item
        elif not isinstance(step, Wait):
            outcome = outcomes.pop(0)
            if isinstance(outcome, httpx.TransportError):
                talk.error = outcome
            else:
                assert isinstance(outcome, Reply) is isinstance(step, Ask)
                talk.outcome = outcome
    return found


def following() -> Talk[None]:
    backoff = Backoff(attempts=4)
    return Talk(Following(StreamPlace(url=URL), AS_BYTES, backoff).steps())


BEGUN = [
    reply(offset="0"),
    b"12345",
    httpx.ReadError("failover"),
    reply(status="streaming", size="3"),
]


def test_bytes_that_come_again_are_waited_for() -> None:
    rest = [SHORTER, SHORTER, reply(offset="5"), b"67", None, reply(status="done", size="7")]
    assert follow(following(), [*BEGUN, *rest]) == b"1234567"


def test_bytes_that_stay_away_are_told_at_last() -> None:
    with pytest.raises(BeyondTheEnd):
        follow(following(), [*BEGUN, *[SHORTER] * 4])


def test_an_answer_from_another_byte_is_refused() -> None:
    with pytest.raises(Exception, match="from byte 0, where byte 5 was asked for"):
        follow(following(), [*BEGUN, reply(offset="0")])
