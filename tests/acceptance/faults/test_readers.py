"""Readers that are many, slow, or do not read at all: production goes on, memory is bounded."""

import asyncio
import os
import time
import tracemalloc
from collections import Counter

import pytest

from resumable_streams import StreamReader, streams
from resumable_streams.testing import ScriptedSource

from ...tools.readers import read_all, read_until
from ...tools.sources import Tap
from ...tools.streams import MEMORY, REDIS, Configure
from ...tools.waiting import eventually
from .conftest import IS_FULL
from .load import Verdict
from .report import Report

MIB = 1_048_576
RESUMES = 10_000 if IS_FULL else 500
STALLED = 1_000 if IS_FULL else 200
AT_ONCE = 100
SIZE = 8 * MIB
STORES = {"memory": MEMORY, "Redis": REDIS}


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest, configure: Configure, redis_url: str) -> str:
    """Choose a store; the one in memory is the same for both aliases."""
    name: str = request.param
    configure(redis_url if name == "Redis" else "readers", BACKEND=STORES[name])
    return name


async def test_a_finished_stream_is_resumed_again_and_again(store: str, report: Report) -> None:
    body = os.urandom(50_000)
    await read_all(await streams.arun("chat", ScriptedSource(body), owner="me"))
    before = len(asyncio.all_tasks())
    ends: Counter[str] = Counter()
    started = time.monotonic()

    async def resume(number: int) -> None:
        offset = number * 37 % (len(body) + 1)
        reader = await streams.arequire_resume("chat", owner="me", offset=offset)
        ends["done" if await read_all(reader) == body[offset:] else "wrong"] += 1

    for first in range(0, RESUMES, AT_ONCE):
        await asyncio.gather(*(resume(first + more) for more in range(AT_ONCE)))
    await eventually(lambda: len(asyncio.all_tasks()) <= before)
    verdict = Verdict(time.monotonic() - started, None, ends["wrong"], None, ends)
    report.put(f"{RESUMES:,} resumes of one finished stream", store, verdict)
    assert ends == {"done": RESUMES}


async def test_a_slow_reader_slows_nobody_and_misses_nothing(store: str, report: Report) -> None:
    tap = Tap()
    reader = await streams.arun("chat", tap, owner="me")
    slow = await streams.using("elsewhere").arequire_resume("chat", owner="me")
    body, got, started = b"", b"", time.monotonic()
    for number in range(60):
        piece = bytes([number]) * 50_000
        body += piece
        tap.give(piece)
        await read_until(reader, len(body))
        if number % 10 == 0:
            got += await anext(slow)
    seconds = time.monotonic() - started
    tap.end()
    bodies = [got + await read_all(slow), await whole_body()]
    ends = Counter(str(one.info.status) for one in (reader, slow))
    lost = sum(len(body) - len(one) for one in bodies)
    wrong = sum(not body.startswith(one) for one in bodies)
    verdict = Verdict(seconds, lost, wrong, None, ends)
    report.put("a slow reader of a fast source (3 MB)", store, verdict)
    assert bodies == [body, body]


async def whole_body() -> bytes:
    return await read_all(await streams.arequire_resume("chat", owner="me"))


async def test_stalled_readers_hold_a_bounded_piece_of_memory(store: str, report: Report) -> None:
    tap = Tap(b"first")
    reader = await streams.arun("chat", tap, owner="me")
    other = streams.using("elsewhere")
    stalled: list[StreamReader] = []
    for _ in range(STALLED):
        stalled.append(await other.arequire_resume("chat", owner="me"))
        await read_until(stalled[-1], 5)
    tracemalloc.start()
    before, started = tracemalloc.get_traced_memory()[0], time.monotonic()
    for number in range(SIZE // 65_536):
        tap.give(bytes([number]) * 65_536)
        await read_until(reader, 5 + (number + 1) * 65_536)
    seconds = time.monotonic() - started
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    tap.end()
    rest = b"".join(bytes([number]) * 65_536 for number in range(SIZE // 65_536))
    wrong = sum([await read_all(one) != rest for one in stalled[::10]])
    for one in stalled:
        one.close()
    kept = SIZE if store == "memory" else 0  # the stream itself
    ends = f"{STALLED:,} hold {max(0, grown - kept) / MIB:.1f} MiB together"
    report.put(
        f"{STALLED:,} stalled readers of an {SIZE // MIB} MiB stream",
        store,
        Verdict(seconds, None, wrong, None, Counter()),
        ends,
    )
    assert wrong == 0
    assert grown - kept < 4 * MIB
