"""Patience with a store: how often it is asked, and when that ends."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_streams.exceptions import StoreForbidden, StoreUnavailable
from resumable_streams.stores.patience import backoff_seconds, for_ever, for_seconds, patiently
from tests.tools.waiting import eventually


class Store:
    """A store that is away for its first calls."""

    def __init__(self, away: int, error: StoreUnavailable | None = None) -> None:
        self.away = away
        self.error = error or StoreUnavailable("default")
        self.calls = 0

    async def verb(self) -> str:
        self.calls += 1
        if self.calls <= self.away:
            raise self.error
        return "done"


async def test_a_verb_is_repeated_until_the_store_answers():
    store = Store(away=4)
    assert await patiently(store.verb, for_seconds(10), most=0.01) == "done"
    assert store.calls == 5


async def test_patience_that_is_over_is_one_attempt():
    store = Store(away=2)
    with pytest.raises(StoreUnavailable):
        await patiently(store.verb, for_seconds(0))
    assert store.calls == 1


async def test_it_ends_before_a_pause_that_would_outlast_it():
    store = Store(away=1_000)
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(StoreUnavailable):
        await patiently(store.verb, for_seconds(0.2))
    assert 1 < store.calls < 20
    assert loop.time() - started < 5


async def test_a_store_that_refuses_for_good_is_asked_once():
    store = Store(away=1_000, error=StoreForbidden("default", "no right"))
    with pytest.raises(StoreForbidden):
        await patiently(store.verb, for_ever)
    assert store.calls == 1


async def test_what_else_a_verb_raises_is_no_matter_of_patience():
    async def verb() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await patiently(verb, for_ever)


async def test_a_cancellation_ends_patience_without_end():
    store = Store(away=1_000_000)
    asking = asyncio.ensure_future(patiently(store.verb, for_ever))
    await eventually(lambda: store.calls > 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@given(st.integers(1, 10_000), st.floats(0.01, 100), st.floats(0.01, 1), st.floats(0, 1))
def test_a_pause_doubles_up_to_its_bound(failures: int, most: float, first: float, jitter: float):
    pause = backoff_seconds(failures, most=most, first=first, jitter=jitter)
    longest = min(most, first * 2 ** min(failures - 1, 20))
    assert longest * (1 - jitter) * 0.999 <= pause <= longest * 1.001
