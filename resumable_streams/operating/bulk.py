"""Go over many streams at a bounded pace, and do one thing to each.

A sweep keeps nothing but its batch: it may be interrupted after any, and run again for the rest.
Whatever depends on the state of a stream is done to the incarnation that was looked at, never to
one that somebody else has acquired under the same id since.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..engine import Engine
from ..exceptions import StoreUnavailable, StreamError, StreamUnreadable
from ..types import ErrorCode, StreamInfo, StreamKey
from .selection import Selection

__all__ = ["Found", "Interrupted", "Sweep", "Tally", "cancel", "purge", "reap", "shorten"]

T = TypeVar("T")

BATCH = 500


class Interrupted(StreamError):
    """Say that somebody asked a sweep to stop; what it did until then stays done."""

    def __init__(self) -> None:
        super().__init__("Interrupted: what was done until then stays done.")


@dataclass(slots=True)
class Tally:
    """Count the streams that a sweep has met, and those it has acted upon.

    `unreadable` names those whose state cannot be read: they are met, and nothing is done to them.
    """

    met: int = 0
    done: int = 0
    unreadable: list[str] = field(default_factory=list)
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

    What is wrong with one stream, or with one server of several, does not keep the sweep from the
    rest. `unreadable` names the streams whose state nobody can read; they fit no selection that
    needs one. What a server that was away kept from being done is raised when all else is done.
    """

    def __init__(
        self, engine: Engine, selection: Selection, *, batch: int = BATCH, pause: float = 0.0
    ):
        self.engine = engine
        self.selection = selection
        self._batch = batch
        self._pause = pause
        self._stopped = asyncio.Event()
        self._away: StoreUnavailable | None = None
        self.unreadable: list[str] = []

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
        if self._away is not None:
            raise self._away

    async def each(
        self, streams: Iterable[Found], verb: Callable[[Found], Awaitable[T]]
    ) -> list[T]:
        """Do something to each stream, and return what came of it where it could be done."""
        found = await asyncio.gather(*map(verb, streams), return_exceptions=True)
        done: list[T] = []
        for one in found:
            if isinstance(one, BaseException):
                self._note(one)
            else:
                done.append(one)
        return done

    def _note(self, trouble: BaseException) -> None:
        """Remember what kept one stream from being seen; raise what keeps all others, too."""
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
            async for key in self.engine.store.scan(selection.tenant, selection.generation):
                if selection.has_key(key):
                    keys.append(key)
                if len(keys) >= self._batch:
                    yield keys
                    keys = []
        except StoreUnavailable as error:
            self._note(error)
        yield keys

    async def _look(self, keys: list[StreamKey]) -> list[Found]:
        found = []
        outcomes = await self.engine.store.status(keys)
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, StreamError):
                self._note(outcome)
            elif outcome is not None and self.selection.has_state(outcome):
                found.append(Found(key, outcome))
        return found

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; cancel it, and raise Interrupted, when `stop` is called."""
        task = asyncio.create_task(work, name="resumable_streams.sweep")
        stopped = asyncio.create_task(self._stopped.wait(), name="resumable_streams.sweep.stop")
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
            gone = await sweep.each(batch, lambda one: store.delete(one.key, epoch=one.epoch))
            tally.add(len(batch), sum(gone))
    finally:
        # Readers of what had ended watch nothing any more: they hear of it here.
        await asyncio.gather(*(store.announce(tenant) for tenant in tenants))


async def cancel(sweep: Sweep, tally: Tally, *, dry_run: bool = False) -> None:
    """End the streams that are being produced as cancelled; what was written stays readable."""
    store = sweep.engine.store
    async for batch in sweep.batches(with_state=True, once=dry_run):
        running = [one for one in batch if one.info and one.info.is_streaming]
        done = len(running)
        if not dry_run:
            ended = await sweep.each(running, lambda one: store.cancel(one.key, epoch=one.epoch))
            done = sum(info is not None for info in ended)
        tally.add(len(batch), done)


async def shorten(sweep: Sweep, tally: Tally, *, ttl: float, dry_run: bool = False) -> None:
    """Give the streams that would live longer than `ttl` seconds that long, and not longer."""
    store = sweep.engine.store
    async for batch in sweep.batches(with_state=True, once=dry_run):
        long = [one for one in batch if one.info and one.info.ttl > ttl]
        done = len(long)
        if not dry_run:
            done = sum(await sweep.each(long, lambda one: store.expire(one.key, ttl)))
        tally.add(len(batch), done)


async def reap(sweep: Sweep, tally: Tally, *, dry_run: bool = False) -> None:
    """End what dead processes left, and tell each end; count the streams that lost their producer.

    Any process that reads or produces does this by itself. It takes a lease at least: so long we
    watch, until the silence of a process can't be our own. A dry run counts what would be ended.
    """
    takeover = sweep.engine.takeover
    if not dry_run:
        await sweep.unless_stopped(takeover.take_all())
    async for batch in sweep.batches(with_state=True, once=True):
        infos = [one.info for one in batch if one.info]
        running = [info for info in infos if info.is_streaming]
        if dry_run:
            tally.add(len(batch), len(await takeover.silent(running)))
            continue
        lost = sum(info.error_code == ErrorCode.PRODUCER_LOST for info in infos)
        tally.add(len(batch), lost + await takeover.end_orphans(running))
