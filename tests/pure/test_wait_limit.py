"""The time limit of one wait after the other, with one timer."""

import asyncio

import pytest

from resumable_streams.http.limit import WaitLimit

SOON = 0.01


async def late(limit: WaitLimit, seconds: float = SOON) -> None:
    """Wait for what does not come."""
    with limit.at(asyncio.get_running_loop().time() + seconds):
        await asyncio.Event().wait()


async def test_each_wait_ends_at_its_own_moment() -> None:
    limit = WaitLimit()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await late(limit)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_waits_that_are_short_share_a_timer() -> None:
    limit, loop = WaitLimit(), asyncio.get_running_loop()
    timers = set()
    for _ in range(5):
        with limit.at(loop.time() + 60):
            await asyncio.sleep(0)
        timers.add(limit._timer)
    assert len(timers) == 1
    limit.cancel()


async def test_a_timer_that_rings_between_two_waits_ends_neither() -> None:
    limit, loop = WaitLimit(), asyncio.get_running_loop()
    with limit.at(loop.time() + 60):
        await asyncio.sleep(0)
    limit.cancel()
    limit._ring(loop)
    with limit.at(loop.time() + 60):
        await asyncio.sleep(0)
    limit.cancel()


async def test_a_timer_that_rings_too_early_is_set_again() -> None:
    limit, loop = WaitLimit(), asyncio.get_running_loop()
    with limit.at(loop.time() + SOON):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await late(limit, 3 * SOON)


async def test_an_earlier_end_than_the_last_one_counts() -> None:
    limit, loop = WaitLimit(), asyncio.get_running_loop()
    with limit.at(loop.time() + 3600):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await late(limit)


async def test_without_an_end_there_is_no_timer() -> None:
    limit = WaitLimit()
    with limit.at(float("inf")):
        await asyncio.sleep(0)
    assert limit._timer is None


async def test_a_cancellation_of_somebody_else_is_none_of_ours() -> None:
    limit = WaitLimit()
    task = asyncio.create_task(late(limit, 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    limit.cancel()


async def test_both_at_once_are_a_cancellation() -> None:
    limit, loop = WaitLimit(), asyncio.get_running_loop()
    task = asyncio.create_task(late(limit, 60))
    await asyncio.sleep(0)
    limit._due = 0.0
    limit._ring(loop)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
