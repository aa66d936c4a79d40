"""How long a fuzzer goes on: a moment with every change, with the same examples; else as told."""

import os
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, seed, settings

from . import IS_FULL

__all__ = ["SEED", "bounded"]

F = TypeVar("F", bound=Callable[..., None])

SEED = int(os.environ.get("ATTACK_SEED", "1"))
TIMES = float(os.environ.get("ATTACK_TIMES", "1"))


def bounded(*, short: int, full: int) -> Callable[[F], F]:
    """Return a decorator that bounds a fuzzer to so many examples, the same in each run.

    Another ATTACK_SEED has others, ATTACK_TIMES so many times as many.
    """
    profile = settings(
        max_examples=max(1, round(TIMES * (full if IS_FULL else short))),
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )

    def decorate(test: F) -> F:
        return profile(seed(SEED)(test))

    return decorate
