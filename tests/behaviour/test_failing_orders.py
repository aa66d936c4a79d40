"""Orders that fail: each ends its stream, soon, and is not tried for ever."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resumable_streams import StreamFailed, StreamManager
from resumable_streams.engine import get_engine
from resumable_streams.stores.base import MAX_DEATHS
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.workers import Order, Worker, run_order
from tests.tools.readers import read_all
from tests.tools.waiting import PATIENCE_SECONDS, eventually

from .conftest import Configure
from .test_worker_command import Start, first_line
from .test_worker_command import start as start  # a fixture

MODULES = {
    "raises": "raise KeyError('SOME_ENVIRONMENT_VARIABLE')",
    "does_not_parse": "def produce(:",
    "exits": "import sys; sys.exit(3)",
    "imports_nothing": "import no_such_module_anywhere",
    "has_no_callable": "produce = 7",
}


@pytest.fixture(params=MODULES)
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> str:
    """Return the path of a source that cannot be made."""
    (tmp_path / f"broken_{request.param}.py").write_text(MODULES[request.param])
    monkeypatch.syspath_prepend(tmp_path)
    return f"broken_{request.param}.produce"


@asynccontextmanager
async def working() -> AsyncIterator[None]:
    task = asyncio.create_task(Worker("elsewhere", name="w1").run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def no_orders_left(server: Redis, key_prefix: str) -> None:
    await eventually(lambda: server.xlen(KeySpace(key_prefix).orders) == 0)


async def test_a_source_that_cannot_be_made_ends_its_stream_and_the_order_is_done(
    redis_manager: StreamManager, redis_server: Redis, key_prefix: str, broken: str, caplog: Any
) -> None:
    async with working(), asyncio.timeout(PATIENCE_SECONDS):
        reader = await redis_manager.aenqueue("s", broken, owner="me")
        with pytest.raises(StreamFailed, match="source_failed"):
            await read_all(reader)
        await no_orders_left(redis_server, key_prefix)
    (line,) = (r for r in caplog.records if r.name == "resumable_streams.workers")
    assert "could not be created" in line.message
    assert line.exc_info


async def test_nor_does_an_order_of_another_queue_fail_without_ending_its_stream(
    redis_manager: StreamManager, broken: str
) -> None:
    orders: list[str] = []
    reader = await redis_manager.aenqueue("s", broken, owner="me", through=orders.append)
    assert await run_order("elsewhere", orders[0]) is True
    with pytest.raises(StreamFailed, match="source_failed"):
        await read_all(reader)


async def test_in_memory_who_orders_is_told_at_once_and_nothing_is_left(
    memory_manager: StreamManager, broken: str
) -> None:
    with pytest.raises(Exception) as refusal:  # noqa: PT011  each module has its own
        await memory_manager.aenqueue("s", broken, owner="me")
    assert not isinstance(refusal.value, StreamFailed)
    assert await memory_manager.astatus("s", owner="me") is None


@pytest.mark.parametrize("named", ["stream_id", "offset"])
async def test_kwargs_may_not_name_what_the_worker_passes(
    manager: StreamManager, hear: Callable[..., list[Any]], named: str
) -> None:
    from resumable_streams.signals import owner_bound, owner_checked

    heard = hear(owner_bound, owner_checked)
    orders: list[str] = []
    for through in (None, orders.append):
        with pytest.raises(ValueError, match=f"may not name {named}"):
            await manager.aenqueue("s", "a.b", {named: 0, "n": 5}, owner="me", through=through)
    assert heard == orders == []
    assert await manager.astatus("s", owner="me") is None


async def offsets(stream_id: str, offset: int = -1, items: int = -1) -> AsyncIterator[str]:
    yield json.dumps([stream_id, offset])


async def test_an_order_of_an_earlier_version_that_names_them_is_given_the_right_ones(
    redis_manager: StreamManager,
) -> None:
    class Old(Order):
        def __post_init__(self) -> None:
            """Accept them, as that version did."""

    orders: list[str] = []
    path = f"{__name__}.offsets"
    kwargs = {"stream_id": "another", "offset": 0}
    old = Old(path=path, kwargs=kwargs, recover=path, through=orders.append)
    key = None
    async for key in _stored(redis_manager):
        source: Any = old.source(key, offset=4)
        assert [chunk async for chunk in source()] == ['["s", 4]']
    assert key is not None


async def _stored(manager: StreamManager) -> AsyncIterator[Any]:
    await read_all(await manager.arun("s", ["x"], owner="me"))
    async for key in get_engine("default").store.scan():
        yield key


async def test_what_nobody_foresaw_ends_with_the_lease_and_is_not_tried_again(
    redis_manager: StreamManager,
    configure_redis: Configure,
    redis_server: Redis,
    key_prefix: str,
    caplog: Any,
) -> None:
    configure_redis(LEASE=0.4, SWEEP=0.1)
    reader = await redis_manager.aenqueue("s", f"{__name__}.offsets", owner="me")
    engine: Any = get_engine("elsewhere")

    def fails(*args: Any, **named: Any) -> None:
        raise RuntimeError("unforeseen")

    engine.produce = fails
    async with working(), asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(StreamFailed, match="producer_lost"):
            await read_all(reader)
        await no_orders_left(redis_server, key_prefix)
    assert "unexpectedly" in caplog.text


def kills_its_worker(stream_id: str) -> None:
    os._exit(9)


@pytest.mark.slow
async def test_an_order_that_worker_after_worker_dies_of_is_given_up(
    redis_manager: StreamManager, configure_redis: Configure, start: Start
) -> None:
    lease = 1.0
    configure_redis(LEASE=lease, SWEEP=0.2)
    workers = [start(LEASE=str(lease)) for _ in range(MAX_DEATHS + 1)]
    for worker in workers:
        await asyncio.to_thread(first_line, worker)
    path = f"{__name__}.kills_its_worker"
    reader = await redis_manager.aenqueue("s", path, owner="me", recover=path)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(StreamFailed, match="producer_lost"):
            await read_all(reader)
    assert [worker.poll() for worker in workers].count(9) == MAX_DEATHS
