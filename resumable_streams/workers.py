"""Producers outside the web process.

The web process acquires the stream, puts an *order* on the queue and reads; a worker takes the
order, takes over the claim and produces. Orders are handed out at least once, claims are held by
one: a worker that is given an order which another one still works on loses at `reclaim` and writes
nothing, and one that was replaced cannot append any more. So no byte is written twice.

The state after each kind of death:

    the web process, before the order was put   the stream waits for `wait` seconds: producer_lost
    a worker, before its first byte             another worker starts again
    a worker, later                             another one goes on with `recover`, where there is
                                                one, from the last stored byte; else producer_lost
    a worker that drains, when its time is up   the same, at once; else interrupted

An order is tried until its stream has ended, never longer: one whose source cannot be made ends its
stream at once, and one that worker after worker dies of is given up by the store (`reclaim`).

An order is signed with SECRET_KEY: write access to the store is not enough to make workers run
code.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.core import signing
from django.utils.module_loading import import_string

from .engine import Engine, get_engine
from .engine.handover import end, give_back, take_over, undo
from .exceptions import (
    InvalidStoreError,
    ShuttingDown,
    StoreUnavailable,
    StreamClaimLost,
    StreamDoesNotExist,
    StreamError,
    StreamFinalized,
    StreamLimitExceeded,
)
from .process.databases import close_idle
from .process.runtime import runtime
from .producing.continuing import Continuation, continue_after
from .producing.sources import Source
from .stores.base import Queue
from .stores.patience import backoff_seconds
from .types import Claim, ErrorCode, StreamInfo, StreamKey

__all__ = ["Order", "Worker", "run_order"]

logger = logging.getLogger("resumable_streams.workers")

SALT = "resumable_streams.workers"
WAIT_SECONDS = 2.0
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 15.0
WAIT_FOR_WORKER_SECONDS = 60.0
RESERVED = frozenset({"stream_id", "offset", "items"})
STALE = -1  # no `control_version`: control is read when the stream starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The way to produce a stream: dotted paths and JSON.

    `wait` is how many seconds it may wait for a worker. `through` puts it, signed, on a queue that
    is not the store's. Raises ValueError for `kwargs` that name what the worker passes itself.
    """

    path: str
    kwargs: Mapping[str, Any]
    recover: str | None = None
    wait: float = WAIT_FOR_WORKER_SECONDS
    through: Callable[[str], object] | None = None

    def __post_init__(self) -> None:
        if taken := RESERVED & self.kwargs.keys():
            raise ValueError(
                f"kwargs of an order may not name {' or '.join(sorted(taken))}: the worker passes "
                f"it. Pick the fields of a request instead of passing all of them."
            )

    def waits(self, engine: Engine) -> float:
        """Return how long the stream may wait for its producer; 0 if that is started here."""
        is_queued = self.through is not None or engine.store.queue() is not None
        return self.wait if is_queued else 0

    async def start(
        self, engine: Engine, key: StreamKey, claim: Claim, info: StreamInfo, control_version: int
    ) -> None:
        """Have the stream produced by a worker; in this process if the store has no queue."""
        if self.through is not None:
            signed = self.sign(key, claim).decode()
            await sync_to_async(_put, thread_sensitive=False)(self.through, signed)
        elif (queue := engine.store.queue()) is not None:
            await queue.put(self.sign(key, claim))
        else:
            engine.produce(claim, info, self.source(key), control_version=control_version)

    def sign(self, key: StreamKey, claim: Claim) -> bytes:
        """Return the order as signed text, together with the claim that it hands over."""
        text = {
            "path": self.path,
            "kwargs": dict(self.kwargs),
            "recover": self.recover,
            "wait": self.wait,
            **asdict(key),
            "held": claim.token,
            "epoch": claim.epoch,
        }
        return signing.dumps(text, salt=SALT).encode()

    def source(self, key: StreamKey, *, offset: int = 0, items: int = 0) -> Source:
        """Return the source from byte `offset` on, which is after that many items.

        Raises ImportError for a path that leads nowhere, and what a module raises on import.
        """
        named: dict[str, Any] = {**self.kwargs, "stream_id": key.stream_id}
        if offset == 0:
            return partial(_imported(self.path), **named)
        named |= {"offset": offset, "items": items}
        return partial(_imported(self.recover or ""), **named)


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except SystemExit as error:  # a script that runs on import must not end this process
        raise ImportError(f"{path!r} exits the process on import.") from error


def _put(through: Callable[[str], object], signed: str) -> None:
    """Put an order on a queue that may be a table: the thread is nobody's, and stays."""
    try:
        through(signed)
    finally:
        close_idle()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOrder:
    """An order as it came from the queue: what to produce, and the claim it hands over."""

    order: Order
    key: StreamKey
    held: str
    epoch: str

    @classmethod
    def open(cls, signed: bytes) -> "SignedOrder":
        """Raises BadSignature for what this site did not write."""
        text = signing.loads(signed.decode(), salt=SALT)
        return cls(
            order=Order(
                path=text["path"],
                kwargs=text["kwargs"],
                recover=text["recover"],
                wait=text.get("wait", WAIT_FOR_WORKER_SECONDS),
            ),
            key=StreamKey(
                tenant=text["tenant"],
                generation=text["generation"],
                stream_id=text["stream_id"],
            ),
            held=text["held"],
            epoch=text["epoch"],
        )


async def run_order(alias: str, signed: str) -> bool:
    """Produce what an order asks for, here and to its end: for workers that are not ours.

    Returns False, having done nothing, where somebody else holds the stream or this process
    drains: to be tried again after a lease. An order that is done is True again. Cancelled, the
    stream ends as interrupted. Raises BadSignature for what this site did not write, and
    StoreUnavailable.
    """
    ordered = SignedOrder.open(signed.encode())
    engine = get_engine(alias)
    if runtime.is_draining:
        return False
    # Between the step in which the stream becomes ours and the start of its producer a cancellation
    # would leave it to nobody, for as long as we live.
    starting = engine.lasting.start(
        _start(engine, ordered, Claim(epoch=ordered.epoch)),
        name=f"order {ordered.key.stream_id}",
    )
    try:
        task = await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_interrupt)
        raise
    except (StreamClaimLost, ShuttingDown):
        return False
    except (StreamFinalized, StreamDoesNotExist):
        return True  # nothing is left to do
    if task is not None:
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            raise
    return True


def _interrupt(starting: "asyncio.Task[asyncio.Task[None] | None]") -> None:
    """Cancel the producer of a caller that has left meanwhile."""
    if not starting.cancelled() and starting.exception() is None:
        producing = starting.result()
        if producing is not None:
            producing.cancel()


async def _start(engine: Engine, ordered: SignedOrder, claim: Claim) -> asyncio.Task[None] | None:
    """Take a stream over and produce it; None when it ends at once, with an error."""
    info = await take_over(engine, ordered.key, ordered.held, claim)
    claim = replace(claim, holder=info.holder)
    if info.size and ordered.order.recover is None:
        await end(engine, info, claim, ErrorCode.PRODUCER_LOST)
        return None
    continuation = await _look_back(engine, ordered, info, claim)
    try:
        source = ordered.order.source(ordered.key, offset=info.size, items=continuation.items)
    except Exception:  # whatever it is, the next worker would meet it, too
        logger.exception(
            "The source of an order could not be created; its stream ends with source_failed."
        )
        await end(engine, info, claim, ErrorCode.SOURCE_FAILED)
        return None
    try:
        return engine.produce(claim, info, source, continuation=continuation, control_version=STALE)
    except ShuttingDown:
        await _give_back(engine, ordered, info, claim)
        raise
    except Exception:
        await end(engine, info, claim, ErrorCode.PRODUCER_LOST)  # we hold it: nobody else would
        raise


async def _look_back(
    engine: Engine, ordered: SignedOrder, info: StreamInfo, claim: Claim
) -> Continuation:
    """Return where its log ends, or have the stream wait for another worker."""
    try:
        return await continue_after(engine.store, info)
    except StoreUnavailable:  # it is ours by now: nobody else would end it while we live
        undo(engine, info, claim, Claim(token=ordered.held, epoch=ordered.epoch))
        raise


async def _give_back(
    engine: Engine, ordered: SignedOrder, info: StreamInfo, held: Claim
) -> StreamInfo:
    """Have the stream wait for the next worker that is given this very order."""
    claim = Claim(token=ordered.held, epoch=ordered.epoch)
    wait = max(ordered.order.wait, 2 * engine.settings.lease)
    return await give_back(engine, info, held, claim, wait=wait)


@dataclass(slots=True, kw_only=True)
class _Job:
    """An order in the hands of a worker, and the claim once it has been taken over."""

    ticket: str
    signed: bytes
    ordered: SignedOrder | None = None
    claim: Claim | None = None


@dataclass(slots=True)
class WorkerCounts:
    """The orders of a worker, counted by how they ended.

    `refused` counts the orders that this site did not sign.
    """

    produced: int = 0
    handed_over: int = 0
    refused: int = 0


class Worker:
    """A worker: takes orders and produces up to `concurrency` streams at a time, until it drains.

    A store that is away is waited for; one that refuses us for good ends the worker. In a drain no
    more orders are taken, and what was taken has the grace of the process to end; then what another
    worker can go on with is put back, and the rest is interrupted.
    """

    def __init__(self, alias: str, *, name: str, concurrency: int = 100):
        self.counts = WorkerCounts()
        self._alias = alias
        self._name = name
        self._slots = asyncio.Semaphore(concurrency)
        self._working: dict[str, tuple[_Job, asyncio.Task[None]]] = {}
        self._failures = 0  # to take an order, since it last worked
        self._refusal: StoreUnavailable | None = None

    async def run(self) -> None:
        """Work until the process drains; raises InvalidStoreError for a store without a queue.

        Raises StoreForbidden, after a drain, once the store has refused us.
        """
        engine = get_engine(self._alias)
        queue = engine.store.queue(self._name)
        if queue is None:
            raise InvalidStoreError(
                f"The store of {self._alias!r} has no queue: its streams are produced in the "
                f"process that serves them, and need no worker."
            )
        keeping = asyncio.create_task(
            self._keep(queue, engine.settings.lease / 3), name="resumable_streams.worker.keep"
        )
        hand_over = partial(self._hand_over, engine, queue)
        runtime.before_interrupting.append(hand_over)
        try:
            while not runtime.is_draining:
                await self._take(engine, queue)
            await runtime.drain()
            tasks = [task for _, task in self._working.values()]
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._refusal is not None:
                raise self._refusal
        finally:
            runtime.before_interrupting.remove(hand_over)
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await queue.aclose()

    # Orders come.

    async def _take(self, engine: Engine, queue: Queue) -> None:
        await self._slots.acquire()
        taken = None
        try:
            # Between two waits we look for what dead workers left, well within the grace. Not
            # cancelled by a drain: an order that comes at that moment would be nobody's for long.
            lease = engine.settings.lease
            taken = await queue.take(wait=min(WAIT_SECONDS, lease / 3), idle=1.5 * lease)
            self._failures = 0
        except StoreUnavailable as error:
            await self._back_off(error)
        finally:
            if taken is None or taken[0] in self._working:
                self._slots.release()
        # What we have already comes again when the store was away for so long that nobody could
        # tell it that we keep it.
        if taken is not None and taken[0] not in self._working:
            self._begin(engine, queue, _Job(ticket=taken[0], signed=taken[1]))

    async def _back_off(self, error: StoreUnavailable) -> None:
        if error.is_final:
            self._give_up(error)
            return
        self._failures += 1
        pause = backoff_seconds(
            self._failures, most=MAX_BACKOFF_SECONDS, first=FIRST_BACKOFF_SECONDS
        )
        logger.warning("%s Trying again in %.1f seconds.", error, pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await runtime.drain_started.wait()

    def _give_up(self, error: StoreUnavailable) -> None:
        """Drain: the next order would be refused as well, and this one again and again."""
        self._refusal = error
        runtime.start_drain()

    def _begin(self, engine: Engine, queue: Queue, job: _Job) -> None:
        task = asyncio.create_task(
            self._work(engine, queue, job), name=f"resumable_streams.order {job.ticket}"
        )
        self._working[job.ticket] = job, task
        task.add_done_callback(lambda _: self._worked(job.ticket))

    def _worked(self, ticket: str) -> None:
        del self._working[ticket]
        self._slots.release()

    async def _keep(self, queue: Queue, interval: float) -> None:
        """Say that we still work, so that nobody else is given what we have."""
        while True:
            await asyncio.sleep(interval)
            with suppress(StoreUnavailable):
                await queue.keep(list(self._working))

    # Orders are carried out.

    async def _work(self, engine: Engine, queue: Queue, job: _Job) -> None:
        try:
            job.ordered = SignedOrder.open(job.signed)
        except (signing.BadSignature, KeyError, TypeError, ValueError):
            logger.error("An order was not written by this site, or with another SECRET_KEY.")
            self.counts.refused += 1
        else:
            try:
                await self._run_order(engine, queue, job, job.ordered)
            except (StreamClaimLost, StoreUnavailable, StreamLimitExceeded) as error:
                # Somebody else works on it, the store is away, or the queue is full: the order
                # stays, and is handed out again if nobody keeps it.
                if isinstance(error, StoreUnavailable) and error.is_final:
                    self._give_up(error)
                return
            except (StreamFinalized, StreamDoesNotExist):
                pass  # nothing is left to do
            except Exception:
                # It would fail the next worker as well.
                logger.exception("An order failed unexpectedly and will not be retried.")
        with suppress(StoreUnavailable):
            await queue.done(job.ticket)

    async def _run_order(
        self, engine: Engine, queue: Queue, job: _Job, ordered: SignedOrder
    ) -> None:
        if runtime.is_draining:  # it came too late for us: somebody else need not wait for it
            await queue.put(job.signed)
            return
        claim = Claim(epoch=ordered.epoch)
        try:
            task = await _start(engine, ordered, claim)
        except ShuttingDown:
            await queue.put(job.signed)
            return
        if task is not None:
            job.claim = claim
            self.counts.produced += 1
            await asyncio.wait([task])

    # Orders are put back.

    async def _hand_over(self, engine: Engine, queue: Queue) -> None:
        """Put back what another worker can go on with; our producers of it write nothing more."""
        jobs = [job for job, _ in self._working.values() if job.claim is not None]
        results = await asyncio.gather(
            *(self._put_back(engine, queue, job) for job in jobs), return_exceptions=True
        )
        for error in results:
            if isinstance(error, Exception) and not isinstance(error, StreamError):
                logger.error("An order could not be put back.", exc_info=error)

    async def _put_back(self, engine: Engine, queue: Queue, job: _Job) -> None:
        ordered, held = job.ordered, job.claim
        if ordered is None or held is None:
            return
        info = await engine.store.look(ordered.key)
        if info is None or not info.is_streaming or (info.size and not ordered.order.recover):
            return
        info = await _give_back(engine, ordered, info, held)
        if info.size and not ordered.order.recover:  # it began to write just now
            claim = Claim(token=ordered.held, epoch=ordered.epoch)
            await end(engine, info, claim, ErrorCode.INTERRUPTED)
            return
        # Ended here, the stream is lost when nobody takes it in time, or goes on when a worker is
        # given the order that nobody keeps any more.
        await queue.put(job.signed)
        self.counts.handed_over += 1
        with suppress(StoreUnavailable):
            await queue.done(job.ticket)
