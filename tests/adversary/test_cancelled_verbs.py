"""Callers who leave at any await of any verb: the client is gone, a time limit is over."""

import asyncio
import uuid
from collections import Counter
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from tests.tools.streams import MEMORY, REDIS

from ..tools.cancelling import Cut, Moment
from . import IS_FULL
from .fuzzing import bounded
from .interrupted import ALIASES, PLACES, World
from .report import Tried
from .verbs import IDS, LEASE, OWNERS, VERBS, Step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.lengthy,
    pytest.mark.timeout(900 if IS_FULL else 60),
]

steps = st.builds(
    Step,
    verb=st.sampled_from([*VERBS, "run", "give"]),
    stream_id=st.sampled_from(IDS),
    owner=st.sampled_from(OWNERS),
    alias=st.sampled_from(ALIASES),
    cut=st.builds(
        Cut,
        st.one_of(st.integers(0, 3), st.integers(0, 14)),
        st.sampled_from(Moment),
        st.integers(1, 24),
    ),
)
plans = st.lists(steps, min_size=3, max_size=8)


def play(plan: list[Step], entry: dict[str, Any], redis: Redis | None = None) -> Counter[str]:
    """Play a plan on streams of its own, on a loop of its own; return what was cut how often."""
    name = uuid.uuid4().hex
    world = World(tenant=name, redis=redis)

    async def scene() -> None:
        world.open()
        try:
            for step in plan:
                await step.take(world)
        finally:
            await world.aclose()

    limits = {"MAX_STREAMS": PLACES}
    entry = {**entry, "KEY_PREFIX": f"cut-{name}", "LEASE": LEASE, "SWEEP": 60, "LIMITS": limits}
    with override_settings(RESUMABLE_STREAMS=dict.fromkeys(ALIASES, entry)):
        asyncio.run(scene())
    return world.was_cut


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_who_leaves_has_had_it_done_or_not_and_leaves_nothing(
    store: str, redis_url: str, redis_server: Redis, tried: Tried
) -> None:
    was_cut: Counter[str] = Counter()
    memory = {"BACKEND": MEMORY, "LOCATION": "cut"}
    entry = memory if store == "memory" else {"BACKEND": REDIS, "LOCATION": redis_url}

    @bounded(short=40, full=2_000)
    @given(plan=plans)
    def one(plan: list[Step]) -> None:
        was_cut.update(play(plan, entry, redis_server))

    one()
    tried(was_cut.total(), "cancellations", {"verbs": len(was_cut)})
