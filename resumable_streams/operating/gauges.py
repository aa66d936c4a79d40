"""The gauges of a store: what it knows at the moment somebody asks, and nobody else counts.

They come from the store and not from events, so a process that was killed leaves nothing behind,
and every process reads the same: of several, take the maximum. Nothing is asked while nobody reads.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..compat import running_loop
from ..conf import AliasSettings, get_aliases, get_settings
from ..exceptions import InvalidStoreError, StoreForbidden, StoreUnavailable
from ..process.green import is_green
from ..process.runtime import runtime
from ..stores import make_store
from ..stores.base import Backlog, BaseStore, ServerMemory
from ..stores.processes import Census

__all__ = ["GaugeReader", "Gauges"]

logger = logging.getLogger("resumable_streams.gauges")

T = TypeVar("T")

READ_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """The gauges of one alias; those that the store does not have, or may not tell, are None.

    A store that did not answer is not up, and the rest is None.
    """

    alias: str
    is_up: bool = False
    census: Census | None = None
    backlog: Backlog | None = None
    memory: ServerMemory | None = None


class GaugeReader:
    """Reads the gauges of every alias, from any thread.

    Each reading opens connections of its own and closes them: it is independent of the event loop
    of the streams, which may be what hangs.
    """

    def __init__(self, *, by_tenant: bool = False):
        self._by_tenant = by_tenant
        self._last: Sequence[Gauges] = ()
        self._reading: threading.Thread | None = None

    def read(self) -> Sequence[Gauges]:
        """Return the gauges as they are now, within READ_SECONDS.

        An event loop must not wait for that: in its thread, return the last reading, and have the
        next one made meanwhile.
        """
        if running_loop() is None:
            self._last = self._read()
        elif self._reading is None or not self._reading.is_alive():
            self._reading = threading.Thread(
                target=self._read_for_later, name="resumable_streams.gauges", daemon=True
            )
            self._reading.start()
        return self._last

    def _read_for_later(self) -> None:
        self._last = self._read()

    def _read(self) -> Sequence[Gauges]:
        if is_green():  # a loop in a greenlet would be seen by all others
            return runtime.call_sync(_read_all, self._by_tenant)
        return asyncio.run(_read_all(self._by_tenant))


async def _read_all(by_tenant: bool) -> Sequence[Gauges]:
    try:
        every = [get_settings(alias) for alias in get_aliases()]
    except InvalidStoreError:  # the system checks tell
        return ()
    return await asyncio.gather(*(_read_alias(one, by_tenant) for one in every))


async def _read_alias(settings: AliasSettings, by_tenant: bool) -> Gauges:
    try:
        store = make_store(settings)
    except InvalidStoreError:  # the system checks tell
        return Gauges(alias=settings.alias)
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _read_store(store, settings.lease, by_tenant)
    except (StoreUnavailable, TimeoutError):
        return Gauges(alias=settings.alias)
    finally:
        await store.aclose()


async def _read_store(store: BaseStore, lease: float, by_tenant: bool) -> Gauges:
    queue = store.queue()
    census, backlog, memory = await asyncio.gather(
        _if_allowed(store.processes.census(by_tenant=by_tenant)),
        _if_allowed(_nothing() if queue is None else queue.backlog(alive=lease)),
        _if_allowed(store.memory()),
    )
    return Gauges(alias=store.alias, is_up=True, census=census, backlog=backlog, memory=memory)


async def _nothing() -> None:
    return None


async def _if_allowed(asking: Awaitable[T]) -> T | None:
    """Return an answer; None, with a line in the log, where the server refuses it."""
    try:
        return await asking
    except StoreForbidden as error:
        if str(error) not in _refused:
            _refused.add(str(error))
            logger.warning("A gauge is missing from the metrics. %s", error)
        return None


_refused: set[str] = set()  # what the log knows already
