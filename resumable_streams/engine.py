"""What one alias needs in this process: its settings, store, hub and heart, on the home loop."""

import asyncio
import inspect
import logging
from collections.abc import Collection, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from . import shutdown
from .conf import SETTING, AliasSettings, get_settings
from .exceptions import (
    InvalidStoreError,
    ShuttingDown,
    StoreUnavailable,
    StreamFailed,
    StreamLimitExceeded,
)
from .heart import Heart
from .hub import Hub
from .producer import Producer
from .runtime import INTERRUPT_SECONDS, runtime
from .sources import Source
from .stores.base import BaseStore, known
from .tail import Tail
from .types import (
    Acquisition,
    Claim,
    ErrorCode,
    Owner,
    Standing,
    StreamInfo,
    StreamKey,
    Terms,
)

__all__ = ["Engine", "get_engine", "make_store"]

logger = logging.getLogger("resumable_streams.engine")

T = TypeVar("T")

ENFORCE_AGAIN_SECONDS = 0.5


def make_store(settings: AliasSettings) -> BaseStore:
    """Construct the store of an alias; raise InvalidStoreError if the settings do not fit it."""
    where = f"of the stream alias {settings.alias!r}"
    try:
        backend = import_string(settings.backend)
    except ImportError as error:
        raise InvalidStoreError(
            f"BACKEND {settings.backend!r} {where} cannot be imported."
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, BaseStore)):
        raise InvalidStoreError(f"BACKEND {settings.backend!r} {where} is not a BaseStore.")
    options: dict[str, Any] = dict(settings.options)
    if settings.cache_alias is not None:
        options["cache_alias"] = settings.cache_alias
    ours = {
        "alias": settings.alias,
        "key_prefix": settings.key_prefix,
        "location": settings.location,
        "limits": settings.limits,
    }
    if ours.keys() & options:
        raise InvalidStoreError(f"OPTIONS {where} may not name {', '.join(ours)}.")
    given = {**ours, **options}
    try:
        inspect.signature(backend).bind(**given)
    except TypeError as error:
        raise InvalidStoreError(
            f"OPTIONS {where} do not fit {backend.__name__}: {error}."
        ) from None
    store: BaseStore = backend(**given)
    return store


class Engine:
    """Produce and read the streams of one alias; made on the home loop, closed with it."""

    def __init__(self, settings: AliasSettings):
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.store = make_store(settings)
        self.hub = Hub(
            self.store,
            lease=settings.lease,
            sweep=settings.sweep,
            store_timeout=settings.store_timeout,
            on_governed=self.enforce_soon,
        )
        self._producing: set[asyncio.Task[None]] = set()
        self._is_retired = False
        self._unenforced: set[str | None] = set()
        self._unjudged: set[Tail] = set()  # whose standing could not be looked up
        self._enforcing: asyncio.Task[None] | None = None
        self._heart = Heart(
            self.store,
            lease=settings.lease,
            store_timeout=settings.store_timeout,
            lost=self.hub.suspect,
        )

    async def elect(self, key: StreamKey, claim: Claim, terms: Terms) -> Acquisition:
        """Acquire; an election whose answer was lost is found again, by its claim."""
        try:
            return await self.store.acquire(key, claim, terms)
        except StoreUnavailable as error:
            if error.is_final:
                raise
            return await self.store.acquire(key, claim, terms)

    async def admit(self, key: StreamKey, info: StreamInfo) -> None:
        """Count a stream this process was elected for as live.

        Raises StreamLimitExceeded, and leaves nothing, where a quota is reached.
        """
        if self.store.has_quotas:
            try:
                await self.store.reserve(key, info.owner, lease=self.settings.lease)
            except StreamLimitExceeded:
                await self.store.delete(key, epoch=info.epoch)
                raise

    async def discount(self, key: StreamKey, info: StreamInfo) -> None:
        """Count a stream as live no longer: it has ended, or somebody ends it."""
        if self.store.has_quotas:
            with suppress(StoreUnavailable):  # its lease ends the count by itself
                await self.store.release(key, info.owner)

    async def abandon(self, key: StreamKey, info: StreamInfo) -> None:
        """Leave nothing of a stream this process was elected for and does not start."""
        with suppress(StoreUnavailable):  # its lease ends the stream, and the count, by itself
            await self.store.delete(key, epoch=info.epoch)
            await self.discount(key, info)

    def produce(
        self, key: StreamKey, claim: Claim, info: StreamInfo, source: Source, rulings: int
    ) -> asyncio.Task[None]:
        """Start the detached producer of a stream this process was elected for.

        What raises here has started nothing.
        """
        task = self._start(key, claim, info, source)
        if self.hub.rulings != rulings:
            self.enforce_soon(key.tenant)
        return task

    def _start(
        self, key: StreamKey, claim: Claim, info: StreamInfo, source: Source
    ) -> asyncio.Task[None]:
        if self._is_retired:  # between the election and now
            raise ShuttingDown
        tail = self.hub.open_local(info, key)
        producer = Producer(
            store=self.store, settings=self.settings, claim=claim, tail=tail, source=source
        )

        async def work() -> None:
            self._heart.add(producer)
            try:
                await producer.run()
            finally:
                self._heart.discard(producer)
                self.hub.close_local(tail)
                await self.discount(key, info)

        try:
            task = runtime.detach(work, name=f"resumable_streams.producer {key.stream_id}")
        except ShuttingDown:
            self.hub.close_local(tail)
            raise
        self._producing.add(task)
        task.add_done_callback(self._producing.discard)
        if self.settings.wait_until is not None:
            # A platform that tears handlers down is told what to wait for.
            try:
                import_string(self.settings.wait_until)(task)
            except Exception:
                logger.exception("WAIT_UNTIL failed; the producer goes on.")
        return task

    def enforce_soon(self, tenant: str | None) -> None:
        """Have the standing of a tenant (None: of all) enforced on what is attached here.

        However often this is asked for meanwhile, the look that follows answers it once.
        """
        self._unenforced.add(tenant)
        if self._enforcing is None or self._enforcing.done():
            self._enforcing = self.loop.create_task(
                self._enforce(), name="resumable_streams.enforce"
            )

    async def _enforce(self) -> None:
        while self._unenforced or self._unjudged:
            tenants, self._unenforced = self._unenforced, set()
            chosen, self._unjudged = self._unjudged, set()
            chosen &= set(self.hub.tails)
            chosen |= {tail for tail in self.hub.tails if {None, tail.key.tenant} & tenants}
            try:
                self._unjudged = await self.enforce(chosen)
            except Exception:  # a ruling that is not enforced would be worse than a busy log
                logger.exception("Enforcing what operators decided failed; trying again.")
                self._unjudged = chosen
            if self._unjudged:
                await asyncio.sleep(ENFORCE_AGAIN_SECONDS)

    async def enforce(self, tails: Collection[Tail]) -> set[Tail]:
        """End readers and producers of streams that were rotated away, revoked or purged.

        Returns those that could not be looked up: they go on, for now.
        """
        if not tails:
            return set()
        pairs = list({(tail.key.tenant, tail.info.owner) for tail in tails})
        # What has ended is not watched any more, but may be in the window of a slow reader.
        infos, found = await asyncio.gather(
            self.store.status([tail.key for tail in tails]),
            asyncio.gather(*(self._standing(*pair) for pair in pairs)),
        )
        standings = dict(zip(pairs, found, strict=True))
        barring, unjudged = [], set()
        for tail, outcome in zip(tails, infos, strict=True):
            standing = standings[tail.key.tenant, tail.info.owner]
            if standing is None or isinstance(outcome, StoreUnavailable):
                unjudged.add(tail)
            elif tail.own(known(outcome)) is None:
                barring.append(self._bar(tail, tail.why_gone(standing)))
            elif not standing.admits(tail.key.generation, tail.info.created):
                barring.append(self._bar(tail, ErrorCode.EXPIRED))
        await asyncio.gather(*barring)
        return unjudged

    async def _standing(self, tenant: str, owner: Owner) -> Standing | None:
        """Return what is in force for an owner; None where that cannot be known now."""
        with suppress(StoreUnavailable):
            return await self.store.standing(tenant, owner)
        return None

    async def _bar(self, tail: Tail, code: ErrorCode) -> None:
        """End the readers first, so that they are told why; then the producer."""
        stop, tail.on_end = tail.on_end, None
        tail.fail(StreamFailed(code))
        if stop is not None:
            try:
                with suppress(StoreUnavailable):  # nobody reaches it, and its lease runs out
                    await self.store.cancel(tail.key, epoch=tail.info.epoch)
            finally:
                stop()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the home loop of this engine; raise ShuttingDown if it is gone."""
        if self.loop.is_closed():
            coroutine.close()
            raise ShuttingDown
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def release_readers(self) -> None:
        for tail in self.hub.tails:
            tail.dismiss()

    async def retire(self) -> None:
        """Send readers elsewhere, interrupt what is produced, and close everything."""
        self._is_retired = True
        self.release_readers()
        producing = list(self._producing)
        for task in producing:
            task.cancel()
        if producing:
            await asyncio.wait(producing, timeout=INTERRUPT_SECONDS)
        await self.aclose()

    async def aclose(self) -> None:
        if self._enforcing is not None:
            self._enforcing.cancel()
            await asyncio.gather(self._enforcing, return_exceptions=True)
        await self._heart.aclose()
        await self.hub.aclose()
        await self.store.aclose()


def get_engine(alias: str) -> Engine:
    """Return the engine of `alias`; call it on the home loop (`runtime.call`)."""
    if not runtime.is_home():
        raise RuntimeError("An engine lives on the home loop: go there with `runtime.call`.")
    engine = runtime.resources.get(alias)
    if not isinstance(engine, Engine):
        engine = runtime.resources[alias] = Engine(get_settings(alias))
        shutdown.install(engine.settings.drain_timeout)
    return engine


def _honour(*, setting: str, **kwargs: object) -> None:
    """Retire the engines that were made with other settings than those in force now."""
    if setting not in (SETTING, "DEBUG", "CACHES"):
        return
    for engine in _engines():
        if not _is_as_set(engine, caches_changed=setting == "CACHES"):
            runtime.retire(engine.settings.alias)
    shutdown.limit_grace([one.settings.drain_timeout for one in _engines()])


def _engines() -> list[Engine]:
    return [one for one in runtime.resources.values() if isinstance(one, Engine)]


def _is_as_set(engine: Engine, *, caches_changed: bool) -> bool:
    if caches_changed and engine.settings.cache_alias is not None:
        return False
    try:
        return get_settings(engine.settings.alias) == engine.settings
    except InvalidStoreError:  # the alias is gone, or wrong: its next use tells
        return False


setting_changed.connect(_honour)  # after the receiver of `conf`, which forgets the old value
