"""Patience with a store that is away: repeat a verb, with backoff and jitter.

Every verb of a store may be repeated. Jitter keeps a thousand processes, which lost the same server
at the same moment, from coming back in step.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..exceptions import StoreUnavailable

__all__ = ["backoff_seconds", "for_ever", "for_seconds", "patiently"]

T = TypeVar("T")

FIRST_BACKOFF_SECONDS = 0.02
MAX_BACKOFF_SECONDS = 1.0

GiveUp = Callable[[float], bool]
"""Say whether to give up, rather than to wait for some seconds and try again."""


def backoff_seconds(
    failures: int, *, most: float, first: float = FIRST_BACKOFF_SECONDS, jitter: float = 0.5
) -> float:
    """Return how long to wait after so many failures in a row: twice as long each time.

    `jitter` is the share of it that is left to chance.
    """
    pause: float = min(most, first * 2 ** min(max(failures - 1, 0), 20))
    return pause * random.uniform(1 - jitter, 1)  # noqa: S311


async def patiently(
    verb: Callable[[], Awaitable[T]], give_up: GiveUp, *, most: float | None = None
) -> T:
    """Repeat a verb while the store is away, at least every `most` seconds.

    Raises StoreUnavailable once it is time to give up, or if the store has refused for good.
    """
    failures = 0
    while True:
        try:
            return await verb()
        except StoreUnavailable as error:
            failures += 1
            pause = backoff_seconds(failures, most=most or MAX_BACKOFF_SECONDS)
            if error.is_final or give_up(pause):
                raise
        await asyncio.sleep(pause)


def for_seconds(seconds: float) -> GiveUp:
    """Give up when so much time has passed from now on."""
    end = time.monotonic() + seconds
    return lambda pause: time.monotonic() + pause >= end


def for_ever(pause: float) -> bool:
    """Never give up: a time limit of the caller's, or a cancellation, ends it."""
    return False
