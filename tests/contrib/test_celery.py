"""Orders through Celery: a real worker, on the broker that has the streams, too."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import kombu.pools
import pytest
from celery import Celery
from celery.exceptions import Retry

from resumable_streams import StreamManager, StreamStatus
from resumable_streams.contrib import celery
from resumable_streams.engine import get_engine
from resumable_streams.types import Claim
from resumable_streams.workers import SignedOrder
from tests.tools.lengthy import starts_a_process
from tests.tools.readers import read_all, read_until

ROOT = Path(__file__).resolve().parent.parent.parent
ORDERS = "tests.behaviour.orders"
Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def manager(redis_manager: StreamManager) -> StreamManager:
    return redis_manager


@pytest.fixture
def app(redis_url: str, key_prefix: str) -> Iterator[Celery]:
    """Be the application as a web process has it, with the queue of this test."""
    app = Celery("tests", broker=redis_url)
    app.conf.update(
        task_default_queue=key_prefix,
        broker_transport_options={"global_keyprefix": key_prefix},
    )
    app.set_current()
    yield app
    app.close()
    kombu.pools.reset()


@pytest.fixture
@starts_a_process
def start(tmp_path: Path, redis_url: str, key_prefix: str) -> Iterator[Start]:
    """Start a worker of Celery's; end it with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def worker() -> "subprocess.Popen[bytes]":
        command = "-m celery -A tests.contrib.celery_app worker -P threads -c 2 --without-mingle"
        with (tmp_path / "celery.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command.split(), "--without-gossip", "--without-heartbeat"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "tests.behaviour.worker_settings",
                    "REDIS_URL": redis_url,
                    "KEY_PREFIX": key_prefix,
                },
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    yield worker
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


async def test_a_celery_worker_produces_what_the_web_process_reads(
    manager: StreamManager, app: Celery, start: Start
) -> None:
    reader = await celery.aenqueue("s", f"{ORDERS}.numbers", {"count": 5}, owner="me")
    start()
    assert await read_all(reader) == b"000001002003004"
    assert reader.info.status is StreamStatus.DONE


async def test_a_warm_shutdown_lets_a_stream_finish(
    manager: StreamManager, app: Celery, start: Start
) -> None:
    worker = start()
    reader = await celery.aenqueue("s", f"{ORDERS}.paced", {"count": 40}, owner="me")
    first = await read_until(reader, 1)
    worker.send_signal(signal.SIGTERM)
    assert first + await read_all(reader) == b"".join(b"%03d" % n for n in range(40))


async def test_an_order_that_somebody_is_at_is_tried_again_and_written_once(
    manager: StreamManager,
) -> None:
    orders: list[str] = []
    reader = await manager.aenqueue(
        "s", f"{ORDERS}.numbers", {"count": 3}, owner="me", through=orders.append
    )
    ordered = SignedOrder.open(orders[0].encode())
    claim = Claim(epoch=ordered.epoch)
    store = get_engine("default").store
    await store.reclaim(ordered.key, ordered.held, claim)
    with pytest.raises(Retry):
        await asyncio.to_thread(
            lambda: celery.produce.apply(("default", orders[0]), throw=True).get()
        )
    await store.append(ordered.key, claim, 0, b"theirs")
    await store.finalize(ordered.key, claim, StreamStatus.DONE)
    assert await read_all(reader) == b"theirs"
    result = await asyncio.to_thread(celery.produce.apply, ("default", orders[0]))
    assert result.successful()  # nothing is left to do


async def test_a_broker_that_takes_no_order_leaves_no_stream(manager: StreamManager) -> None:
    def refuse(order: str) -> None:
        raise OSError("no broker")

    with pytest.raises(OSError, match="no broker"):
        await manager.aenqueue("s", f"{ORDERS}.numbers", {"count": 1}, owner="me", through=refuse)
    assert await manager.astatus("s", owner="me") is None
