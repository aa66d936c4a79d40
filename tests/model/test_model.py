"""The machine on each store; HYPOTHESIS_PROFILE=nightly for at least 10,000 steps on each."""

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.test.signals import setting_changed
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test
from pytest_django import Settings
from redis import Redis

from .machine import StreamMachine
from .worlds import MemoryWorld, RedisWorld, World

NIGHTLY_STEPS = 10_000
PROFILES = {"default": (12, 25), "nightly": (1_000, 50)}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")


@pytest.fixture
def check(settings: Settings) -> Callable[[World], int]:
    """Return a function that runs the machine in a world, and tells its steps."""

    configured: dict[str, Any] = {}
    settings.RESUMABLE_STREAMS = configured

    def configure(entry: dict[str, Any]) -> None:
        # In place: each assignment to the fixture lies on top of all earlier ones.
        configured.update(default=entry, elsewhere=entry)
        setting_changed.send(None, setting="RESUMABLE_STREAMS", value=configured, enter=True)

    def check(world: World) -> int:
        runs, steps = PROFILES[PROFILE]

        class Machine(StreamMachine):
            pass

        Machine.world, Machine.configure = world, staticmethod(configure)
        run_state_machine_as_test(
            Machine,
            settings=hypothesis_settings(
                max_examples=runs,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        sys.stdout.write(f"{type(world).__name__}: {Machine.steps:,} steps\n")
        return Machine.steps

    return check


@pytest.mark.timeout(1_800)
def test_streams_in_memory_do_what_the_model_says(check: Callable[[World], int]) -> None:
    assert check(MemoryWorld()) >= (NIGHTLY_STEPS if PROFILE == "nightly" else 1)


@pytest.mark.timeout(1_800)
def test_streams_in_redis_do_what_the_model_says(
    check: Callable[[World], int], redis_url: str, redis_server: Redis
) -> None:
    world = RedisWorld(redis_url, redis_server)
    assert check(world) >= (NIGHTLY_STEPS if PROFILE == "nightly" else 1)
