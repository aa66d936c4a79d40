"""How bulk work slows down when the server does."""

import pytest

from resumable_streams.operating.pace import LEAST, MOST, MOST_REST_SECONDS, Pace

EACH = 0.000_05  # seconds that a stream takes a server with nothing else to do


def walk(pace: Pace, steps: int, *, times: float = 1.0) -> list[float]:
    """Take so many steps on a server that takes so many times as long; return the rests."""
    return [pace.took(pace.step * EACH * times) for _ in range(steps)]


def test_on_a_quiet_server_steps_grow_to_a_bound_without_a_rest() -> None:
    pace = Pace()
    assert pace.step == LEAST
    assert walk(pace, 10) == [0.0] * 10
    assert pace.step == MOST


def test_a_slow_server_gets_small_steps_and_rests() -> None:
    walk(pace := Pace(), 10)
    rests = walk(pace, 5, times=10)
    assert pace.step == LEAST
    assert rests[-1] == pytest.approx(LEAST * EACH * 10)
    assert all(rests)


def test_a_rest_is_bounded() -> None:
    walk(pace := Pace(), 10)
    assert walk(pace, 1, times=10_000) == [MOST_REST_SECONDS]


def test_it_is_as_fast_as_before_when_the_server_is() -> None:
    walk(pace := Pace(), 10)
    walk(pace, 10, times=10)
    assert walk(pace, 5) == [0.0] * 5
    assert pace.step == MOST


def test_a_server_that_is_a_little_slower_is_no_reason() -> None:
    walk(pace := Pace(), 10)
    assert not any(walk(pace, 10, times=2))
    assert pace.step == MOST
