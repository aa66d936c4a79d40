"""The tries of a request: how long a client waits, how often it asks, and when it never does."""

import email.utils
import time
from typing import Any

import httpx
import pytest

from resumable_streams.client import (
    Backoff,
    BadRequest,
    ClientError,
    Forbidden,
    GaveUp,
    NotAuthenticated,
    NotFound,
    Refusal,
    Replaced,
    TooMany,
)
from resumable_streams.client.asking import ask
from resumable_streams.client.backoff import Attempts
from resumable_streams.client.steps import Ask, Reply, Talk, Wait

URL = httpx.URL("https://example.com/streams/a/?token=secret")
BACKOFF = Backoff(attempts=4, first=1.0, longest=3.0, patience=60.0)


def answer(status: int, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers=httpx.Headers(named), url=URL)


def waits(*outcomes: Reply | httpx.TransportError) -> tuple[list[float], Talk[Reply]]:
    """Return the waits of a request with these outcomes, and the conversation after them."""
    talk = Talk(ask(Ask(method="GET", url=URL), Attempts(BACKOFF)))
    found: list[float] = []
    for outcome in outcomes:
        assert isinstance(talk.next(), Ask)
        if isinstance(outcome, Reply):
            talk.outcome = outcome
        else:
            talk.error = outcome
        step = talk.next()
        if isinstance(step, Wait):
            found.append(step.seconds)
    return found, talk


def test_waits_double_with_jitter_up_to_the_longest() -> None:
    lost = httpx.ReadError("reset")
    first, second, third = waits(lost, lost, lost)[0]
    assert 0.5 <= first <= 1.0
    assert 1.0 <= second <= 2.0
    assert 1.5 <= third <= 3.0


def test_readers_of_one_server_do_not_come_back_together() -> None:
    assert len({waits(httpx.ReadError("reset"))[0][0] for _ in range(20)}) > 10
    assert len({waits(answer(503, Retry_After="7"))[0][0] for _ in range(20)}) > 10


def test_retry_after_is_never_cut_short() -> None:
    assert all(7 <= waits(answer(503, Retry_After="7"))[0][0] <= 8.75 for _ in range(50))
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 25 < waits(answer(429, Retry_After=date))[0][0] <= 37.5
    assert waits(answer(503, Retry_After="soon"))[0][0] <= 1.0


def test_a_wait_that_is_too_long_is_left_to_the_caller() -> None:
    with pytest.raises(TooMany, match="retry_after") as told:
        waits(answer(429, Retry_After="3600"))
    assert told.value.retry_after == 3600
    with pytest.raises(GaveUp) as told_of_503:
        waits(answer(503, Retry_After="3600"))
    assert told_of_503.value.retry_after == 3600


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_may_pass_is_asked_for_again(status: int) -> None:
    found, talk = waits(answer(status), answer(200))
    assert (len(found), talk.result.status) == (1, 200)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, Refusal),
        (400, BadRequest),
        (401, NotAuthenticated),
        (403, Forbidden),
        (404, NotFound),
        (412, Replaced),
        (413, Refusal),
        (501, Refusal),
    ],
)
def test_an_answer_that_stays_is_never_asked_for_again(
    status: int, kind: type[ClientError]
) -> None:
    with pytest.raises(kind) as told:
        waits(answer(status, Location="/login/"))
    assert isinstance(told.value, Refusal)
    assert told.value.status == status
    assert "secret" not in str(told.value)
    assert len(str(told.value)) > 60  # what to do, too


def test_the_last_try_is_the_cause() -> None:
    lost: list[Any] = [httpx.ReadError("reset"), httpx.ConnectTimeout(""), httpx.ReadTimeout("")]
    with pytest.raises(GaveUp, match=r"4 tries.*silence") as told:
        waits(*lost, lost[2])
    assert told.value.__cause__ is lost[2]


@pytest.mark.parametrize(
    "error",
    [
        httpx.UnsupportedProtocol("ftp"),
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"),
    ],
)
def test_a_fault_that_time_does_not_mend_is_told_at_once(error: httpx.TransportError) -> None:
    with pytest.raises(GaveUp, match="one try"):
        waits(error)
