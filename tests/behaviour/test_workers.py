"""Orders: produced elsewhere, handed out at least once, written once."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from resumable_streams import StreamClaimLost, StreamFailed, StreamStatus
from resumable_streams.conf import get_settings
from resumable_streams.engine import get_engine
from resumable_streams.engine.handover import give_back, take_over
from resumable_streams.identifiers import holding_of
from resumable_streams.process.runtime import runtime
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.streams import StreamManager
from resumable_streams.types import Claim, Fate, StreamKey
from resumable_streams.workers import SignedOrder, Worker
from tests.tools.processes import judge
from tests.tools.readers import read_all, read_until
from tests.tools.streams import Configure
from tests.tools.waiting import eventually

HERE = __name__
calls: list[dict[str, Any]] = []
go_on = asyncio.Event()


@pytest.fixture(autouse=True)
def counts() -> Iterator[None]:
    calls.clear()
    go_on.clear()
    yield
    calls.clear()


async def answer(stream_id: str, words: str = "a b c") -> AsyncIterator[str]:
    calls.append({"stream_id": stream_id, "words": words})
    for word in words.split():
        yield word
        await asyncio.sleep(0)


async def waits(stream_id: str) -> AsyncIterator[str]:
    yield "a"
    await go_on.wait()
    yield "b"


async def goes_on(stream_id: str, words: str, offset: int, items: int) -> AsyncIterator[str]:
    calls.append({"stream_id": stream_id, "offset": offset, "items": items})
    yield "".join(words.split())[offset:]


@asynccontextmanager
async def working(alias: str = "elsewhere", name: str = "w1") -> AsyncIterator[Worker]:
    """Run a worker with connections of its own; end it as a killed process would."""
    worker = Worker(alias, name=name)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_worker_produces_what_the_web_process_reads(redis_manager: StreamManager) -> None:
    async with working():
        reader = await redis_manager.aenqueue("s", f"{HERE}.answer", {"words": "x y"}, owner="me")
        assert await read_all(reader) == b"xy"
    assert reader.info.status is StreamStatus.DONE
    assert calls == [{"stream_id": "s", "words": "x y"}]


async def test_an_order_waits_for_a_worker(redis_manager: StreamManager) -> None:
    reader = await redis_manager.aenqueue("s", f"{HERE}.answer", owner="me")
    reading = asyncio.create_task(read_all(reader))
    assert calls == []
    async with working():
        assert await reading == b"abc"


async def test_an_order_that_no_worker_takes_is_lost_after_its_wait(
    redis_manager: StreamManager, configure_redis: Configure
) -> None:
    configure_redis(LEASE=0.2, SWEEP=0.1)
    reader = await redis_manager.aenqueue("s", f"{HERE}.answer", owner="me", wait=0.7)
    with pytest.raises(StreamFailed, match="producer_lost"):
        await read_all(reader)


async def test_the_same_order_twice_is_produced_once(redis_manager: StreamManager) -> None:
    async with working():
        readers = [
            await redis_manager.aenqueue("s", f"{HERE}.answer", owner="me") for _ in range(3)
        ]
        assert [await read_all(reader) for reader in readers] == [b"abc"] * 3
    assert len(calls) == 1


async def test_memory_produces_here(memory_manager: StreamManager) -> None:
    reader = await memory_manager.aenqueue("s", f"{HERE}.answer", owner="me")
    assert await read_all(reader) == b"abc"


async def test_a_source_that_cannot_be_imported_fails_the_stream(
    redis_manager: StreamManager,
) -> None:
    async with working():
        reader = await redis_manager.aenqueue("s", "no.such.path", owner="me")
        with pytest.raises(StreamFailed, match="source_failed"):
            await read_all(reader)


async def dies_after(manager: StreamManager, data: bytes) -> tuple[StreamKey, Claim]:
    """Take the order as a worker does, write, and fall silent."""
    store = get_engine(manager.alias).store
    queue = store.queue("dead")
    assert queue is not None
    taken = await queue.take(wait=1, idle=60)
    await queue.aclose()
    assert taken is not None
    ordered = SignedOrder.open(taken[1])
    claim = Claim(epoch=ordered.epoch, holder="dead")
    await store.processes.beat("dead", lease=get_settings(manager.alias).lease, position="")
    waiting = await store.look(ordered.key)
    assert waiting is not None
    info = await store.reclaim(ordered.key, ordered.held, claim)
    await store.processes.hold("dead", holding_of(info))
    await store.processes.drop(waiting.holder, holding_of(info))
    if data:
        await store.append(ordered.key, claim, 0, data)
    return ordered.key, claim


async def test_a_dead_workers_stream_is_continued_by_another_one(
    redis_manager: StreamManager, configure_redis: Configure
) -> None:
    configure_redis(LEASE=0.4, SWEEP=0.1)
    reader = await redis_manager.aenqueue(
        "s", f"{HERE}.answer", {"words": "one two"}, owner="me", recover=f"{HERE}.goes_on"
    )
    key, claim = await dies_after(redis_manager, b"one")
    async with working():
        assert await read_all(reader) == b"onetwo"
    assert calls == [{"stream_id": "s", "offset": 3, "items": 1}]
    with pytest.raises(StreamClaimLost):  # it was not dead, only slow
        await get_engine("default").store.append(key, claim, 6, b"more")


async def test_a_stream_that_waits_once_more_is_no_orphan_of_its_first_wait(
    redis_manager: StreamManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, worker = get_engine(redis_manager.alias), get_engine("elsewhere")
    await redis_manager.aenqueue("s", f"{HERE}.answer", owner="me")
    queue = worker.store.queue("w1")
    assert queue is not None
    taken = await queue.take(wait=1, idle=60)
    await queue.aclose()
    assert taken is not None
    ordered = SignedOrder.open(taken[1])
    waiting = await web.store.look(ordered.key)
    assert waiting is not None
    claim = Claim(epoch=ordered.epoch)
    info = await take_over(worker, ordered.key, ordered.held, claim)
    fates = web.store.processes.fates

    async def gives_back_meanwhile(holders: Sequence[str]) -> list[Fate]:
        """Answer that nobody waits; by the time this is read, the stream waits again."""
        found = await fates(holders)
        held = replace(claim, holder=info.holder)
        await give_back(worker, info, held, Claim(token=ordered.held, epoch=claim.epoch), wait=30)
        return found

    judge(web)
    monkeypatch.setattr(web.store.processes, "fates", gives_back_meanwhile)
    assert await web.takeover.end_orphans([waiting]) == 0
    found = await web.store.look(ordered.key)
    assert found is not None
    assert found.is_streaming


async def test_a_worker_that_died_before_its_first_byte_is_replaced(
    redis_manager: StreamManager, configure_redis: Configure
) -> None:
    configure_redis(LEASE=0.4, SWEEP=0.1)
    reader = await redis_manager.aenqueue("s", f"{HERE}.answer", owner="me")
    await dies_after(redis_manager, b"")
    async with working():
        assert await read_all(reader) == b"abc"


async def test_a_dead_workers_stream_is_lost_without_recover(
    redis_manager: StreamManager, configure_redis: Configure
) -> None:
    configure_redis(LEASE=0.4, SWEEP=0.1)
    reader = await redis_manager.aenqueue("s", f"{HERE}.answer", owner="me")
    await dies_after(redis_manager, b"a")
    async with working():
        with pytest.raises(StreamFailed, match="producer_lost"):
            await read_all(reader)
    assert calls == []


async def test_an_order_that_was_tampered_with_is_not_carried_out(
    redis_manager: StreamManager,
) -> None:
    queue = get_engine("default").store.queue("intruder")
    assert queue is not None
    await queue.put(b'{"path": "os.system", "kwargs": {"command": "true"}}')
    async with working():
        reader = await redis_manager.aenqueue("s", f"{HERE}.answer", owner="me")
        assert await read_all(reader) == b"abc"
    await queue.aclose()
    assert [call["stream_id"] for call in calls] == ["s"]


async def test_an_order_that_comes_again_to_who_has_it_takes_no_second_slot(
    redis_manager: StreamManager, configure_redis: Configure, redis_server: Redis, key_prefix: str
) -> None:
    configure_redis(LEASE=0.6, SWEEP=0.1)
    orders = KeySpace(key_prefix).orders
    async with working() as worker:
        slow = await redis_manager.aenqueue("s", f"{HERE}.waits", owner="me")
        await read_until(slow, 1)

        def is_given_again() -> bool:
            """Have it given, as after an outage in which nobody could say that it is kept."""
            (pending,) = redis_server.xpending_range(orders, "workers", "-", "+", 1)
            redis_server.xclaim(
                orders, "workers", "w1", 0, [pending["message_id"]], idle=60_000, justid=True
            )
            return int(pending["times_delivered"]) > 2

        await eventually(is_given_again)
        go_on.set()
        assert await read_all(slow) == b"b"
        await asyncio.gather(*(task for _, task in worker._working.values()))
        await asyncio.sleep(0)  # the callbacks of the tasks
        assert worker._slots._value >= 99  # one of the hundred is waiting for the next order


async def test_an_order_that_comes_while_draining_is_put_back(
    redis_manager: StreamManager, redis_server: Redis
) -> None:
    first = Worker("elsewhere", name="w1")
    running = asyncio.create_task(first.run())
    await eventually(lambda: redis_server.info("clients")["blocked_clients"])  # by an order to come
    runtime.start_drain()
    reader = await redis_manager.aenqueue("s", f"{HERE}.answer", owner="me")
    await running
    assert calls == []
    await reader.aclose()
    await runtime.aclose()
    async with working():
        again = await redis_manager.arequire_resume("s", owner="me")
        assert await read_all(again) == b"abc"
