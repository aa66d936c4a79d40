"""Waiting for a state, and holding a promise: the one place where a test polls.

A test waits for a state, an event or an answer, never for a time: a machine that is busy makes any
time too short. The bound here only keeps a test that can never pass from hanging; it says nothing
about how long something may take. Where the product promises a time, there is `within`.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from .lengthy import allow_passing_time

__all__ = [
    "A_SECOND",
    "PATIENCE_SECONDS",
    "eventually",
    "pass_time",
    "pass_time_sync",
    "until",
    "within",
]

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
A_SECOND = 5.0
"""What a promise of one second is held to where other processes are part of it.

They may wait for a processor as long as it takes; the leases and sweeps of 15 and 5 seconds, which
would find out without a push, are later still.
"""

PAUSE_SECONDS = 0.005
TURN_SECONDS = 0.02  # of what passes between two turns of the loop, counted at most


async def eventually(
    state: Callable[[], object], *, seconds: float = PATIENCE_SECONDS, pause: float = PAUSE_SECONDS
) -> None:
    """Return once `state` returns something true, or an awaitable of it."""
    deadline = time.monotonic() + seconds
    while True:
        found = state()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        _check(deadline, state, seconds)
        await asyncio.sleep(pause)


def until(
    state: Callable[[], T],
    *,
    seconds: float = PATIENCE_SECONDS,
    passing: tuple[type[Exception], ...] = (),
    pause: float = PAUSE_SECONDS,
) -> T:
    """Return what `state` returns, once that is true; errors that are `passing` mean "not yet"."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := state():
                return found
        except passing:
            pass
        _check(deadline, state, seconds)
        time.sleep(pause)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError unless the block ends within `seconds` that this loop had for itself.

    What a busy machine kept from it does not count, so that a promise of a second can be held to a
    second: a clock that ticks on the loop runs slower when the loop does.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as bound:

        async def count() -> None:
            had, last = 0.0, loop.time()
            while had < seconds:
                await asyncio.sleep(PAUSE_SECONDS)
                had, last = had + min(loop.time() - last, TURN_SECONDS), loop.time()
            bound.reschedule(loop.time())

        counting = asyncio.create_task(count(), name="within")
        try:
            yield
        finally:
            counting.cancel()


async def pass_time(seconds: float) -> None:
    """Let time pass on a clock that the test cannot turn: a lease that ends, a server that is away.

    Not for waiting: what is to be true afterwards has to be true however long this takes.
    """
    allow_passing_time()
    await asyncio.sleep(seconds)


def pass_time_sync(seconds: float) -> None:
    """Do what `pass_time` does, where there is no loop."""
    allow_passing_time()
    time.sleep(seconds)


def _check(deadline: float, state: Callable[[], object], seconds: float) -> None:
    if time.monotonic() < deadline:
        return
    try:
        what = inspect.getsource(state).strip()
    except (OSError, TypeError):
        what = repr(state)
    raise AssertionError(f"This did not become true in {seconds:g} seconds: {what}")
