"""The soak in a hurry: what it finds in minutes may show in seconds, and it works at all."""

import pytest

from .soak import Plan, soak


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_nothing_leaks_and_nobody_hangs() -> None:
    outcome = await soak(Plan("uvicorn", seconds=8, streams=20, longest=8, ttl=8))
    assert outcome.complaints() == []
    assert outcome.visits.ends["done"]
    assert outcome.met.total()
