"""One alias in this process: its settings, store, hub and leases, on the home loop."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ..conf import SETTING, AliasSettings, get_settings
from ..exceptions import InvalidStoreError, ShuttingDown, StoreUnavailable, StreamFailed
from ..formats import format_of
from ..process import shutdown
from ..process.lasting import Lasting
from ..process.runtime import INTERRUPT_SECONDS, runtime
from ..process.threads import AskingThread
from ..producing.continuing import Continuation
from ..producing.leases import LeaseKeeper
from ..producing.producer import Producer
from ..producing.sources import Source
from ..producing.takeover import TakeOver
from ..producing.telling import Ending, Teller
from ..reading.hub import Hub
from ..reading.tail import Tail
from ..signals import StreamSignal
from ..stores import make_store
from ..stores.base import known
from ..stores.patience import patiently
from ..types import Claim, Control, CutOff, ErrorCode, Holding, Owner, StreamInfo, StreamKey

__all__ = ["Engine", "get_engine"]

logger = logging.getLogger("resumable_streams.engine")

T = TypeVar("T")

ENFORCE_AGAIN_SECONDS = 0.5


class Engine:
    """The streams of one alias in this process; made on the home loop, closed with it."""

    def __init__(self, settings: AliasSettings):
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.store = make_store(settings)
        self.hub = Hub(
            self.store,
            sweep=settings.sweep,
            store_timeout=settings.store_timeout,
            on_control_change=self.enforce_control_soon,
            on_silence=self._examine,
        )
        self._producing: set[asyncio.Task[None]] = set()
        self._is_retired = False
        self._unenforced: set[str | None] = set()
        self._unjudged: set[Tail] = set()  # whose control could not be read
        self._enforcing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.lasting = Lasting()
        self.left_behind: Counter[tuple[str, str]] = Counter()
        """How many sources go on though their stream has ended, by tenant and owner digest."""
        self._teller = Teller(self.store)
        self.leases = LeaseKeeper(
            self.store,
            lease=settings.lease,
            store_timeout=settings.store_timeout,
            news=self,
        )
        self.takeover = TakeOver(
            self.store,
            self.leases,
            self._teller,
            lease=settings.lease,
            election=settings.election,
        )

    # What heartbeats bring.

    def disturbed(self, key: StreamKey) -> None:
        self.hub.disturbed(key)

    def control_changed(self, tenant: str) -> None:
        self.hub.note_control_change(tenant)

    def missed_news(self) -> None:
        for tail in self.hub.tails:
            self.hub.suspect(tail)
        self.hub.note_control_change(None)

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

    # Ends that are told.

    async def tell(self, holding: Holding, ending: Ending, *, holder: str) -> None:
        """Tell the end of a stream, unless somebody else does."""
        told = await self._teller.tell(holding, ending, holder=holder, by=self.leases.process)
        if not told:
            with suppress(StoreUnavailable):  # the process that takes over this one tells it
                if await self.leases.was_forgotten():
                    await self._teller.tell(holding, ending, holder=holder, by=self.leases.process)

    async def notify(
        self,
        signal: StreamSignal,
        key: StreamKey,
        owner: Owner,
        *,
        hook_errors: str | None = None,
        **named: Any,
    ) -> None:
        """Tell the receivers of a signal about a stream; what they raise is as HOOK_ERRORS says."""
        if signal.receivers:
            await signal.notify(
                type(self.store),
                hook_errors=hook_errors or self.settings.hook_errors,
                alias=self.settings.alias,
                tenant=key.tenant,
                generation=key.generation,
                stream_id=key.stream_id,
                owner=owner,
                **named,
            )

    def see_to(self, verb: Callable[[], Awaitable[None]], name: str) -> asyncio.Task[None]:
        """Do something in the background, as soon as the store answers; held until it is done.

        In a drain a store that is away is not waited for: the process that takes over this one does
        it.
        """

        async def attempt() -> None:
            with suppress(StoreUnavailable):
                await patiently(verb, lambda pause: runtime.is_draining)

        task = self.loop.create_task(attempt(), name=f"resumable_streams.{name}", context=Context())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    # Production.

    def produce(
        self,
        claim: Claim,
        info: StreamInfo,
        source: Source,
        *,
        continuation: Continuation | None = None,
        control_version: int,
    ) -> asyncio.Task[None]:
        """Start the detached producer of a stream that we hold; a new one, or one to go on with.

        If this raises, nothing was started.
        """
        if continuation is None:
            continuation = Continuation(encoder=format_of(info).item_encoder(info))
        task = self._start(claim, info, source, continuation)
        if self.hub.control_version != control_version:
            self.enforce_control_soon(info.tenant)
        return task

    def _start(
        self, claim: Claim, info: StreamInfo, source: Source, continuation: Continuation
    ) -> asyncio.Task[None]:
        if self._is_retired:  # between the election and now
            raise ShuttingDown
        if claim.holder != self.leases.process:  # the same: its end is told by another process
            raise StoreUnavailable(self.settings.alias, "this process was taken for dead")
        tail = self.hub.open_local(info, info.key)
        producer = Producer(
            store=self.store,
            settings=self.settings,
            claim=claim,
            tail=tail,
            source=source,
            continuation=continuation,
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
            task = runtime.detach(work, name=f"resumable_streams.producer {info.stream_id}")
        except ShuttingDown:
            self.hub.close_local(tail)
            raise
        self._producing.add(task)
        task.add_done_callback(self._producing.discard)
        if self.settings.wait_until is not None:
            _have_platform_wait(self.settings.wait_until, task)
        return task

    async def _tell_own(self, producer: Producer, ending: Ending) -> None:
        self._watch_source(producer)  # before its place is free
        await self.tell(producer.holding, ending, holder=producer.tail.info.holder)

    def _watch_source(self, producer: Producer) -> None:
        """Hold on to a source that is deaf to its cancellation, and count it while it runs."""
        source = producer.gathered
        if source is None or source.done():
            return
        logger.warning(
            "A source keeps running after its stream ended; it still counts against the limit of "
            "its owner."
        )
        whose = producer.key.tenant, producer.holding.owner_digest
        self.left_behind[whose] += 1
        self._closing.add(source)

        def closed(task: asyncio.Task[None]) -> None:
            self.left_behind -= Counter([whose])
            self._closing.discard(task)
            if not task.cancelled() and task.exception() is not None:
                logger.error("A source failed after its end.", exc_info=task.exception())

        source.add_done_callback(closed)

    # Control.

    def enforce_control_soon(self, tenant: str | None) -> None:
        """Have the control of a tenant (None: of all) enforced on what is attached here.

        However often this is asked for meanwhile, the look that follows answers it once.
        """
        self._unenforced.add(tenant)
        if self._enforcing is None or self._enforcing.done():
            self._enforcing = self.loop.create_task(
                self._enforce_pending(), name="resumable_streams.enforce", context=Context()
            )

    async def _enforce_pending(self) -> None:
        while self._unenforced or self._unjudged:
            tenants, self._unenforced = self._unenforced, set()
            chosen, self._unjudged = self._unjudged, set()
            chosen &= set(self.hub.tails)
            chosen |= {tail for tail in self.hub.tails if {None, tail.key.tenant} & tenants}
            try:
                self._unjudged = await self.enforce_control(chosen)
            except Exception:  # control that is not enforced would be worse than a busy log
                logger.exception("Applying a change of control failed; retrying.")
                self._unjudged = chosen
            if self._unjudged:
                await asyncio.sleep(ENFORCE_AGAIN_SECONDS)

    async def enforce_control(self, tails: Collection[Tail]) -> set[Tail]:
        """End readers and producers of streams that were rotated away, revoked or purged.

        Returns those that could not be looked up: they go on, for now.
        """
        if not tails:
            return set()
        pairs = list({(tail.key.tenant, tail.info.owner) for tail in tails})
        # What has ended is not watched any more, but may be in the window of a slow reader.
        infos, found = await asyncio.gather(
            self.store.status([tail.key for tail in tails]),
            asyncio.gather(*(self._get_control(*pair) for pair in pairs)),
        )
        controls = dict(zip(pairs, found, strict=True))
        endings, unjudged = [], set()
        for tail, outcome in zip(tails, infos, strict=True):
            match controls[tail.key.tenant, tail.info.owner], outcome:
                case (StoreUnavailable() as trouble, _) | (_, StoreUnavailable() as trouble):
                    if trouble.is_final:
                        tail.fail(trouble)  # what nobody may look up is served to nobody
                    else:
                        unjudged.add(tail)
                case Control() as control, _:
                    if reason := _reason_to_end(control, tail, known(outcome)):
                        endings.append(self._end(tail, reason))
        await asyncio.gather(*endings)
        return unjudged

    async def _get_control(self, tenant: str, owner: Owner) -> Control | StoreUnavailable:
        """Return what is in force for an owner, or what keeps it from being known."""
        try:
            return await self.store.get_control(tenant, owner)
        except StoreUnavailable as error:
            return error

    async def _end(self, tail: Tail, reason: CutOff | ErrorCode) -> None:
        """End the readers first, so that they hear of it; then the producer.

        Readers are never told which act of an operator it was, receivers of the end are.
        """
        tail.cut_off = reason if isinstance(reason, CutOff) else ""
        # Released before `fail`, which would stop it too early: it would find the stream streaming,
        # take it for somebody else's by now, and tell no end.
        stop = tail.release_producer()
        tail.fail(StreamFailed(ErrorCode.EXPIRED))
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

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the home loop of this engine, and wait; for threads without a loop."""
        return AskingThread().wait_for(self.submit(coroutine))

    def release_readers(self) -> None:
        for tail in self.hub.tails:
            tail.dismiss()

    async def retire(self) -> None:
        """Send readers elsewhere, interrupt what is produced, and close everything."""
        self._is_retired = True
        self.release_readers()
        await asyncio.sleep(0)  # a producer that is cancelled before its first step ends nothing
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
        await self.lasting.aclose()
        for task in self._closing:
            task.cancel()
        await self.leases.aclose()
        await self.hub.aclose()
        await self.store.aclose()


def _reason_to_end(
    control: Control, tail: Tail, info: StreamInfo | None
) -> CutOff | ErrorCode | None:
    """Return why the stream of a tail is served no more; None if it is."""
    if tail.own(info) is None:
        return ErrorCode.EXPIRED
    if control.admits(tail.info):
        return None
    is_older = tail.key.generation < (control.generation or 0)
    return CutOff.ROTATED if is_older else CutOff.REVOKED


def _have_platform_wait(wait_until: str, task: asyncio.Task[None]) -> None:
    """Tell a platform that tears handlers down which task to wait for."""
    try:
        import_string(wait_until)(task)
    except (Exception, SystemExit):
        logger.exception("WAIT_UNTIL failed; the producer goes on.")


def get_engine(alias: str) -> Engine:
    """Return the engine of `alias`; call it on the home loop (`runtime.call`).

    Without a home loop yet, the running one becomes it, if it lasts.
    """
    if runtime.home() is not asyncio.get_running_loop():
        raise RuntimeError("An engine lives on the home loop: go there with `runtime.call`.")
    engine = runtime.resources.get(alias)
    if not isinstance(engine, Engine):
        # What it starts works for everybody: it keeps no context, and so no request, alive.
        engine = runtime.resources[alias] = Context().run(Engine, get_settings(alias))
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
