"""The leases of quiet producers, renewed together."""

import asyncio
import logging
import time
from collections.abc import Callable

from .exceptions import StoreUnavailable
from .producer import Producer
from .signals import heartbeat_failed
from .stores.base import BaseStore
from .tail import Tail

__all__ = ["Heart"]

logger = logging.getLogger("resumable_streams.producer")


class Heart:
    """Renew the leases of quiet producers: one batch, at least every third of a lease.

    A lease is never older than two intervals, so that what is left of it outlasts a store that is
    away for `store_timeout` seconds.
    """

    def __init__(
        self, store: BaseStore, *, lease: float, store_timeout: float, lost: Callable[[Tail], None]
    ):
        self._store = store
        self._lease = lease
        self._interval = max(lease / 6, min(lease / 3, (lease - store_timeout) / 2))
        self._lost = lost
        self._producers: set[Producer] = set()
        self._task = asyncio.create_task(self._beat_forever(), name="resumable_streams.heart")

    def add(self, producer: Producer) -> None:
        self._producers.add(producer)

    def discard(self, producer: Producer) -> None:
        self._producers.discard(producer)

    async def _beat_forever(self) -> None:
        pause = self._interval
        while True:
            await asyncio.sleep(pause)
            try:
                await self._beat()
                pause = self._interval
            except StoreUnavailable as error:
                pause = self._interval / 5
                self._tell_failure(error)
                self._suspect_overdue()
            except Exception as error:
                logger.exception("Renewing the leases failed.")
                self._tell_failure(error)

    def _suspect_overdue(self) -> None:
        """Have the streams looked up whose leases must have run out: readers wait for them."""
        now = time.monotonic()
        for producer in self._producers:
            if now - producer.renewed_at > self._lease:
                self._lost(producer.tail)

    def _tell_failure(self, error: Exception) -> None:
        if heartbeat_failed.receivers:
            heartbeat_failed.emit(
                type(self._store),
                alias=self._store.alias,
                producers=len(self._producers),
                error=error,
            )

    async def _beat(self) -> None:
        before = time.monotonic()
        if self._store.has_quotas:
            await self._renew_quotas()
        quiet = [p for p in self._producers if before - p.renewed_at >= self._interval]
        if not quiet:
            return
        held = await self._store.heartbeat([(p.key, p.claim) for p in quiet])
        for producer, is_held in zip(quiet, held, strict=True):
            if is_held:
                producer.renewed_at = before
            else:
                producer.lose_claim()
                self._lost(producer.tail)

    async def _renew_quotas(self) -> None:
        await asyncio.gather(
            *(
                self._store.reserve(p.key, p.tail.info.owner, lease=self._lease)
                for p in self._producers
                if p.tail.info.is_streaming  # its source may take its time after a cancel
            ),
            return_exceptions=True,
        )

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
