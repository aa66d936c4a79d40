"""Processes that die, or sleep longer than their lease, while others read what they produce."""

import asyncio
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
from redis import Redis

from resumable_streams import SlotBusy, streams
from resumable_streams.engine import get_engine
from resumable_streams.stores.redis.keys import KeySpace

from ...nodes import scripts_run
from ...tools.streams import Configure
from ...tools.waiting import eventually
from ..servers import ROOT
from .conftest import IS_FULL, MARGIN, STREAMS
from .load import Reading, Verdict
from .producing import chunk
from .report import Report

LEASE, SWEEP = 1.5, 0.3
ROUNDS = 20 if IS_FULL else 2


@asynccontextmanager
async def producing(
    url: str, prefix: str, count: int = STREAMS
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"{__package__}.producing", url, prefix, str(LEASE), str(count),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"producing\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def followed() -> AsyncIterator[list[Reading]]:
    """Read every stream from its first byte."""
    readings = [
        Reading(number, await streams.arequire_resume(f"s{number}", owner="me"))
        for number in range(STREAMS)
    ]
    tasks = [asyncio.create_task(one.read()) for one in readings]
    try:
        await asyncio.gather(*(one.has_begun.wait() for one in readings))
        yield readings
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ended(readings: list[Reading], injected: float) -> Verdict:
    """Wait until the readers know; compare what they have with what the store has."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LEASE + SWEEP + MARGIN):
            await asyncio.gather(*(one.has_ended.wait() for one in readings))
    store = get_engine("default").store
    lost = wrong = 0
    for one in readings:
        info = await store.look(one.reader._key)
        assert info is not None
        expected = b"".join(chunk(one.stream, number) for number in range(info.size))
        wrong += not expected.startswith(one.received)
        lost += info.size - len(one.received)
    return Verdict(
        max(one.ended_at for one in readings) - injected,
        lost,
        wrong,
        sum(not one.ended_at for one in readings),
        Counter(one.end for one in readings),
    )


def judge(verdict: Verdict) -> None:
    assert (verdict.lost, verdict.wrong, verdict.hung) == (0, 0, 0)
    assert verdict.ends == {"producer_lost": STREAMS}
    assert verdict.seconds < LEASE + SWEEP + MARGIN


@pytest.fixture
def configured(configure: Configure, redis_url: str, redis_server: Redis, key_prefix: str) -> None:
    redis_server.hset(KeySpace(key_prefix).control("default"), "generation", 1)
    configure(redis_url, LEASE=LEASE, SWEEP=SWEEP)


async def test_readers_of_a_killed_process_are_told_within_lease_and_sweep(
    configured: None, redis_url: str, key_prefix: str, report: Report
) -> None:
    async with producing(redis_url, key_prefix) as process, followed() as readings:
        process.kill()
        verdict = await ended(readings, time.monotonic())
    report.put(
        f"producer's process killed (lease {LEASE:g} s, sweep {SWEEP:g} s)",
        "Redis, single",
        verdict,
    )
    judge(verdict)


async def test_a_killed_process_leaves_lists_and_slots_within_lease_and_sweep(
    configured: None, redis_url: str, key_prefix: str
) -> None:
    async def listed() -> list[str]:
        page = await streams.alist(owner="me", status="streaming", limit=1_000)
        return [info.stream_id for info in page.streams]

    async with producing(redis_url, key_prefix) as process, followed():
        assert len(await listed()) == STREAMS
        active = await streams.aactive("chat:1", owner="me")
        assert active is not None
        assert active.stream_id == "s1"
        process.kill()

        async def is_gone() -> bool:
            return not await listed()

        await eventually(is_gone, seconds=LEASE + SWEEP + MARGIN)
        for number in range(STREAMS):
            assert await streams.aactive(f"chat:{number}", owner="me") is None
        lost = await streams.alist(owner="me", status="error", limit=1_000)
        assert {info.error_code for info in lost.streams} == {"producer_lost"}
        assert len(lost.streams) == STREAMS


async def test_a_process_killed_while_it_takes_a_slot_leaves_it_free_after_a_lease(
    configured: None, redis_url: str, redis_server: Redis, key_prefix: str
) -> None:
    """Killed at whatever verb it is at, with streams replacing each other as fast as they can."""
    for _ in range(ROUNDS):
        async with producing(redis_url, key_prefix, 0) as process:
            enough = scripts_run(redis_server) + random.randrange(20, 200)
            await eventually(partial(has_run, redis_server, enough))
            process.kill()

            async def is_free() -> bool:
                with suppress(SlotBusy):
                    await streams.arun("next", endless, owner="me", slot="chat:0", on_busy="refuse")
                    return True
                return False

            await eventually(is_free, seconds=LEASE + SWEEP + MARGIN)
            running = await streams.alist(owner="me", status="streaming")
            assert [info.stream_id for info in running.streams] == ["next"]
            assert await streams.adelete("next", owner="me")


def has_run(server: Redis, scripts: int) -> bool:
    return scripts_run(server) >= scripts


async def endless() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def test_a_process_that_slept_longer_than_its_lease_appends_nothing_more(
    configured: None, redis_url: str, redis_server: Redis, key_prefix: str, report: Report
) -> None:
    async with producing(redis_url, key_prefix) as process, followed() as readings:
        process.send_signal(signal.SIGSTOP)
        verdict = await ended(readings, time.monotonic())
        before = scripts_run(redis_server)
        process.send_signal(signal.SIGCONT)
        # It tries to write.
        await eventually(lambda: scripts_run(redis_server) - before >= STREAMS)
        store = get_engine("default").store
        infos = [await store.look(one.reader._key) for one in readings]
        sizes = [info.size for info in infos if info is not None]
        assert sizes == [len(one.received) for one in readings]
    report.put(
        "producer's process asleep for longer than its lease (SIGSTOP)", "Redis, single", verdict
    )
    judge(verdict)
