"""Producers outside the web process.

The web process acquires the stream, puts an *order* on the queue and reads; a worker takes the
order, takes over the claim and produces. Orders are handed out at least once, claims are held by
one: a worker that is given an order which another one still works on loses at `reclaim` and writes
nothing, and one that was replaced cannot append any more. So no byte is written twice.

What is left when something dies:

    the web process, before the order was put   the stream waits for `wait` seconds: producer_lost
    a worker, before its first byte             another worker starts again
    a worker, later                             another one goes on with `recover`, where there is
                                                one, from the last stored byte; else producer_lost

An order is signed with SECRET_KEY: whoever can write to the store cannot make workers run code.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from django.core import signing
from django.utils.module_loading import import_string

from .engine import Engine, get_engine
from .exceptions import (
    InvalidStoreError,
    StoreUnavailable,
    StreamClaimLost,
    StreamDoesNotExist,
    StreamFinalized,
)
from .runtime import runtime
from .sources import Source
from .stores.base import Queue
from .types import Claim, ErrorCode, StreamInfo, StreamKey, StreamStatus

__all__ = ["Order", "Worker"]

logger = logging.getLogger("resumable_streams.workers")

SALT = "resumable_streams.workers"
WAIT_SECONDS = 2.0
AGAIN_SECONDS = 1.0
STALE = -1  # no count of rulings: whether the stream is barred is looked up when it starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Say how to produce a stream: dotted paths and JSON."""

    path: str
    kwargs: Mapping[str, Any]
    recover: str | None = None

    async def hand_over(
        self, engine: Engine, key: StreamKey, claim: Claim, info: StreamInfo, rulings: int
    ) -> None:
        """Have the stream produced by a worker; in this process if the store has no queue."""
        queue = engine.store.queue()
        if queue is None:
            engine.produce(key, claim, info, self.source(key, offset=0), rulings)
            return
        await queue.put(self._seal(key, claim))

    def _seal(self, key: StreamKey, claim: Claim) -> bytes:
        letter = {**asdict(self), **asdict(key), "held": claim.token, "epoch": claim.epoch}
        return signing.dumps(letter, salt=SALT).encode()

    def source(self, key: StreamKey, *, offset: int) -> Source:
        """Return the source from byte `offset` on; raises ImportError for a path that is none."""
        named: dict[str, Any] = {"stream_id": key.stream_id, **self.kwargs}
        if offset == 0:
            return partial(import_string(self.path), **named)
        return partial(import_string(self.recover or ""), offset=offset, **named)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """An order as it came from the queue: what to produce, and the claim it hands over."""

    order: Order
    key: StreamKey
    held: str
    epoch: str

    @classmethod
    def open(cls, sealed: bytes) -> "_Letter":
        """Raises BadSignature for what this site did not write."""
        text = signing.loads(sealed.decode(), salt=SALT)
        return cls(
            order=Order(path=text["path"], kwargs=text["kwargs"], recover=text["recover"]),
            key=StreamKey(
                tenant=text["tenant"],
                generation=text["generation"],
                stream_id=text["stream_id"],
            ),
            held=text["held"],
            epoch=text["epoch"],
        )


class Worker:
    """Take orders and produce, up to `concurrency` streams at a time, until this process drains."""

    def __init__(self, alias: str, *, name: str, concurrency: int = 100):
        self._alias = alias
        self._name = name
        self._slots = asyncio.Semaphore(concurrency)
        self._working: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Work until the process drains; raises InvalidStoreError for a store without a queue."""
        engine = get_engine(self._alias)
        queue = engine.store.queue(self._name)
        if queue is None:
            raise InvalidStoreError(f"The store of {self._alias!r} has no queue: it needs none.")
        keeping = asyncio.create_task(
            self._keep(queue, engine.settings.lease / 3), name="resumable_streams.worker.keep"
        )
        try:
            while not runtime.is_draining:
                await self._take(engine, queue)
            await runtime.drain()
            await asyncio.gather(*self._working.values(), return_exceptions=True)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await queue.aclose()

    async def _take(self, engine: Engine, queue: Queue) -> None:
        await self._slots.acquire()
        taken = None
        try:
            # Between two waits we look for what dead workers left, well within the grace.
            lease = engine.settings.lease
            taken = await queue.take(wait=min(WAIT_SECONDS, lease / 3), idle=1.5 * lease)
        except StoreUnavailable as error:
            logger.warning("%s Trying again.", error)
            await asyncio.sleep(AGAIN_SECONDS)
        finally:
            if taken is None:
                self._slots.release()
        if taken is not None:
            ticket, sealed = taken
            task = asyncio.create_task(
                self._work(engine, queue, ticket, sealed), name=f"resumable_streams.order {ticket}"
            )
            self._working[ticket] = task
            task.add_done_callback(lambda _: self._worked(ticket))

    def _worked(self, ticket: str) -> None:
        del self._working[ticket]
        self._slots.release()

    async def _keep(self, queue: Queue, interval: float) -> None:
        """Say that we still work, so that nobody else is given what we have."""
        while True:
            await asyncio.sleep(interval)
            with suppress(StoreUnavailable):
                await queue.keep(list(self._working))

    async def _work(self, engine: Engine, queue: Queue, ticket: str, sealed: bytes) -> None:
        try:
            letter = _Letter.open(sealed)
        except (signing.BadSignature, KeyError, UnicodeDecodeError):
            logger.error("An order was not written by this site, or with another SECRET_KEY.")
        else:
            try:
                await self._produce(engine, letter)
            except (StreamClaimLost, StoreUnavailable):
                # Somebody else works on it, or the store is away: the order stays, and is handed
                # out again if nobody keeps it.
                return
            except (StreamFinalized, StreamDoesNotExist):
                pass  # nothing is left to do
        with suppress(StoreUnavailable):
            await queue.done(ticket)

    async def _produce(self, engine: Engine, letter: _Letter) -> None:
        claim = Claim(epoch=letter.epoch)
        info = await engine.store.reclaim(letter.key, letter.held, claim)
        if info.size and letter.order.recover is None:
            await self._fail(engine, letter.key, claim, ErrorCode.PRODUCER_LOST)
            return
        try:
            source = letter.order.source(letter.key, offset=info.size)
        except ImportError:
            logger.exception("An order names a source that cannot be imported.")
            await self._fail(engine, letter.key, claim, ErrorCode.SOURCE_FAILED)
            return
        task = engine.produce(letter.key, claim, info, source, rulings=STALE)
        await asyncio.wait([task])

    async def _fail(self, engine: Engine, key: StreamKey, claim: Claim, code: ErrorCode) -> None:
        await engine.store.finalize(key, claim, StreamStatus.ERROR, error_code=code)
