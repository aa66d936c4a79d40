"""Bulk work: many streams, at a bounded pace, one thing done to each.

It needs a store and nothing else: no push connection, no heartbeat. The processes that hold the
streams hear of it from the store, and tell the ends. Only `reap`, which tells the ends itself,
takes the take-over of an engine.

Nothing is kept but the batch at work: an interruption between two batches loses nothing, and
another run does the rest. An act that depends on the state of a stream applies to the incarnation
that was looked at, never to a later one with the same id.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..exceptions import StoreUnavailable, StreamError, StreamUnreadable
from ..producing.takeover import TakeOver
from ..stores.base import BaseStore
from ..types import ErrorCode, StreamInfo, StreamKey
from .pace import Pace
from .selection import Selection

__all__ = [
    "Interrupted",
    "Match",
    "Progress",
    "StreamBatches",
    "cancel",
    "purge",
    "reap",
    "shorten",
]

S = TypeVar("S")
T = TypeVar("T")

BATCH = 500


class Interrupted(StreamError):
    """Somebody called `StreamBatches.stop`. The batches before that are done."""

    def __init__(self) -> None:
        super().__init__("Interrupted. The streams counted so far are done.")


@dataclass(slots=True)
class Progress:
    """The number of streams met so far, and of those acted upon.

    `on_change` is called after each batch.
    """

    met: int = 0
    done: int = 0
    on_change: Callable[["Progress"], None] = field(default=lambda progress: None, repr=False)

    def add(self, met: int, done: int) -> None:
        self.met += met
        self.done += done
        self.on_change(self)


@dataclass(frozen=True, slots=True)
class Match:
    """A selected stream. `info` is None when the key alone decided."""

    key: StreamKey
    info: StreamInfo | None = None

    @property
    def epoch(self) -> str | None:
        return None if self.info is None else self.info.epoch


class StreamBatches:
    """The streams of a selection in batches of `batch`, with `pause` seconds between them.

    A batch is looked at, and acted upon, in small steps, which slow down by themselves (`pace`).
    One bad stream, or one server of several that is away, does not stop the others. `unreadable`
    names the streams whose state nobody can read; they match no selection that needs a state. If a
    server was away, StoreUnavailable is raised after everything else is done.
    """

    def __init__(
        self, store: BaseStore, selection: Selection, *, batch: int = BATCH, pause: float = 0.0
    ):
        self.store = store
        self.selection = selection
        self._batch = batch
        self._pause = pause
        self._pace = Pace()
        self._stopped = asyncio.Event()
        self._away: StoreUnavailable | None = None
        self.unreadable: list[str] = []

    def stop(self) -> None:
        """End after the batch at work, with Interrupted; call it on the home loop."""
        self._stopped.set()

    async def batches(
        self, *, with_state: bool = False, once: bool = False
    ) -> AsyncIterator[list[Match]]:
        """Yield the matches, in batches that may be empty.

        `with_state` looks up the state of each. `once` yields no stream twice, as a scan may, and
        remembers a hash of each for it. Raises Interrupted between two batches after `stop`.
        """
        with_state = with_state or self.selection.needs_state
        met: set[int] = set()
        async for keys in self._scanned():
            if once:
                keys = [key for key in dict.fromkeys(keys) if hash(key) not in met]
                met.update(map(hash, keys))
            yield await self._look(keys) if with_state else [Match(key) for key in keys]
            await self._breathe()
        if self._away is not None:
            raise self._away

    async def each(
        self, streams: Sequence[Match], verb: Callable[[Match], Awaitable[T]]
    ) -> list[T]:
        """Call `verb` on each stream, and return the results of the calls that worked."""
        done: list[T] = []
        async for step in self._steps(streams):
            for one in await asyncio.gather(*map(verb, step), return_exceptions=True):
                if isinstance(one, BaseException):
                    self._note(one)
                else:
                    done.append(one)
        return done

    async def _steps(self, batch: Sequence[S]) -> AsyncIterator[Sequence[S]]:
        """Yield a batch in steps, and rest between them as the pace says.

        Cancelled in a rest, the steps before it are done, and another run does the others.
        """
        start = 0
        while start < len(batch):
            step = batch[start : start + self._pace.step]
            began = time.perf_counter()
            yield step
            start += len(step)
            if len(step) == self._pace.step:  # the last one, if shorter, proves nothing
                await asyncio.sleep(self._pace.took(time.perf_counter() - began))

    def _note(self, trouble: BaseException) -> None:
        """Remember an error of one stream or server; raise one that concerns all streams."""
        match trouble:
            case StoreUnavailable(is_final=False):
                self._away = trouble
            case StreamUnreadable():
                self.unreadable.append(trouble.name)
            case _:
                raise trouble

    async def _scanned(self) -> AsyncIterator[list[StreamKey]]:
        keys: list[StreamKey] = []
        selection = self.selection
        # The scan of a store goes over everything that can hold a stream, every primary included.
        try:
            async for key in self.store.scan(selection.tenant, selection.generation):
                if selection.has_key(key):
                    keys.append(key)
                if len(keys) >= self._batch:
                    yield keys
                    keys = []
        except StoreUnavailable as error:
            self._note(error)
        yield keys

    async def _look(self, keys: list[StreamKey]) -> list[Match]:
        found = []
        async for step in self._steps(keys):
            outcomes = await self.store.status(step)
            for key, outcome in zip(step, outcomes, strict=True):
                if isinstance(outcome, StreamError):
                    self._note(outcome)
                elif outcome is not None and self.selection.has_state(outcome):
                    found.append(Match(key, outcome))
        return found

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`; on `stop`, cancel it and raise Interrupted."""
        task = asyncio.create_task(work, name="resumable_streams.bulk")
        stopped = asyncio.create_task(self._stopped.wait(), name="resumable_streams.bulk.stop")
        try:
            await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Interrupted
            return task.result()
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    async def _breathe(self) -> None:
        if self._pause and not self._stopped.is_set():
            try:
                async with asyncio.timeout(self._pause):
                    await self._stopped.wait()
            except TimeoutError:
                pass
        if self._stopped.is_set():
            raise Interrupted


async def purge(batches: StreamBatches, progress: Progress, *, dry_run: bool = False) -> None:
    """Delete the streams: their keys are removed, their readers and producers end.

    The control keys of tenants and the marks of revocations stay.
    """
    store = batches.store
    tenants: set[str] = set()
    try:
        async for batch in batches.batches(once=dry_run):
            if dry_run:
                progress.add(len(batch), len(batch))
                continue
            tenants.update(one.key.tenant for one in batch)
            gone = await batches.each(batch, lambda one: _remove(store, one))
            progress.add(len(batch), sum(gone))
    finally:
        # Readers of a stream that had ended are no longer subscribed to it: they hear of it here.
        # If we die before, its readers have what they had read; appends and reads find nothing.
        await asyncio.gather(*(store.announce(tenant) for tenant in tenants))


def _remove(store: BaseStore, one: Match) -> Awaitable[bool]:
    """Remove the incarnation that was looked at, or whichever is there."""
    return store.purge(one.key) if one.epoch is None else store.delete(one.key, epoch=one.epoch)


async def cancel(batches: StreamBatches, progress: Progress, *, dry_run: bool = False) -> None:
    """End the live streams as cancelled; their bytes stay readable."""
    store = batches.store
    async for batch in batches.batches(with_state=True, once=dry_run):
        running = [one for one in batch if one.info and one.info.is_streaming]
        done = len(running)
        if not dry_run:
            ended = await batches.each(running, lambda one: store.cancel(one.key, epoch=one.epoch))
            done = sum(info is not None for info in ended)
        progress.add(len(batch), done)


async def shorten(
    batches: StreamBatches, progress: Progress, *, ttl: float, dry_run: bool = False
) -> None:
    """Set the TTL of every stream with a longer one to `ttl` seconds."""
    store = batches.store
    async for batch in batches.batches(with_state=True, once=dry_run):
        long = [one for one in batch if one.info and one.info.ttl > ttl]
        done = len(long)
        if not dry_run:
            done = sum(await batches.each(long, lambda one: store.expire(one.key, ttl)))
        progress.add(len(batch), done)


async def reap(
    batches: StreamBatches, progress: Progress, takeover: TakeOver, *, dry_run: bool = False
) -> None:
    """End the streams of dead processes, tell each end, and count the streams that were lost.

    Every process that reads or produces does this by itself. It takes at least one lease: only
    after that does the silence of another process prove anything. A dry run counts the streams it
    would end.
    """
    if not dry_run:
        await batches.unless_stopped(takeover.take_all())
    async for batch in batches.batches(with_state=True, once=True):
        infos = [one.info for one in batch if one.info]
        running = [info for info in infos if info.is_streaming]
        if dry_run:
            progress.add(len(batch), len(await takeover.silent(running)))
            continue
        lost = sum(info.error_code == ErrorCode.PRODUCER_LOST for info in infos)
        progress.add(len(batch), lost + await takeover.end_orphans(running))
