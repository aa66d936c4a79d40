"""One call of `arun` or `aenqueue`: be elected and have the stream produced, or join it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .conf import AliasSettings
from .control import read_control, validate_ttl
from .engine import Engine
from .engine.elections import abandon, elect, secure
from .engine.reader import StreamReader
from .engine.slots import SlotEntry, SlotLost, SlotTurn
from .exceptions import (
    ShuttingDown,
    StoreUnavailable,
    StreamDoesNotExist,
    StreamLimitExceeded,
)
from .identifiers import slot_of, validate_slot
from .permissions import StreamAddress, judge, name_of, tell_checked
from .producing.sources import Source
from .producing.telling import Ending
from .signals import owner_bound, stream_acquired
from .stores.processes import new_waiting
from .types import (
    CancellationReason,
    Claim,
    Control,
    ErrorCode,
    OnBusy,
    Owner,
    Role,
    StreamInfo,
    StreamKey,
    StreamStatus,
    Terms,
)

__all__ = ["Here", "Production", "Run", "make_terms"]

MAX_ATTRS_BYTES = 4_096
SLOT_AGAIN_SECONDS = 0.02


class Production(Protocol):
    """How the stream is produced once its claim is won."""

    def waits(self, engine: Engine) -> float:
        """Return how many seconds the stream may wait for its producer; 0 if it starts here."""

    async def start(
        self, engine: Engine, key: StreamKey, claim: Claim, info: StreamInfo, control_version: int
    ) -> None:
        """Have it produced."""


@dataclass(frozen=True, slots=True)
class Here:
    """Production in this process."""

    source: Source

    def waits(self, engine: Engine) -> float:
        return 0

    async def start(
        self, engine: Engine, key: StreamKey, claim: Claim, info: StreamInfo, control_version: int
    ) -> None:
        engine.produce(claim, info, self.source, control_version=control_version)


class Run:
    """One attempt to start a stream, in the name of its owner; on the home loop."""

    def __init__(
        self,
        engine: Engine,
        address: StreamAddress,
        production: Production,
        terms: Terms,
        names: Sequence[Owner],
        request: Any,
        on_busy: OnBusy = OnBusy.JOIN,
    ):
        self._engine = engine
        self._address = address
        self._production = production
        self._terms = terms
        self._names = names  # who asks; the first one owns what is started
        self._request = request
        self._on_busy = on_busy
        self._entry: SlotEntry | None = None
        self._control_version = engine.hub.control_version

    async def start(self, *, default_ttl: bool) -> StreamReader:
        """Return a reader of the stream from byte 0, as its producer or not.

        With `default_ttl` the TTL of the tenant, if it has one, comes before that of the terms.
        """
        engine, tenant = self._engine, self._address.tenant
        control = await read_control(engine, tenant, self._terms.owner, acquiring=self._terms.ttl)
        terms = replace(self._terms, seen_mark=control.revoked_at or 0.0)
        if default_ttl and control.ttl is not None:
            terms = _with_ttl(terms, engine.settings, control.ttl)
        self._terms = terms
        if terms.ttl > control.longest_ttl:  # a revocation has to outlive what it revokes
            # With the generation: if the key is lost right now, it must not begin at 1 again.
            await engine.store.set_control(
                tenant, generation=control.generation, longest_ttl=terms.ttl
            )
        key = self._address.key(control)
        if terms.slot:
            self._entry = await self._enter(key)
        # A cancellation between the election and the start of the producer would leave a claim that
        # nobody uses until its lease runs out, so the two are one uncancellable step.
        while True:
            election = asyncio.create_task(
                self._elect(key, control),
                name=f"resumable_streams.election {self._address.stream_id}",
            )
            election.add_done_callback(lambda done: done.cancelled() or done.exception())
            reader = await asyncio.shield(election)
            if reader is not None:
                return reader
            await asyncio.sleep(SLOT_AGAIN_SECONDS)

    async def _enter(self, key: StreamKey) -> SlotEntry:
        name, owner = self._terms.slot, self._terms.owner
        others = [
            (one, slot_of(key, one, name), await read_control(self._engine, key.tenant, one))
            for one in self._names
            if one != owner
        ]
        return SlotEntry(
            self._engine,
            slot_of(key, owner, name),
            owner=owner,
            others=others,
            on_busy=self._on_busy,
            ttl=self._terms.ttl,
            request=self._request,
        )

    async def _elect(self, key: StreamKey, control: Control) -> StreamReader | None:
        """Return a reader; None if somebody else is about to take our slot, or took it."""
        engine, entry = self._engine, self._entry
        claim, wait = Claim(holder=await engine.leases.ready()), self._production.waits(engine)
        if wait:
            claim = replace(claim, holder=new_waiting())
        if entry is not None:
            turn = await entry.take(key, claim.epoch, control)
            if turn is SlotTurn.AGAIN:
                return None
            if isinstance(turn, StreamInfo):
                owner = name_of(turn, self._names)
                await tell_checked(engine, turn.key, owner, "run", "match", self._request)
                return await self._join(turn)
        try:
            acquisition = await elect(engine, key, claim, self._terms)
            info = acquisition.info
            if acquisition.role is Role.PRODUCER:
                info = await self._produce(key, claim, info, wait)
                return self._reader(info, Role.PRODUCER)
        except SlotLost:
            return None
        except BaseException:
            if entry is not None:
                entry.leave_soon(claim.epoch)
            raise
        if entry is not None:
            await entry.leave(claim.epoch)
        if await self._is_in_the_way(key, info, name_of(info, self._names), control):
            return await self._elect(key, control)
        return await self._join(info)

    async def _join(self, info: StreamInfo) -> StreamReader:
        owner = name_of(info, self._names)
        await self._tell_acquired(info.key, owner, Role.CONSUMER, info)
        return self._reader(info, Role.CONSUMER)

    def _reader(self, info: StreamInfo, role: Role) -> StreamReader:
        return StreamReader(
            self._engine, info.key, info, role=role, control_version=self._control_version
        )

    async def _produce(
        self, key: StreamKey, claim: Claim, info: StreamInfo, wait: float
    ) -> StreamInfo:
        engine = self._engine
        info = await secure(engine, info, claim, self._terms, wait=wait)
        try:
            await self._announce(key, info)
            if self._entry is not None:  # nothing between this and the start may take time
                await self._entry.settle(info)
            await self._production.start(engine, key, claim, info, self._control_version)
        except Exception as error:
            # Nothing was started, so a later run is to be elected as if this had never been.
            await abandon(engine, info, _refused(info, error))
            raise
        return info

    async def _is_in_the_way(
        self, key: StreamKey, info: StreamInfo, owner: Owner, control: Control
    ) -> bool:
        """Remove a stream of our own that nobody can reach any more; return whether it was one.

        Raises StreamDoesNotExist for one that we may not join.
        """
        engine = self._engine
        if owner != self._terms.owner:
            control = await read_control(engine, key.tenant, owner)
        outcome = await judge(engine, key, info, owner, "run", control)
        is_own = outcome == "revoked" and info.owner == owner
        if is_own and await engine.store.delete(key, epoch=info.epoch):
            return True
        await tell_checked(engine, key, owner, "run", outcome, self._request)
        if outcome != "match":
            raise StreamDoesNotExist
        return False

    async def _announce(self, key: StreamKey, info: StreamInfo) -> None:
        """Tell of an election before its producer starts: any receiver may refuse it."""
        try:
            await self._engine.notify(
                owner_bound, key, info.owner, epoch=info.epoch, request=self._request
            )
        finally:  # both are sent in any case: who counts what starts is told of its end, too
            await self._tell_acquired(key, info.owner, Role.PRODUCER, info)

    async def _tell_acquired(
        self, key: StreamKey, owner: Owner, role: Role, info: StreamInfo
    ) -> None:
        await self._engine.notify(
            stream_acquired,
            key,
            owner,
            epoch=info.epoch,
            role=role,
            attrs=info.attrs,
            request=self._request,
        )


def make_terms(
    settings: AliasSettings,
    owner: Owner,
    ttl: float | None,
    attrs: Mapping[str, str] | None,
    slot: str | None = None,
) -> Terms:
    """Return the terms of a new stream; raise ValueError or TypeError for impossible ones."""
    ttl = settings.ttl if ttl is None else ttl
    validate_ttl(settings, ttl)
    attrs = dict(attrs or {})
    texts: list[object] = [text for item in attrs.items() for text in item]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("attrs maps strings to strings.")
    if sum(len(name) + len(value) for name, value in attrs.items()) > MAX_ATTRS_BYTES:
        raise ValueError(f"attrs holds at most {MAX_ATTRS_BYTES} characters.")
    name = "" if slot is None else validate_slot(slot)
    terms = Terms(owner=owner, ttl=ttl, finished_ttl=ttl, pending=ttl, slot=name, attrs=attrs)
    return _with_ttl(terms, settings, ttl)


def _with_ttl(terms: Terms, settings: AliasSettings, ttl: float) -> Terms:
    finished_ttl = ttl if settings.finished_ttl is None else min(ttl, settings.finished_ttl)
    pending = min(ttl, settings.election)
    return replace(terms, ttl=ttl, finished_ttl=finished_ttl, pending=pending)


def _refused(info: StreamInfo, error: Exception) -> Ending:
    """Return the end of a stream that was announced and not started."""
    if isinstance(error, SlotLost):
        code = CancellationReason.REPLACED
        return Ending(status=StreamStatus.CANCELLED, error_code=code, owner=info.owner)
    return Ending(
        status=StreamStatus.ERROR,
        error_code=_refusal_code(error),
        owner=info.owner,
        failure=error,
    )


def _refusal_code(error: Exception) -> ErrorCode:
    match error:
        case ShuttingDown():
            return ErrorCode.INTERRUPTED
        case StreamLimitExceeded():
            return ErrorCode.LIMIT_EXCEEDED
        case StoreUnavailable():
            return ErrorCode.STORE_UNAVAILABLE
        case _:
            return ErrorCode.HOOK_FAILED
