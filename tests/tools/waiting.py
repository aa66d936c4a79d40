"""Waiting for a state: the one place where a test polls.

A test waits for a state, an event or an answer, never for a time: a machine that is busy makes any
time too short. The bound only keeps a test that will never pass from hanging; it says nothing about
how long something may take. A promise of that kind has its own `asyncio.timeout`.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["PATIENCE_SECONDS", "eventually", "until"]

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.005


async def eventually(
    state: Callable[[], T | Awaitable[T]], *, seconds: float = PATIENCE_SECONDS
) -> T:
    """Return what `state` returns or awaits to, once that is true; the loop goes on meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        found = state()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        _check(deadline, state, seconds)
        await asyncio.sleep(PAUSE_SECONDS)


def until(
    state: Callable[[], T],
    *,
    seconds: float = PATIENCE_SECONDS,
    passing: tuple[type[Exception], ...] = (),
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
        time.sleep(PAUSE_SECONDS)


def _check(deadline: float, state: Callable[[], object], seconds: float) -> None:
    if time.monotonic() < deadline:
        return
    try:
        what = inspect.getsource(state).strip()
    except (OSError, TypeError):
        what = repr(state)
    raise AssertionError(f"This did not become true in {seconds:g} seconds: {what}")
