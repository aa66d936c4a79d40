"""When appends gather: only while the loop is busy, and only if they find company."""

import pytest

from resumable_streams.stores.redis.tick import REST_SECONDS, TICK_SECONDS, WINDOW_SECONDS, Tick

LONG = 1.0
"""Seconds since the last answer, long after which an append came by itself."""


class Loop:
    """A loop by its clock, and by the seconds that its thread has used."""

    def __init__(self) -> None:
        self.now = self.used = 0.0

    def work(self, seconds: float, *, share: float) -> None:
        """Let time pass, a share of it with work."""
        self.now += seconds
        self.used += seconds * share

    def tick(self) -> Tick:
        return Tick(lambda: self.now, lambda: self.used)


def windows(loop: Loop, tick: Tick, *, share: float, appends: int, count: int = 1) -> None:
    """Let so many windows pass, with a write of so many appends in each, and judge each."""
    for _ in range(count):
        tick.wrote(appends)
        loop.work(1.1 * WINDOW_SECONDS, share=share)
        tick.due_in(LONG)


def waits(tick: Tick) -> bool:
    """Return whether an append has to wait right after a write."""
    tick.wrote(0)
    return tick.due_in(LONG) > 0


def carry(loop: Loop, tick: Tick, *, after: list[float]) -> None:
    """Let a busy window pass whose appends came so long after the last answer, five a write."""
    for number, quiet in enumerate(after):
        tick.due_in(quiet)
        loop.work(1.1 * WINDOW_SECONDS / len(after), share=0.9)
        if number % 5 == 4:
            tick.wrote(5)


def test_nothing_waits_while_the_loop_has_time() -> None:
    tick = (loop := Loop()).tick()
    windows(loop, tick, share=0.3, appends=50, count=20)
    assert not waits(tick)


def test_appends_of_a_busy_loop_leave_a_tick_apart() -> None:
    tick = (loop := Loop()).tick()
    windows(loop, tick, share=0.5, appends=5)
    tick.wrote(5)
    assert tick.due_in(LONG) == pytest.approx(TICK_SECONDS)
    loop.work(TICK_SECONDS / 2, share=1)
    assert 0 < tick.due_in(LONG) < TICK_SECONDS
    loop.work(TICK_SECONDS, share=1)
    assert tick.due_in(LONG) == 0


def test_a_loop_that_gathers_needs_less_and_goes_on_gathering() -> None:
    tick = (loop := Loop()).tick()
    windows(loop, tick, share=0.4, appends=5)
    windows(loop, tick, share=0.2, appends=5, count=20)
    assert waits(tick)


def test_it_ends_when_the_load_does() -> None:
    tick = (loop := Loop()).tick()
    windows(loop, tick, share=0.5, appends=5)
    windows(loop, tick, share=0.1, appends=5)
    assert not waits(tick)


def test_waiting_in_vain_is_given_up_for_a_while() -> None:
    """One stream that waits for each answer, or a loop that is busy with something else."""
    tick = (loop := Loop()).tick()
    windows(loop, tick, share=0.9, appends=1, count=2)
    assert not waits(tick)
    windows(loop, tick, share=0.9, appends=5, count=3)
    assert not waits(tick)
    loop.work(REST_SECONDS, share=0.9)
    windows(loop, tick, share=0.9, appends=5)
    assert waits(tick)


def test_streams_that_wait_for_answers_do_not_gather() -> None:
    """They come together by themselves: all append again when the answers of one read came."""
    tick = (loop := Loop()).tick()
    windows(loop, tick, share=0.9, appends=5)
    assert waits(tick)
    carry(loop, tick, after=[0.0] * 100)
    assert not waits(tick)


def test_sources_that_meet_an_answer_by_chance_go_on_gathering() -> None:
    tick = (loop := Loop()).tick()
    windows(loop, tick, share=0.9, appends=5)
    for _ in range(20):
        carry(loop, tick, after=([0.0] + [0.002] * 4) * 20)
    assert waits(tick)
