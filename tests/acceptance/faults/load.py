"""Writers and readers, what the store acknowledged, and what became of every byte."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from resumable_streams import StoreUnavailable, StreamError, StreamFailed, StreamReader, streams
from resumable_streams.signals import stream_appended
from tests.tools.waiting import PATIENCE_SECONDS, eventually

__all__ = ["Load", "Reading", "Verdict", "chunk"]

PAUSE_SECONDS = 0.04
UNSETTLED = "still reading"


def chunk(stream: int, number: int, size: int = 0) -> bytes:
    """Return the bytes of one chunk, which tell where they belong."""
    return b"%d:%d;" % (stream, number) + bytes([number % 251]) * size


@dataclass
class Verdict:
    """Say what a fault did: seconds until every reader knew or went on, bytes, ends."""

    seconds: float
    lost: int | None  # acknowledged bytes that a reader lacks though nothing told it so
    wrong: int | None  # readers whose bytes are not those of the source, in order
    hung: int | None
    ends: Counter[str]

    def __str__(self) -> str:
        return ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))


@dataclass(eq=False)
class Reading:
    """One reader, and what it has got."""

    stream: int
    reader: StreamReader
    received: bytearray = field(default_factory=bytearray)
    end: str = UNSETTLED
    ended_at: float = 0.0
    pause: float = 0.0
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    has_ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        try:
            async for data in self.reader:
                self.received += data
                self.has_begun.set()
                await asyncio.sleep(self.pause)
            self.end = str(self.reader.info.status)
        except StreamFailed as failure:
            self.end = str(failure.code)
        except StreamError as error:
            self.end = type(error).__name__
        self.ended_at = time.monotonic()
        self.has_ended.set()


class Load:
    """Write `count` streams until told to end, each read here and by what is another process."""

    def __init__(self, count: int, *, size: int = 0, pause: float = 0.0):
        self.count = count
        self.acknowledged: Counter[str] = Counter()
        self.readings: list[Reading] = []
        self._size = size
        self._pause = pause  # of the readers elsewhere
        self._written = [bytearray() for _ in range(count)]
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def _produce(self, stream: int) -> AsyncIterator[bytes]:
        number = 0
        while not self._ending.is_set():
            data = chunk(stream, number, self._size)
            self._written[stream] += data
            number += 1
            yield data
            await asyncio.sleep(PAUSE_SECONDS)

    def _acknowledge(self, *, stream_id: str, offset: int, size: int, **named: Any) -> None:
        self.acknowledged[stream_id] = max(self.acknowledged[stream_id], offset + size)

    async def start(self) -> None:
        stream_appended.connect(self._acknowledge, weak=False, dispatch_uid="load")
        for stream in range(self.count):
            source = partial(self._produce, stream)
            here = await self._started(f"s{stream}", source)
            other = await streams.using("elsewhere").arequire_resume(f"s{stream}", owner="me")
            self.follow(Reading(stream, here), Reading(stream, other, pause=self._pause))
        await asyncio.gather(*(one.has_begun.wait() for one in self.readings))

    async def _started(
        self, stream_id: str, source: Callable[[], AsyncIterator[bytes]]
    ) -> StreamReader:
        """Start a stream, however often a busy machine makes the store miss its time limit."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    return await streams.arun(stream_id, source, owner="me")
                except StoreUnavailable:  # it keeps attempts to connect apart
                    continue

    def follow(self, *readings: Reading) -> None:
        self.readings += readings
        self._tasks += [asyncio.create_task(one.read()) for one in readings]

    async def is_marked(self, *, within: float) -> bool:
        """Wait until each reader has ended, or has bytes that are acknowledged from now on."""
        marks, waiting = Counter(self.acknowledged), set(self.readings)

        def have_arrived() -> bool:
            for one in list(waiting):
                if one.end is not UNSETTLED or len(one.received) > marks[f"s{one.stream}"]:
                    waiting.discard(one)
            return not waiting

        with suppress(AssertionError):
            await eventually(have_arrived, seconds=within)
        return not waiting

    async def finish(self, *, bound: float) -> None:
        """End the sources; whoever still reads after `bound` seconds hangs."""
        self._ending.set()
        await asyncio.wait(self._tasks, timeout=bound)

    async def aclose(self) -> None:
        self._ending.set()
        stream_appended.disconnect(self._acknowledge, dispatch_uid="load")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self.readings:
            one.reader.close()

    def verdict(self, seconds: float) -> Verdict:
        """Compare all bytes."""
        lost = wrong = 0
        for one in self.readings:
            written = bytes(self._written[one.stream])
            if not written.startswith(bytes(one.received)):
                wrong += 1
            if one.end == "done":
                lost += len(written) - len(one.received)
        hung = sum(one.end is UNSETTLED for one in self.readings)
        return Verdict(seconds, lost, wrong, hung, Counter(one.end for one in self.readings))
