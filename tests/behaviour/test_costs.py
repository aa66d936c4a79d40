"""What a chunk costs, counted: commands, writes, and the tasks it wakes on its way to a reader.

Nothing is timed. All sources yield in the same loop turn, and again once every reader has the last
one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest

from resumable_streams import StreamManager, StreamReader
from resumable_streams.formats import format_of
from resumable_streams.http.body import Body
from resumable_streams.http.transports import Transport
from resumable_streams.sse import Framer
from resumable_streams.stores.redis.connection import _Session
from resumable_streams.stores.redis.tick import Tick
from tests.tools.readers import read_until, waits
from tests.tools.waiting import eventually

STREAMS, CHUNKS = 20, 10
CHUNK = b"data: a chunk\n\n"
READERS = 50
SHORT_LOG_BYTES, LONG_LOG_BYTES, PIECE_BYTES = 1_024, 16 * 1_024 * 1_024, 262_144
DIGITS = 64
"""Bytes by which answers may differ, as they name sizes: longer numbers have more digits."""
BEATS = 2
"""Commands of a process for itself that may fall into a count: a heartbeat, a look at news."""
WAKE_UPS = 1.5
"""One of the source; the rest are those of the connection. The producer is not woken, and those
that read are the test's own, woken once each."""


class Steps:
    """Sources that go on together, chunk by chunk."""

    def __init__(self) -> None:
        self._allowed = 0
        self._news = asyncio.Event()

    async def source(self) -> AsyncIterator[bytes]:
        for number in count():
            while number >= self._allowed:
                await self._news.wait()
            yield CHUNK

    def go(self) -> None:
        """Let every source yield one chunk more."""
        self._allowed += 1
        self._news.set()
        self._news.clear()


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count commands, writes of the connection for commands, and the bytes of its answers."""
    counted: Counter[str] = Counter()
    pack, answer_of = _Session._pack, _Session._answer
    wrote = Tick.wrote

    def count_command(session: _Session, *arguments: Any) -> bytes:
        counted["commands"] += 1
        return pack(session, *arguments)

    def count_write(tick: Tick, appends: int) -> None:
        counted["writes"] += 1
        wrote(tick, appends)

    async def answer(session: _Session) -> Any:
        answer = await answer_of(session)
        counted["bytes"] += weight(answer)
        return answer

    monkeypatch.setattr(_Session, "_pack", count_command)
    monkeypatch.setattr(Tick, "wrote", count_write)
    monkeypatch.setattr(_Session, "_answer", answer)
    return counted


def weight(answer: Any) -> int:
    """Return how many bytes an answer carries; a number counts as 8."""
    if isinstance(answer, list):
        return sum(map(weight, answer))
    return len(answer) if isinstance(answer, bytes) else 8


async def begin(manager: StreamManager, steps: Steps) -> list[StreamReader]:
    """Start the streams, and read the first chunk of each: connections and scripts are there."""
    readers = [await manager.arun(f"s{n}", steps.source(), owner="a") for n in range(STREAMS)]
    await carry(steps, readers, chunks=1)
    return readers


async def carry(steps: Steps, readers: list[StreamReader], *, chunks: int = CHUNKS) -> None:
    """Have each source yield, and each reader read, chunk by chunk."""
    for _ in range(chunks):
        size = readers[0].offset + len(CHUNK)
        tasks = [asyncio.create_task(read_until(reader, size)) for reader in readers]
        await asyncio.gather(*map(waits, readers))
        steps.go()
        await asyncio.gather(*tasks)


async def test_a_chunk_is_one_command_and_shares_its_write(
    redis_manager: StreamManager, counts: Counter[str]
) -> None:
    readers = await begin(redis_manager, steps := Steps())
    counts.clear()
    await carry(steps, readers)
    assert STREAMS * CHUNKS <= counts["commands"] <= STREAMS * CHUNKS * 1.1
    assert counts["writes"] <= CHUNKS * 3


async def fill(manager: StreamManager, stream_id: str, size: int) -> None:
    """Make a finished stream of that many bytes."""

    async def source() -> AsyncIterator[bytes]:
        for start in range(0, size, PIECE_BYTES):
            yield b"x" * min(PIECE_BYTES, size - start)

    async for _ in await manager.arun(stream_id, source(), owner="a"):
        pass


async def resume_at_the_last_byte(
    manager: StreamManager, counts: Counter[str], stream_id: str, size: int
) -> Counter[str]:
    """Return what a resume costs that has one byte left to read."""
    counts.clear()
    reader = await manager.arequire_resume(stream_id, owner="a", offset=size - 1)
    assert [data async for data in reader] == [b"x"]
    return counts.copy()


async def test_the_last_byte_of_a_long_log_costs_as_much_as_that_of_a_short_one(
    redis_manager: StreamManager, counts: Counter[str]
) -> None:
    costs = []
    for stream_id, size in (("short", SHORT_LOG_BYTES), ("long", LONG_LOG_BYTES)):
        await fill(redis_manager, stream_id, size)
        await resume_at_the_last_byte(redis_manager, counts, stream_id, size)  # has the scripts
        resumes = [
            await resume_at_the_last_byte(redis_manager, counts, stream_id, size) for _ in range(3)
        ]
        costs.append(min(resumes, key=lambda cost: cost["commands"]))  # without a heartbeat
    short, long = costs
    assert 0 < long["commands"] == short["commands"]
    assert 0 < long["bytes"] <= short["bytes"] + DIGITS


@pytest.mark.parametrize("readers", [1, 8, 64])
async def test_more_readers_of_a_stream_cost_no_more_commands_a_chunk(
    redis_manager: StreamManager, counts: Counter[str], readers: int
) -> None:
    steps = Steps()
    first = await redis_manager.arun("s", steps.source(), owner="a")
    others = [await redis_manager.arequire_resume("s", owner="a") for _ in range(readers - 1)]
    everybody = [first, *others]
    await carry(steps, everybody, chunks=1)
    counts.clear()
    await carry(steps, everybody)
    assert CHUNKS <= counts["commands"] <= CHUNKS + BEATS


async def test_a_chunk_wakes_few_tasks(redis_manager: StreamManager) -> None:
    readers = await begin(redis_manager, steps := Steps())
    loop = asyncio.get_running_loop()
    woken, call_soon = Counter[str](), loop.call_soon

    def counting(callback: Any, *arguments: Any, **named: Any) -> Any:
        owner = getattr(callback, "__self__", callback)
        name = owner.get_name() if isinstance(owner, asyncio.Task) else repr(callback)
        woken[name] += 1
        return call_soon(callback, *arguments, **named)

    loop.call_soon = counting  # type: ignore[assignment,method-assign]
    try:
        await carry(steps, readers)
    finally:
        del loop.call_soon
    ours = sum(number for name, number in woken.items() if name.startswith("resumable_streams."))
    assert ours <= WAKE_UPS * STREAMS * CHUNKS


async def follow(manager: StreamManager, wire: str, steps: Steps) -> list[list[bytes]]:
    """Have many bodies of one stream sent, chunk by chunk; return the frames of each."""
    first = await manager.arun("s", steps.source(), owner="a", attrs={"format": wire})
    others = [await manager.arequire_resume("s", owner="a") for _ in range(READERS - 1)]
    readers = [first, *others]
    frames: list[list[bytes]] = [[] for _ in readers]
    tasks = [
        asyncio.create_task(collect(reader, into))
        for reader, into in zip(readers, frames, strict=True)
    ]
    for number in range(CHUNKS):
        await asyncio.gather(*map(waits, readers))
        steps.go()
        await asyncio.gather(*(reaches(reader, (number + 1) * len(CHUNK)) for reader in readers))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return frames


async def reaches(reader: StreamReader, size: int) -> None:
    await eventually(lambda: reader.offset == size)


async def collect(reader: StreamReader, frames: list[bytes]) -> None:
    encoder = format_of(reader.info).encoder(reader.info, reader.offset)
    async for frame in Body(reader, encoder, Transport()).frames():
        frames += [frame] if frame else []


@pytest.mark.parametrize("wire", ["sse", "ui_message", "ag_ui", "html"])
async def test_a_frame_is_encoded_once_for_all_readers_of_a_stream(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    encoded, original = Counter[int](), Framer.push

    def push(framer: Framer, data: bytes) -> Any:
        encoded[framer.state[1]] += 1
        return original(framer, data)

    monkeypatch.setattr(Framer, "push", push)
    frames = await follow(manager, wire, Steps())
    assert encoded == {number * len(CHUNK): 1 for number in range(CHUNKS)}
    assert all(each == frames[0] for each in frames)
    assert len(frames[0]) == CHUNKS


async def test_readers_of_a_stream_share_the_bytes_of_a_chunk(manager: StreamManager) -> None:
    frames = await follow(manager, "raw", Steps())
    assert all(each is frames[0][at] for one in frames for at, each in enumerate(one))
    assert len(frames[0]) == CHUNKS
