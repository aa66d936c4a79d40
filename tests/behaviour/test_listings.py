"""What of mine is running: lists in pages, the stream of a slot, the whole of a finished one."""

from typing import Any

import pytest
from redis import Redis

from resumable_streams import (
    InvalidPage,
    StreamDoesNotExist,
    StreamFailed,
    StreamLimitExceeded,
    StreamManager,
    StreamPage,
    StreamUnfinished,
)
from resumable_streams.engine import get_engine
from resumable_streams.identifiers import holding_of
from resumable_streams.types import StreamKey
from tests.nodes import scripts_run
from tests.tools.processes import die_producing, judge
from tests.tools.readers import read_all
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure
from tests.tools.waiting import eventually, pass_time


def ids(page: StreamPage) -> list[str]:
    return [info.stream_id for info in page.streams]


async def finish(manager: StreamManager, stream_id: str, **named: Any) -> None:
    await read_all(await manager.arun(stream_id, finished([b"abc"]), **named))


async def walk(manager: StreamManager, limit: int, **named: Any) -> list[str]:
    found, cursor = [], ""
    while True:
        page = await manager.alist(limit=limit, cursor=cursor, **named)
        assert len(page.streams) <= limit
        found += ids(page)
        cursor = page.next
        if not cursor:
            return found


async def test_an_owner_sees_what_is_running_and_what_has_ended(
    manager: StreamManager, elsewhere: StreamManager
) -> None:
    tap = Tap()
    await finish(manager, "done", owner="ada")
    await manager.arun("running", tap, owner="ada", slot="chat:42")
    await finish(manager, "foreign", owner="eve")
    await finish(manager, "other", owner="ada", tenant="42")
    assert set(ids(await elsewhere.alist(owner="ada"))) == {"running", "done"}
    running = await elsewhere.alist(owner="ada", status="streaming")
    assert ids(running) == ["running"]
    assert running.streams[0].slot == "chat:42"
    assert ids(await manager.alist(owner="ada", status="done")) == ["done"]
    assert ids(await manager.alist(owner="ada", status="error")) == []
    assert ids(await manager.tenant("42").alist(owner="ada")) == ["other"]
    assert ids(await manager.alist(owner="nobody")) == []
    tap.end()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_pages_meet_every_stream_of_every_name_once(
    manager: StreamManager, limit: int
) -> None:
    taps = [Tap() for _ in range(6)]
    for number, tap in enumerate(taps):
        await manager.arun(f"r{number}", tap, owner=("ada", "visitor")[number % 2])
    for number in range(6):
        await finish(manager, f"d{number}", owner=("ada", "visitor")[number % 2])
    everything = {f"{kind}{number}" for kind in "rd" for number in range(6)}
    both = {"owner": ("ada", "visitor")}
    for status, expected in ((None, everything), ("streaming", {f"r{n}" for n in range(6)})):
        found = await walk(manager, limit, status=status, **both)
        assert len(found) == len(expected)
        assert set(found) == expected
    assert set(await walk(manager, limit, status="done", **both)) == {f"d{n}" for n in range(6)}
    for tap in taps:
        tap.end()


@pytest.mark.parametrize("cursor", ["x", "0.", "9", "0.1.zz.a", "0.1.ab.{", "1.2.ab", "\n", "0\n"])
async def test_a_made_up_cursor_is_refused(manager: StreamManager, cursor: str) -> None:
    with pytest.raises(InvalidPage):
        await manager.alist(owner="ada", cursor=cursor)


@pytest.mark.parametrize("wrong", [{"status": "running"}, {"limit": 0}, {"limit": 1_001}])
async def test_impossible_arguments_are_refused(
    manager: StreamManager, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidPage):
        await manager.alist(owner="ada", **wrong)


@pytest.mark.parametrize("act", ["revoke", "rotate", "delete", "again"])
async def test_what_nobody_can_reach_is_not_listed(
    manager: StreamManager, configure: Configure, act: str
) -> None:
    await finish(manager, "first", owner="ada")
    tap = Tap()
    await manager.arun("second", tap, owner="ada", slot="chat")
    assert set(ids(await manager.alist(owner="ada"))) == {"second", "first"}
    store = get_engine("default").store
    match act:
        case "revoke":
            await manager.arevoke(owner="ada")
        case "rotate":
            await store.set_control("default", generation=2)
        case _:
            for name in ("first", "second"):
                await manager.adelete(name, owner="ada")
    if act == "again":
        await finish(manager, "first", owner="eve")
    assert ids(await manager.alist(owner="ada")) == []
    assert ids(await manager.alist(owner="ada", status="streaming")) == []
    assert await manager.aactive("chat", owner="ada") is None
    await tap.closed.wait()


@pytest.mark.lengthy
async def test_a_killed_producer_leaves_the_list(
    configure: Configure, manager: StreamManager
) -> None:
    configure(LEASE=1, SWEEP=1)
    await manager.alist(owner="a")
    engine = get_engine("default")
    key = StreamKey(tenant="default", generation=1, stream_id="lost")
    info = await die_producing(manager, key, lease=0.3)
    await engine.store.reserve(holding_of(info), ttl=60)
    assert ids(await manager.alist(owner="a", status="streaming")) == ["lost"]
    await pass_time(0.4)
    judge(engine)

    async def is_gone() -> bool:
        return not ids(await manager.alist(owner="a", status="streaming"))

    await eventually(is_gone)
    assert ids(await manager.alist(owner="a", status="error")) == ["lost"]
    assert not await engine.store.live("default")


@pytest.mark.lengthy
async def test_a_long_stream_stays_listed_and_keeps_its_slot(
    configure: Configure, manager: StreamManager
) -> None:
    """Its TTL is renewed by its bytes; index and slot by the heartbeat."""
    configure(LEASE=0.6, STORE_TIMEOUT=0.3, TTL=1)
    tap = Tap(b"a")
    await manager.arun("long", tap, owner="ada", slot="chat")
    await pass_time(2.5)  # more than index and slot are kept
    await finish(manager, "short", owner="ada")  # which clears the index of what is too old
    assert ids(await manager.alist(owner="ada", status="streaming")) == ["long"]
    active = await manager.aactive("chat", owner="ada")
    assert active is not None
    assert active.stream_id == "long"
    tap.end()


async def test_a_list_costs_as_much_as_its_page(
    redis_manager: StreamManager, redis_server: Redis
) -> None:
    for number in range(60):
        await finish(redis_manager, f"s{number}", owner="ada")
    redis_server.config_resetstat()
    page = await redis_manager.alist(owner="ada", limit=5)
    assert len(page.streams) == 5
    assert not (await redis_manager.alist(owner="ada", status="streaming")).streams
    stats: Any = redis_server.info("commandstats")
    assert not {name for name in stats if "scan" in name or "keys" in name}
    # Two pages and five states, and what ends and heartbeats run meanwhile; of all it would be 60.
    assert scripts_run(redis_server) < 30


async def test_active_is_the_stream_of_the_slot(
    manager: StreamManager, elsewhere: StreamManager
) -> None:
    assert await manager.aactive("chat:42", owner="ada") is None
    tap = Tap()
    await manager.arun("first", tap, owner="ada", slot="chat:42")
    active = await elsewhere.aactive("chat:42", owner=("user", "ada"))
    assert active is not None
    assert (active.stream_id, active.slot) == ("first", "chat:42")
    assert await manager.aactive("chat:42", owner="eve") is None
    assert await manager.aactive("chat:43", owner="ada") is None
    tap.end()
    await tap.closed.wait()

    async def is_over() -> bool:
        return await manager.aactive("chat:42", owner="ada") is None

    await eventually(is_over)


# The whole of a stream.


async def test_collect_returns_all_bytes_of_a_finished_stream(
    manager: StreamManager, elsewhere: StreamManager
) -> None:
    body = bytes(range(256)) * 3_000
    await read_all(await manager.arun("first", finished([body, b"end"]), owner="ada"))
    assert await elsewhere.acollect("first", owner="ada") == body + b"end"
    assert await elsewhere.acollect("first", owner="ada", max_bytes=len(body) + 3)
    with pytest.raises(StreamLimitExceeded):
        await elsewhere.acollect("first", owner="ada", max_bytes=len(body) + 2)
    with pytest.raises(StreamDoesNotExist):
        await manager.acollect("first", owner="eve")


async def test_collect_waits_for_nothing(manager: StreamManager) -> None:
    tap = Tap(b"abc")
    reader = await manager.arun("first", tap, owner="ada")
    await anext(reader)
    with pytest.raises(StreamUnfinished) as caught:
        await manager.acollect("first", owner="ada")
    assert caught.value.size == 3
    await manager.acancel("first", owner="ada")
    assert await manager.acollect("first", owner="ada") == b"abc"


async def test_collect_raises_what_the_stream_failed_with(manager: StreamManager) -> None:
    tap = Tap(b"abc", RuntimeError("the source"))
    reader = await manager.arun("first", tap, owner="ada")
    with pytest.raises(StreamFailed):
        await read_all(reader)
    with pytest.raises(StreamFailed) as caught:
        await manager.acollect("first", owner="ada")
    assert caught.value.code == "source_failed"
