"""Patience with a store that is away: repeat a verb, with backoff and jitter."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..exceptions import StoreUnavailable

__all__ = ["for_seconds", "patiently"]

T = TypeVar("T")

FIRST_BACKOFF_SECONDS = 0.02
MAX_BACKOFF_SECONDS = 1.0

GiveUp = Callable[[float], bool]
"""Say whether to give up, rather than to wait for some seconds and try again."""


async def patiently(verb: Callable[[], Awaitable[T]], give_up: GiveUp) -> T:
    """Repeat a verb while the store is away; raise StoreUnavailable once it is time to give up."""
    backoff = FIRST_BACKOFF_SECONDS
    while True:
        try:
            return await verb()
        except StoreUnavailable as error:
            if error.is_final or give_up(backoff):
                raise
        await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311
        backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)


def for_seconds(seconds: float) -> GiveUp:
    """Give up when so much time has passed from now on."""
    end = time.monotonic() + seconds
    return lambda pause: time.monotonic() + pause >= end
