"""Slots: at most one live stream of an owner under a name, whoever asks, and whenever."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from resumable_streams import (
    CancellationReason,
    InvalidSlot,
    Role,
    SlotBusy,
    StreamLimitExceeded,
    StreamManager,
    StreamStatus,
)
from resumable_streams.engine import get_engine
from resumable_streams.identifiers import slot_of
from resumable_streams.signals import owner_bound, stream_cancelled, stream_finalized
from resumable_streams.types import StreamKey
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure
from tests.tools.waiting import eventually

SLOT = "chat:42"


def key(stream_id: str, generation: int = 1) -> StreamKey:
    return StreamKey(tenant="default", generation=generation, stream_id=stream_id)


async def test_a_second_run_joins_the_live_stream(
    manager: StreamManager, elsewhere: StreamManager
) -> None:
    tap = Tap(b"one ")
    first = await manager.arun("first", tap, owner="ada", slot=SLOT)
    second = await elsewhere.arun("second", Tap(), owner="ada", slot=SLOT)
    assert (first.role, second.role) == (Role.PRODUCER, Role.CONSUMER)
    assert (second.stream_id, second.info.slot) == ("first", SLOT)
    tap.end(b"two")
    assert await read_all(second) == b"one two"
    assert await manager.astatus("second", owner="ada") is None


async def test_the_slot_is_free_once_its_stream_has_ended(manager: StreamManager) -> None:
    await read_all(await manager.arun("first", finished([b"one"]), owner="ada", slot=SLOT))
    second = await manager.arun(
        "second", finished([b"two"]), owner="ada", slot=SLOT, on_busy="refuse"
    )
    assert second.role is Role.PRODUCER
    assert await read_all(second) == b"two"


async def test_slots_of_other_owners_names_and_tenants_are_others(manager: StreamManager) -> None:
    taps = [Tap() for _ in range(4)]
    asked: list[dict[str, Any]] = [
        {"owner": "ada", "slot": SLOT},
        {"owner": "eve", "slot": SLOT},
        {"owner": "ada", "slot": "chat:43"},
        {"owner": "ada", "slot": SLOT, "tenant": "42"},
    ]
    for tap, named in zip(taps, asked, strict=True):
        reader = await manager.arun(None, tap, on_busy="refuse", **named)
        assert reader.role is Role.PRODUCER
    for tap in taps:
        tap.end()


async def test_refuse_names_the_stream_that_runs(manager: StreamManager) -> None:
    tap = Tap()
    await manager.arun("first", tap, owner="ada", slot=SLOT)
    with pytest.raises(SlotBusy) as caught:
        await manager.arun("second", Tap(), owner="ada", slot=SLOT, on_busy="refuse")
    assert caught.value.stream_id == "first"
    assert "ada" not in str(caught.value)
    tap.end()


async def test_replace_cancels_the_stream_that_runs(
    manager: StreamManager, elsewhere: StreamManager, hear: Callable[..., list[dict[str, Any]]]
) -> None:
    cancelled, ended = hear(stream_cancelled), hear(stream_finalized)
    old, new = Tap(b"old"), Tap(b"new")
    first = await manager.arun("first", old, owner="ada", slot=SLOT)
    await read_until(first, 3)
    second = await elsewhere.arun("second", new, owner="ada", slot=SLOT, on_busy="replace")
    assert second.role is Role.PRODUCER
    await old.closed.wait()
    assert await read_all(first) == b""
    info = await manager.astatus("first", owner="ada")
    assert info is not None
    assert (info.status, info.error_code) == (StreamStatus.CANCELLED, "replaced")
    await eventually(lambda: len(ended) == 1)
    assert (ended[0]["stream_id"], ended[0]["error_code"]) == ("first", "replaced")
    assert [one["stream_id"] for one in cancelled] == ["first"]
    new.end()
    assert await read_all(second) == b"new"


async def test_the_source_hears_that_it_was_replaced(manager: StreamManager) -> None:
    source = Tap(b"a")
    reader = await manager.arun("first", source, owner="ada", slot=SLOT)
    await read_until(reader, 1)
    new = Tap()
    await manager.arun("second", new, owner="ada", slot=SLOT, on_busy="replace")
    await source.closed.wait()
    assert source.reason is CancellationReason.REPLACED
    new.end()


async def test_the_same_stream_id_is_no_obstacle(manager: StreamManager) -> None:
    tap = Tap(b"a")
    await manager.arun("first", tap, owner="ada", slot=SLOT)
    for policy in ("join", "replace", "refuse"):
        again = await manager.arun("first", Tap(), owner="ada", slot=SLOT, on_busy=policy)
        assert (again.role, again.stream_id) == (Role.CONSUMER, "first")
    tap.end()
    await read_all(again)
    other = Tap()
    await manager.arun("second", other, owner="ada", slot=SLOT)
    late = await manager.arun("first", Tap(), owner="ada", slot=SLOT, on_busy="replace")
    assert await read_all(late) == b"a"  # a retry replaces nothing
    assert not other.closed.is_set()
    other.end()


@pytest.mark.parametrize("policy", ["join", "replace", "refuse"])
async def test_of_20_at_once_one_runs(
    manager: StreamManager, elsewhere: StreamManager, policy: str
) -> None:
    running: set[str] = set()
    most = 0

    def source(name: str) -> Any:
        async def produce() -> Any:
            nonlocal most
            running.add(name)
            try:
                info = [await manager.astatus(one, owner="ada") for one in sorted(running)]
                most = max(most, sum(one is not None and one.is_streaming for one in info))
                yield name
                await asyncio.Event().wait()
            finally:
                running.discard(name)

        return produce

    async def ask(number: int) -> Any:
        one = (manager, elsewhere)[number % 2]
        return await one.arun(
            f"s{number}", source(f"s{number}"), owner="ada", slot=SLOT, on_busy=policy
        )

    answers = await asyncio.gather(*map(ask, range(20)), return_exceptions=True)
    await eventually(lambda: len(running) == 1)
    wrong = [a for a in answers if isinstance(a, BaseException) and not isinstance(a, SlotBusy)]
    assert not wrong
    assert most == 1
    (left,) = running
    assert await manager.acancel(left, owner="ada")


async def test_a_quota_of_one_lets_a_replacement_in(
    configure: Configure, manager: StreamManager
) -> None:
    configure(LIMITS={"MAX_STREAMS_PER_OWNER": 1})
    taps = [Tap(), Tap()]
    await manager.arun("first", taps[0], owner="ada", slot=SLOT)
    await manager.arun("second", taps[1], owner="ada", slot=SLOT, on_busy="replace")
    with pytest.raises(StreamLimitExceeded):
        await manager.arun("third", Tap(), owner="ada", slot="another")
    taps[1].end()


async def test_what_a_quota_refused_leaves_the_slot_free(
    configure: Configure, manager: StreamManager
) -> None:
    configure(LIMITS={"MAX_STREAMS_PER_OWNER": 1})
    tap = Tap()
    await manager.arun("first", tap, owner="ada")
    with pytest.raises(StreamLimitExceeded):
        await manager.arun("second", Tap(), owner="ada", slot=SLOT)
    store = get_engine("default").store
    slot = slot_of(key(""), "ada", SLOT)

    async def is_free() -> bool:
        return await store.occupant(slot) is None

    await eventually(is_free)
    tap.end()


async def test_who_joins_waits_for_one_that_may_still_be_refused(
    manager: StreamManager, elsewhere: StreamManager
) -> None:
    """A receiver refuses the election that the second caller has seen."""
    seen, go_on = asyncio.Event(), asyncio.Event()

    async def refuse_first(*, stream_id: str, **named: Any) -> None:
        if stream_id == "first":
            seen.set()
            await go_on.wait()
            raise StreamLimitExceeded("rate", 1)

    owner_bound.connect(refuse_first)
    try:
        named: dict[str, Any] = {"owner": "ada", "slot": SLOT}
        first = asyncio.create_task(manager.arun("first", Tap(), **named))
        await seen.wait()
        tap = Tap(b"a")
        second = asyncio.create_task(elsewhere.arun("second", tap, **named))
        with pytest.raises(SlotBusy):
            await elsewhere.arun("third", Tap(), on_busy="refuse", **named)
        go_on.set()
        with pytest.raises(StreamLimitExceeded):
            await first
        assert (await second).role is Role.PRODUCER
        tap.end()
    finally:
        owner_bound.disconnect(refuse_first)


@pytest.mark.parametrize("name", ["", "x" * 257, "\ud800", 42])
async def test_a_slot_has_a_name(manager: StreamManager, name: Any) -> None:
    with pytest.raises(InvalidSlot):
        await manager.arun("first", Tap(), owner="ada", slot=name)


async def test_an_unknown_policy_is_refused(manager: StreamManager) -> None:
    with pytest.raises(ValueError, match="queue"):
        await manager.arun("first", Tap(), owner="ada", slot=SLOT, on_busy="queue")


# What operators do.


@pytest.mark.parametrize("act", ["revoke", "rotate", "delete"])
async def test_a_slot_is_free_after(manager: StreamManager, act: str, configure: Configure) -> None:
    old, new = Tap(), Tap()
    await manager.arun("first", old, owner="ada", slot=SLOT)
    if act == "revoke":
        await manager.arevoke(owner="ada")
    elif act == "delete":
        await manager.adelete("first", owner="ada")
    else:
        await get_engine("default").store.set_control("default", generation=2)
    second = await manager.arun("second", new, owner="ada", slot=SLOT, on_busy="refuse")
    assert second.role is Role.PRODUCER
    await old.closed.wait()
    new.end()


async def test_the_names_of_an_owner_share_a_slot(manager: StreamManager) -> None:
    """A visitor who has logged in asks under both names."""
    old, new = Tap(), Tap()
    await manager.arun("first", old, owner="visitor", slot=SLOT)
    joined = await manager.arun("second", Tap(), owner=("ada", "visitor"), slot=SLOT)
    assert joined.stream_id == "first"
    with pytest.raises(SlotBusy):
        await manager.arun("second", Tap(), owner=("ada", "visitor"), slot=SLOT, on_busy="refuse")
    replaced = await manager.arun(
        "second", new, owner=("ada", "visitor"), slot=SLOT, on_busy="replace"
    )
    assert replaced.info.owner == "ada"
    await old.closed.wait()
    new.end()


async def test_an_order_for_a_worker_has_a_slot(
    manager: StreamManager, elsewhere: StreamManager
) -> None:
    """From when it is elected, whoever produces it, and when."""
    orders: list[str] = []
    path = f"{__name__}.words"
    named: dict[str, Any] = {"owner": "ada", "slot": SLOT}
    await manager.aenqueue("first", path, through=orders.append, **named)
    active = await elsewhere.aactive(SLOT, owner="ada")
    assert active is not None
    assert active.stream_id == "first"
    joined = await elsewhere.aenqueue("second", path, through=orders.append, **named)
    assert joined.stream_id == "first"
    with pytest.raises(SlotBusy):
        await elsewhere.arun("second", Tap(), on_busy="refuse", **named)
    tap = Tap()
    replaced = await elsewhere.arun("second", tap, on_busy="replace", **named)
    assert replaced.role is Role.PRODUCER
    assert len(orders) <= 1
    tap.end()


async def words(stream_id: str) -> Any:
    yield "a"
    await asyncio.Event().wait()


async def test_a_purge_leaves_nothing_of_slots_and_lists(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str
) -> None:
    tap = Tap(b"a")
    await fill(redis_manager, tap)
    assert await redis_manager.apurge(owner="ada") == 2
    await tap.closed.wait()

    def left() -> list[bytes]:
        names = redis_server.scan_iter(f"{key_prefix}:default:*", count=1_000)
        return [name for name in names if not name.endswith(b":control")]

    await eventually(lambda: not left())


async def fill(manager: StreamManager, tap: Tap) -> None:
    await read_all(await manager.arun("done", finished([b"a"]), owner="ada", slot="chat:1"))
    await manager.arun("running", tap, owner="ada", slot=SLOT)
