"""What one alias needs in this process: its settings, store, hub and leases, on the home loop."""

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from . import shutdown
from .conf import SETTING, AliasSettings, get_settings
from .exceptions import (
    InvalidStoreError,
    ShuttingDown,
    StoreUnavailable,
    StreamClaimLost,
    StreamDoesNotExist,
    StreamError,
    StreamFailed,
    StreamLimitExceeded,
)
from .hub import Hub
from .keys import holding_of
from .leases import LeaseKeeper
from .patience import patiently
from .producer import Producer
from .runtime import INTERRUPT_SECONDS, runtime
from .sources import Source
from .stores.base import BaseStore, known
from .tail import Tail
from .takeover import TakeOver
from .telling import Ending, Teller, ending_of
from .types import (
    Acquisition,
    Claim,
    ErrorCode,
    Fate,
    Holding,
    Owner,
    Standing,
    StreamInfo,
    StreamKey,
    StreamStatus,
    Terms,
)

__all__ = ["Engine", "get_engine", "make_store"]

logger = logging.getLogger("resumable_streams.engine")

T = TypeVar("T")

ENFORCE_AGAIN_SECONDS = 0.5
PLACE_SECONDS = 1.0
PLACE_AGAIN_SECONDS = 0.02
RECOUNTED = 100


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
            sweep=settings.sweep,
            store_timeout=settings.store_timeout,
            on_ruled=self.enforce_soon,
            on_silence=self._examine,
        )
        self._producing: set[asyncio.Task[None]] = set()
        self._is_retired = False
        self._unenforced: set[str | None] = set()
        self._unjudged: set[Tail] = set()  # whose standing could not be looked up
        self._enforcing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._left_behind: Counter[tuple[str, str]] = Counter()  # sources, by tenant and owner
        self._teller = Teller(self.store)
        self.leases = LeaseKeeper(
            self.store,
            lease=settings.lease,
            store_timeout=settings.store_timeout,
            news=self,
        )
        self.takeover = TakeOver(self.store, self.leases, self._teller, lease=settings.lease)

    # What heartbeats bring.

    def disturbed(self, key: StreamKey) -> None:
        self.hub.disturbed(key)

    def ruled(self, tenant: str) -> None:
        self.hub.ruled(tenant)

    def missed_news(self) -> None:
        for tail in self.hub.tails:
            self.hub.suspect(tail)
        self.hub.ruled(None)

    def cut_off(self) -> None:
        for tail in self.hub.tails:
            if tail.is_local:  # the others are looked at by the feed, which is cut off as well
                self.hub.suspect(tail)

    def passed(self, holders: Sequence[str]) -> None:
        self.takeover.soon(holders)

    def _examine(self, infos: Sequence[StreamInfo]) -> Sequence[StreamInfo]:
        """Return which of these streams are held by nobody that is known to live."""
        self.leases.start()
        self.takeover.suspect(infos)
        return [info for info in infos if not self.leases.lives(info.holder)]

    # Elections.

    async def elect(self, key: StreamKey, claim: Claim, terms: Terms) -> Acquisition:
        """Acquire; an election whose answer was lost is found again, by its claim."""
        try:
            acquisition = await self.store.acquire(key, claim, terms)
        except StoreUnavailable as error:
            if error.is_final:
                raise
            acquisition = await self.store.acquire(key, claim, terms)
        self.takeover.suspect([acquisition.info])
        return acquisition

    async def secure(
        self, info: StreamInfo, claim: Claim, terms: Terms, *, wait: float = 0
    ) -> StreamInfo:
        """Answer for a stream that we were elected for, and count it as live.

        With `wait` nobody does until a worker takes it, for so many seconds. Raises
        StreamLimitExceeded, and leaves nothing, where a quota is reached. What a process leaves
        that dies on the way is an election that is not confirmed, or a stream that is held.
        """
        holding = holding_of(info)
        try:
            if wait:
                await self.store.processes.park(holding, seconds=wait)
            elif not await self.leases.hold(holding):
                raise StoreUnavailable(self.settings.alias)  # judged, just now
            await self._reserve(holding, terms.ttl)
            if not await self.store.confirm(holding.key, claim):
                raise StoreUnavailable(self.settings.alias)  # it took us too long
        except BaseException:
            await self.abandon(info)
            raise
        return replace(info, ttl=terms.ttl, expires=info.expires - info.ttl + terms.ttl)

    async def _reserve(self, holding: Holding, ttl: float) -> None:
        """Count a stream as live; wait a moment where a place is about to come free.

        What was cancelled or deleted keeps its place until its source is closed, or a visitor who
        starts and cancels could have any number of sources running.
        """
        late = self.loop.time() + PLACE_SECONDS
        while self.store.has_quotas:
            others = self._left_behind[holding.key.tenant, holding.owner_digest]
            try:
                await self.store.reserve(holding, ttl=ttl, others=others)
                return
            except StreamLimitExceeded as error:
                if not await self._has_room_soon(holding, error.limit, error.value - others):
                    raise
                if self.loop.time() > late:
                    raise
                await asyncio.sleep(PLACE_AGAIN_SECONDS)

    async def _has_room_soon(self, holding: Holding, limit: str, most: int) -> bool:
        """Free places whose streams have ended; return whether there is, or will be, room."""
        owner = holding.owner_digest if limit == "MAX_STREAMS_PER_OWNER" else None
        counted = await self.store.live(holding.key.tenant, owner, limit=RECOUNTED)
        outcomes = await self.store.status([one.key for one in counted])
        found = {info.epoch: info for info in outcomes if isinstance(info, StreamInfo)}
        await self.takeover.end_orphans([info for info in found.values() if info.is_streaming])
        over, closing = [], 0
        for one in counted:
            info = found.get(one.epoch)
            if info is not None and info.status in (StreamStatus.DONE, StreamStatus.ERROR):
                over.append(one)
            elif info is None or not info.is_streaming:
                closing += 1
        await asyncio.gather(*(self.store.release(one) for one in over))
        # What was counted when we were refused may be free by now.
        return bool(over or closing) or len(counted) < min(most, RECOUNTED)

    async def abandon(self, info: StreamInfo, ending: Ending | None = None) -> None:
        """Leave nothing of a stream that we were elected for and that was not started.

        Its end is told if there is one to tell. A store that is away gets it later.
        """
        holding = holding_of(info)

        async def leave_nothing() -> None:
            await self.store.delete(holding.key, epoch=info.epoch)
            if self.store.has_quotas and ending is None:
                await self.store.release(holding)
            if ending is None:
                await self.store.processes.drop(info.holder, holding)

        try:
            await leave_nothing()
        except StoreUnavailable:
            self._keep(self._patiently(leave_nothing), f"abandon {info.stream_id}")
        if ending is not None:
            await self.tell(holding, ending, holder=info.holder)

    async def _patiently(self, verb: Callable[[], Awaitable[None]]) -> None:
        with suppress(StoreUnavailable):  # in a drain; whoever takes over this process ends it
            await patiently(verb, lambda pause: runtime.is_draining)

    async def tell(self, holding: Holding, ending: Ending, *, holder: str) -> None:
        """Tell the end of a stream, unless somebody else does."""
        told = await self._teller.tell(holding, ending, holder=holder, by=self.leases.process)
        if not told:
            with suppress(StoreUnavailable):  # whoever takes over this process tells it
                if await self.leases.was_forgotten():
                    await self._teller.tell(holding, ending, holder=holder, by=self.leases.process)

    # Production.

    async def take_over(self, key: StreamKey, held: str, claim: Claim) -> StreamInfo:
        """Take a stream over from whoever has `held` its claim, or from a dead process.

        It is held by us before it is ours, so there is no step at which nobody answers for it.
        """
        info = await self.store.look(key)
        if info is None or info.epoch != claim.epoch:
            raise StreamDoesNotExist
        holding, before = holding_of(info), info.holder
        me, (fate,) = await self.leases.ready(), await self.store.processes.fates([before])
        silent = "" if fate is Fate.LIVING else before
        if not await self.leases.hold(holding):
            raise StreamClaimLost
        try:
            info = await self.store.reclaim(key, held, replace(claim, holder=me), silent=silent)
        except StreamError:
            await self.store.processes.drop(me, holding)
            raise
        if before != me:
            await self.store.processes.drop(before, holding)
        return info

    async def give_back(
        self, info: StreamInfo, held: Claim, claim: Claim, *, wait: float
    ) -> StreamInfo:
        """Have a stream of ours wait for another process; our producer of it writes no more."""
        holding = holding_of(info)
        heir = await self.store.processes.park(holding, seconds=wait)
        try:
            given = await self.store.reclaim(holding.key, held.token, replace(claim, holder=heir))
        except StreamError:
            await self.store.processes.drop(heir, holding)
            raise
        await self.store.processes.drop(info.holder, holding)
        return given

    async def end(self, info: StreamInfo, claim: Claim, code: ErrorCode) -> None:
        """End a stream that we hold and do not produce with an error, and tell it.

        Waits for a store that is away, whoever cancels: nobody else would end it while we live.
        """
        holding = holding_of(info)

        async def finalize() -> None:
            ended: StreamInfo | None
            try:
                ended = await self.store.finalize(
                    holding.key, claim, StreamStatus.ERROR, error_code=code
                )
            except StoreUnavailable:
                raise
            except StreamError:  # it ended before, or is gone
                found = await self.store.look(holding.key)
                ended = found if found is not None and found.epoch == info.epoch else None
            await self.tell(holding, ending_of(ended), holder=info.holder)

        await asyncio.shield(self._keep(self._patiently(finalize), f"end {info.stream_id}"))

    def produce(
        self, key: StreamKey, claim: Claim, info: StreamInfo, source: Source, rulings: int
    ) -> asyncio.Task[None]:
        """Start the detached producer of a stream that we hold.

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
            store=self.store,
            settings=self.settings,
            claim=claim,
            tail=tail,
            source=source,
            tell=lambda ending: self._tell_own(producer, ending),
        )

        async def work() -> None:
            self.leases.add(producer)
            try:
                await producer.run()
            finally:
                self.leases.discard(producer)
                self.hub.close_local(tail)

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

    async def _tell_own(self, producer: Producer, ending: Ending) -> None:
        self._watch_source(producer)  # before its place is free
        await self.tell(producer.holding, ending, holder=producer.tail.info.holder)

    def _watch_source(self, producer: Producer) -> None:
        """Hold on to a source that is deaf to its cancellation, and count it while it runs."""
        source = producer.gathered
        if source is None or source.done():
            return
        logger.warning("A source goes on though its stream has ended; its owner's limit counts it.")
        whose = producer.key.tenant, producer.holding.owner_digest
        self._left_behind[whose] += 1
        self._closing.add(source)

        def closed(task: asyncio.Task[None]) -> None:
            self._left_behind -= Counter([whose])
            self._closing.discard(task)
            if not task.cancelled() and task.exception() is not None:
                logger.error("A source failed after its end.", exc_info=task.exception())

        source.add_done_callback(closed)

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self.loop.create_task(work, name=f"resumable_streams.{name}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    # Control.

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
            elif not standing.admits(tail.info):
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
        await self.takeover.aclose()
        for task in self._closing:
            task.cancel()
        await self.leases.aclose()
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
