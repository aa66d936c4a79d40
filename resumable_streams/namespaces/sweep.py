"""Go over many streams at a bounded pace, and do one thing to each.

A sweep keeps nothing but its batch: it may be interrupted after any, and run again for the rest.
Whatever depends on the state of a stream is done to the incarnation that was looked at, never to
one that somebody else has acquired under the same id since.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from ..engine import Engine
from ..exceptions import StreamError
from ..types import ErrorCode, StreamInfo, StreamKey, StreamStatus
from .selection import Selection

__all__ = ["Found", "Interrupted", "Sweep", "Tally", "cancel", "purge", "reap", "shorten"]

BATCH = 500


class Interrupted(StreamError):
    """Say that somebody asked a sweep to stop; what it did until then stays done."""

    def __init__(self) -> None:
        super().__init__("Interrupted: what was done until then stays done.")


@dataclass(slots=True)
class Tally:
    """Count the streams that a sweep has met, and those it has acted upon."""

    met: int = 0
    done: int = 0
    on_change: Callable[["Tally"], None] = field(default=lambda tally: None, repr=False)

    def add(self, met: int, done: int) -> None:
        self.met += met
        self.done += done
        self.on_change(self)


@dataclass(frozen=True, slots=True)
class Found:
    """Be a stream that is meant; without a state where none was needed to know."""

    key: StreamKey
    info: StreamInfo | None = None

    @property
    def epoch(self) -> str | None:
        return None if self.info is None else self.info.epoch


class Sweep:
    """Iterate over the streams of a selection, `batch` at a time, with `pause` seconds between.

    Raises Interrupted between two batches after `stop` was called. `once` meets no stream twice,
    which a scan may, at the price of remembering each (a hash).
    """

    def __init__(
        self, engine: Engine, selection: Selection, *, batch: int = BATCH, pause: float = 0.0
    ):
        self.engine = engine
        self.selection = selection
        self._batch = batch
        self._pause = pause
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End the sweep soon; call it on the home loop."""
        self._stopped.set()

    async def batches(
        self, *, with_state: bool = False, once: bool = False
    ) -> AsyncIterator[list[Found]]:
        """Yield what is meant, in batches that may be empty; `with_state` looks at each."""
        with_state = with_state or self.selection.needs_state
        met: set[int] = set()
        async for keys in self._scanned():
            if once:
                keys = [key for key in dict.fromkeys(keys) if hash(key) not in met]
                met.update(map(hash, keys))
            yield await self._look(keys) if with_state else [Found(key) for key in keys]
            await self._breathe()

    async def _scanned(self) -> AsyncIterator[list[StreamKey]]:
        keys: list[StreamKey] = []
        selection = self.selection
        # The scan of a store goes over everything that can hold a stream, every primary included.
        async for key in self.engine.store.scan(selection.tenant, selection.generation):
            if selection.has_key(key):
                keys.append(key)
            if len(keys) >= self._batch:
                yield keys
                keys = []
        yield keys

    async def _look(self, keys: list[StreamKey]) -> list[Found]:
        infos = await self.engine.store.status(keys)
        return [
            Found(key, info)
            for key, info in zip(keys, infos, strict=True)
            if info is not None and self.selection.has_state(info)
        ]

    async def _breathe(self) -> None:
        if self._pause and not self._stopped.is_set():
            try:
                async with asyncio.timeout(self._pause):
                    await self._stopped.wait()
            except TimeoutError:
                pass
        if self._stopped.is_set():
            raise Interrupted


async def purge(sweep: Sweep, tally: Tally, *, dry_run: bool = False) -> None:
    """Delete the streams: their keys are gone, their readers and producers end.

    Neither what governs the tenant nor the marks of revocations are touched.
    """
    store = sweep.engine.store
    tenants: set[str] = set()
    try:
        async for batch in sweep.batches(once=dry_run):
            if dry_run:
                tally.add(len(batch), len(batch))
                continue
            tenants.update(one.key.tenant for one in batch)
            gone = await asyncio.gather(*(store.delete(one.key, epoch=one.epoch) for one in batch))
            tally.add(len(batch), sum(gone))
    finally:
        # Readers of what had ended watch nothing any more: they hear of it here.
        await asyncio.gather(*(store.announce(tenant) for tenant in tenants))


async def cancel(sweep: Sweep, tally: Tally, *, dry_run: bool = False) -> None:
    """End the streams that are being produced as cancelled; what was written stays readable."""
    store = sweep.engine.store
    async for batch in sweep.batches(with_state=True, once=dry_run):
        running = [one for one in batch if one.info and one.info.is_streaming]
        if not dry_run:
            await asyncio.gather(*(store.cancel(one.key, epoch=one.epoch) for one in running))
        tally.add(len(batch), len(running))


async def shorten(sweep: Sweep, tally: Tally, *, ttl: float, dry_run: bool = False) -> None:
    """Give the streams that would live longer than `ttl` seconds that long, and not longer."""
    store = sweep.engine.store
    async for batch in sweep.batches(with_state=True, once=dry_run):
        long = [one for one in batch if one.info and one.info.ttl > ttl]
        if not dry_run:
            await asyncio.gather(*(store.expire(one.key, ttl) for one in long))
        tally.add(len(batch), len(long))


async def reap(sweep: Sweep, tally: Tally) -> None:
    """Look at every stream, so that dead producers are declared lost; count the lost ones."""
    async for batch in sweep.batches(with_state=True, once=True):
        lost = [one for one in batch if one.info and _is_lost(one.info)]
        tally.add(len(batch), len(lost))


def _is_lost(info: StreamInfo) -> bool:
    return info.status is StreamStatus.ERROR and info.error_code == ErrorCode.PRODUCER_LOST
