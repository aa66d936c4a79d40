"""Quotas: how many streams are live at a time; and bounds that are hit in mid-stream."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from resumable_streams import (
    ErrorCode,
    Role,
    StreamDoesNotExist,
    StreamFailed,
    StreamLimitExceeded,
    StreamManager,
    StreamReader,
    StreamStatus,
)
from resumable_streams.engine import get_engine
from resumable_streams.identifiers import holding_of
from resumable_streams.types import StreamKey
from tests.tools.processes import die_producing
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure
from tests.tools.waiting import eventually, pass_time


@pytest.fixture
def limit(configure: Configure) -> Callable[..., None]:
    """Return a function that sets LIMITS, and a lease if that is asked for."""

    def limit(*, lease: float = 15, **limits: int) -> None:
        configure(LEASE=lease, LIMITS={name.upper(): value for name, value in limits.items()})

    return limit


class House:
    """Start streams that go on until they are let go."""

    def __init__(self, manager: StreamManager):
        self.manager = manager
        self.taps: list[Tap] = []

    async def start(self, stream_id: str | None = None, owner: str = "a", **named: Any) -> Any:
        tap = Tap()
        reader = await self.manager.arun(stream_id, tap, owner=owner, **named)
        if reader.role is Role.PRODUCER:
            self.taps.append(tap)
        return reader

    async def is_full(self, owner: str = "a", **named: Any) -> bool:
        try:
            await self.start(owner=owner, **named)
        except StreamLimitExceeded:
            return True
        return False

    async def has_room(self) -> bool:
        return not await self.is_full()

    async def empty(self) -> None:
        """Let everything end."""
        for tap in self.taps:
            tap.end()
        for tap in self.taps:
            await tap.closed.wait()


@pytest.fixture
async def house(manager: StreamManager) -> House:
    return House(manager)


async def admitted(*starts: Any) -> tuple[list[StreamReader], list[str]]:
    """Return what was let in, and the limits that kept the others out."""
    answers = await asyncio.gather(*starts, return_exceptions=True)
    readers = [answer for answer in answers if isinstance(answer, StreamReader)]
    limits = [answer.limit for answer in answers if isinstance(answer, StreamLimitExceeded)]
    assert len(readers) + len(limits) == len(answers), answers
    return readers, limits


@pytest.mark.parametrize("name", ["max_streams", "max_streams_per_owner"])
async def test_of_30_at_once_exactly_as_many_are_let_in_as_there_is_room_for(
    limit: Callable[..., None], house: House, name: str
):
    limit(**{name: 7})
    readers, limits = await admitted(*(house.start() for _ in range(30)))
    assert len(readers) == 7
    assert set(limits) == {name.upper()}
    assert all(reader.role is Role.PRODUCER for reader in readers)
    await house.empty()


async def test_both_quotas_hold_at_once(limit: Callable[..., None], house: House):
    limit(max_streams=5, max_streams_per_owner=3)
    owners = [f"{number % 5}" for number in range(30)]
    readers, _ = await admitted(*(house.start(owner=owner) for owner in owners))
    assert len(readers) <= 5
    assert max(Counter(reader.info.owner for reader in readers).values()) <= 3
    while not await house.is_full("late"):  # whom a neighbour kept out for a moment
        pass
    assert len([tap for tap in house.taps if not tap.closed.is_set()]) in (3, 4, 5)
    await house.empty()


async def test_what_was_refused_leaves_nothing(limit: Callable[..., None], house: House):
    limit(max_streams=1)
    await house.start()
    with pytest.raises(StreamLimitExceeded) as caught:
        await house.start("mine")
    assert (caught.value.limit, caught.value.value) == ("MAX_STREAMS", 1)
    assert await house.manager.astatus("mine", owner="a") is None
    await house.empty()


async def test_a_finished_stream_frees_its_place_at_once(
    limit: Callable[..., None], house: House, elsewhere: StreamManager
):
    limit(max_streams_per_owner=1)
    for number in range(20):  # whoever has read the end may start the next, in any process
        manager = (house.manager, elsewhere)[number % 2]
        await read_all(await manager.arun(None, finished([b"x"]), owner="a"))


async def test_a_failed_stream_frees_its_place_at_once(limit: Callable[..., None], house: House):
    limit(max_streams_per_owner=1)
    for _ in range(5):
        with pytest.raises(StreamFailed):
            await read_all(await house.manager.arun(None, Fails(), owner="a"))


class Fails:
    """Yield something, then fail."""

    def __aiter__(self) -> "Fails":
        return self

    async def __anext__(self) -> bytes:
        raise RuntimeError("no")


@pytest.mark.parametrize("verb", ["cancel", "delete"])
async def test_a_stream_that_is_taken_away_frees_its_place_at_once(
    limit: Callable[..., None], house: House, elsewhere: StreamManager, verb: str
):
    limit(max_streams_per_owner=1)
    for number in range(5):
        await house.start(f"{number}")
        assert await house.is_full()
        await getattr(elsewhere, "a" + verb)(f"{number}", owner="a")
    assert not await house.is_full()
    await house.empty()


@pytest.mark.parametrize("verb", ["cancel", "delete"])
async def test_a_source_that_will_not_end_keeps_its_owners_place_until_it_does(
    limit: Callable[..., None], house: House, monkeypatch: pytest.MonkeyPatch, verb: str
):
    monkeypatch.setattr("resumable_streams.producing.producer.CLOSE_SECONDS", 0.2)
    limit(max_streams_per_owner=1)
    let_go = asyncio.Event()

    async def stubborn() -> Any:
        try:
            yield b"x"
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    reader = await house.manager.arun("stubborn", stubborn, owner="a")
    await read_until(reader, 1)
    await getattr(house.manager, "a" + verb)("stubborn", owner="a")
    engine = get_engine("default")
    assert await house.is_full()
    await eventually(lambda: engine.left_behind)  # its end has been told by now
    assert await house.is_full()
    assert not await house.is_full("b")
    let_go.set()
    await eventually(house.has_room)
    await house.empty()


@pytest.mark.lengthy
async def test_a_crash_frees_its_place_after_the_lease(limit: Callable[..., None], house: House):
    limit(max_streams=1, lease=0.5)
    await house.manager.astatus("x", owner="a")
    key = StreamKey(tenant="default", generation=1, stream_id="crashed")
    info = await die_producing(house.manager, key, lease=0.5)
    await get_engine("default").store.reserve(holding_of(info), ttl=60)
    assert await house.is_full()
    await eventually(house.has_room)  # once somebody has taken it over
    await house.empty()


async def test_an_order_keeps_its_place_for_as_long_as_it_waits(
    redis_manager: StreamManager, configure_redis: Configure
):
    configure_redis(LEASE=0.3, STORE_TIMEOUT=0.2, LIMITS={"MAX_STREAMS_PER_OWNER": 1})
    waiting = await redis_manager.aenqueue("order", "no.such", owner="a", wait=2)
    house = House(redis_manager)
    await pass_time(1)
    assert await house.is_full()
    await eventually(house.has_room)  # nobody came, and that was told
    waiting.close()
    await house.empty()


@pytest.mark.lengthy
async def test_a_quiet_stream_keeps_its_place_beyond_its_lease(
    limit: Callable[..., None], house: House
):
    limit(max_streams=1, lease=1)
    await house.start()
    await pass_time(1.5)
    assert await house.is_full()
    await house.empty()


async def test_who_joins_needs_no_place(limit: Callable[..., None], house: House):
    limit(max_streams=1)
    await house.start("chat")
    joined = await house.start("chat")
    assert joined.role is Role.CONSUMER
    assert await house.manager.aresume("chat", owner="a")
    with pytest.raises(StreamDoesNotExist):
        await house.start("chat", owner="b")
    await house.empty()


async def test_tenants_do_not_share_their_places(limit: Callable[..., None], house: House):
    limit(max_streams=1, max_streams_per_owner=1)
    for tenant in ("4", "42"):
        await house.start(tenant=tenant)
    for tenant in ("4", "42"):
        assert await house.is_full(tenant=tenant)
    await house.empty()


async def test_owners_do_not_share_their_places_however_they_are_called(
    limit: Callable[..., None], house: House
):
    limit(max_streams_per_owner=1)
    owners = ["user:4", "user:42", "user:*", "user:4:live", "{user:4}", "public", "ü" * 300]
    for owner in owners:
        await house.start(owner=owner)
    for owner in owners:
        assert await house.is_full(owner)
    await house.empty()


@pytest.mark.parametrize(
    ("name", "value", "chunks"),
    [
        ("max_chunk_bytes", 4, [b"abcd", b"efghi"]),
        ("max_stream_bytes", 4, [b"abcd", b"e"]),
        ("max_entries_per_stream", 2, [b"ab", b"cd", b"e"]),
    ],
)
async def test_a_bound_that_is_hit_in_mid_stream_ends_it_and_keeps_what_was_written(
    limit: Callable[..., None], house: House, name: str, value: int, chunks: list[bytes]
):
    limit(**{name: value})
    tap, data = Tap(), b""
    reader = await house.manager.arun("chat", tap, owner="a")
    for chunk in chunks[:-1]:
        tap.give(chunk)
        data += await anext(reader)
    tap.give(chunks[-1])
    with pytest.raises(StreamFailed) as caught:
        await anext(reader)
    assert caught.value.code == ErrorCode.LIMIT_EXCEEDED
    await tap.closed.wait()
    info = await house.manager.astatus("chat", owner="a")
    assert info is not None
    assert (info.status, info.error_code, info.size) == (StreamStatus.ERROR, "limit_exceeded", 4)
    again = await house.manager.arequire_resume("chat", owner="a")
    assert data == await read_until(again, 4) == b"abcd"
    with pytest.raises(StreamFailed):
        await anext(again)
