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
from .exceptions import (
    ShuttingDown,
    StoreUnavailable,
    StreamDoesNotExist,
    StreamLimitExceeded,
)
from .permissions import StreamAddress, judge, name_of, tell_checked
from .producing.sources import Source
from .producing.telling import Ending
from .signals import owner_bound, stream_acquired
from .stores.processes import WAITING
from .types import (
    Claim,
    Control,
    ErrorCode,
    Owner,
    Role,
    StreamInfo,
    StreamKey,
    StreamStatus,
    Terms,
)

__all__ = ["Here", "Production", "Run", "make_terms"]

MAX_ATTRS_BYTES = 4_096


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
    ):
        self._engine = engine
        self._address = address
        self._production = production
        self._terms = terms
        self._names = names  # who asks; the first one owns what is started
        self._request = request
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
        # A cancellation between the election and the start of the producer would leave a claim that
        # nobody uses until its lease runs out, so the two are one uncancellable step.
        election = asyncio.create_task(
            self._elect(self._address.key(control), control),
            name=f"resumable_streams.election {self._address.stream_id}",
        )
        election.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(election)

    async def _elect(self, key: StreamKey, control: Control) -> StreamReader:
        engine = self._engine
        claim, wait = Claim(holder=await engine.leases.ready()), self._production.waits(engine)
        if wait:
            claim = replace(claim, holder=f"{WAITING}{claim.epoch}")
        acquisition = await elect(engine, key, claim, self._terms)
        info = acquisition.info
        if acquisition.role is Role.PRODUCER:
            info = await self._produce(key, claim, info, wait)
        else:
            owner = name_of(info, self._names)
            if await self._is_in_the_way(key, info, owner, control):
                return await self._elect(key, control)
            await self._tell_acquired(key, owner, acquisition.role, info)
        return StreamReader(
            engine, key, info, role=acquisition.role, control_version=self._control_version
        )

    async def _produce(
        self, key: StreamKey, claim: Claim, info: StreamInfo, wait: float
    ) -> StreamInfo:
        engine = self._engine
        info = await secure(engine, info, claim, self._terms, wait=wait)
        try:
            await self._announce(key, info)
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
    settings: AliasSettings, owner: Owner, ttl: float | None, attrs: Mapping[str, str] | None
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
    terms = Terms(owner=owner, ttl=ttl, finished_ttl=ttl, pending=ttl, attrs=attrs)
    return _with_ttl(terms, settings, ttl)


def _with_ttl(terms: Terms, settings: AliasSettings, ttl: float) -> Terms:
    finished_ttl = ttl if settings.finished_ttl is None else min(ttl, settings.finished_ttl)
    pending = min(ttl, settings.election)
    return replace(terms, ttl=ttl, finished_ttl=finished_ttl, pending=pending)


def _refused(info: StreamInfo, error: Exception) -> Ending:
    """Return the end of a stream that was announced and not started."""
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
