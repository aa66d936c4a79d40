"""The contract every store keeps.

A store holds, for each `StreamKey`, a state and an append-only byte log, and tells the watchers of
a stream about appended bytes. It is async only and runs on one event loop, the home loop.

Every verb is atomic: it happens as a whole or not at all, whenever the caller is cancelled or the
connection breaks. A verb whose answer was lost may be repeated with the same arguments:

    acquire     the same claim is told "producer" again
    reclaim     the same claim is handed the stream again
    append      bytes that are already there are skipped
    finalize    the same claim gets the state it reached
    occupy      the same epoch is told that the slot is its own
    confirm, cancel, delete, expire, purge, reap, settle, touch, vacate   idempotent

A stream is held by a process, and a process lives as long as it renews its lease: see `Processes`.
No verb on a stream looks at a clock to judge its producer.

`testing.StreamStoreContract` holds a store to all of this.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from django.core.checks import CheckMessage

from ..conf import AliasSettings
from ..exceptions import StoreUnavailable, StreamUnreadable
from ..identifiers import DEFAULT_TENANT
from ..types import (
    PUBLIC,
    Acquisition,
    Claim,
    Control,
    Holding,
    Limits,
    Listed,
    Observation,
    Occupant,
    Owner,
    Page,
    Slot,
    StreamInfo,
    StreamKey,
    StreamStatus,
    Terms,
    Verdict,
)
from .processes import Processes

__all__ = [
    "EXAMINE_SECONDS",
    "MAX_APPEND_BYTES",
    "MAX_DEATHS",
    "Backlog",
    "BaseStore",
    "Feed",
    "Finding",
    "Listener",
    "Queue",
    "ServerMemory",
    "control_life",
    "known",
]

MAX_APPEND_BYTES = 262_144
"""What one append carries at most, so that a push message stays small."""

EXAMINE_SECONDS = 3.0
"""How long one question of the doctor waits for its answer."""

MAX_DEATHS = 3
"""How many producers in a row may die without a byte more, before the stream is given up."""

MIN_CONTROL_SECONDS = 30 * 86_400.0


def control_life(longest_ttl: float) -> float:
    """Return for how long after an acquire (seconds) a control that says nothing is kept.

    So long that no stream of the tenant is left then, unless one was produced all the while.
    """
    return max(MIN_CONTROL_SECONDS, 4 * longest_ttl)


Finding = StreamInfo | StreamUnreadable | StoreUnavailable | None
"""What a look at one stream finds; None where it is missing."""


def known(outcome: Finding) -> StreamInfo | None:
    """Return the state; None where it is missing or unreadable, and raise StoreUnavailable."""
    if isinstance(outcome, StoreUnavailable):
        raise outcome
    return None if isinstance(outcome, StreamUnreadable) else outcome


class Listener(Protocol):
    """The receiver of a feed's news; called on the home loop, must not block or raise."""

    def appended(self, key: StreamKey, epoch: str, offset: int, data: bytes) -> None:
        """Hear that `data` is stored from `offset` on, in the incarnation `epoch`."""

    def disturbed(self, key: StreamKey) -> None:
        """Hear that news of `key` may have been missed, or that its state changed: look.

        Sent for every confirmed subscription (the first and after each reconnect), for every end,
        and when an operator or another process acted on the stream.
        """

    def control_changed(self, tenant: str | None) -> None:
        """Hear that control changed in a tenant (None: perhaps in any)."""


class Feed(ABC):
    """The news of the watched streams, pushed to one listener over constant connections."""

    @abstractmethod
    def watch(self, key: StreamKey) -> None:
        """Start to push `key`; once that holds, the listener hears `disturbed(key)`."""

    @abstractmethod
    def unwatch(self, key: StreamKey) -> None:
        """Stop to push `key`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the feed and its connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The orders of a queue at one moment.

    `waiting` were given to no worker yet, the oldest of them `oldest_age` seconds ago (0 without
    any); `taken` are with a worker, or were when it died. `workers` counts the living ones.
    """

    waiting: int = 0
    taken: int = 0
    oldest_age: float = 0.0
    workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMemory:
    """The memory that a server uses, and its limit (infinite without one), in bytes."""

    used: int
    limit: float = math.inf


class Queue(ABC):
    """The orders for workers, each handed out at least once; fencing makes once of it."""

    @abstractmethod
    async def put(self, order: bytes) -> None:
        """Add an order; raises StreamLimitExceeded when too many are waiting."""

    @abstractmethod
    async def take(self, *, wait: float, idle: float) -> tuple[str, bytes] | None:
        """Return an order and its ticket, or None after `wait` seconds.

        An order that another worker took, and neither kept nor did for `idle` seconds, is handed
        out again.
        """

    @abstractmethod
    async def keep(self, tickets: Sequence[str]) -> None:
        """Say that these orders are being worked on."""

    @abstractmethod
    async def done(self, ticket: str) -> None:
        """Remove an order."""

    @abstractmethod
    async def backlog(self, *, alive: float) -> Backlog:
        """Count the orders; a worker is alive if it was heard of in the last `alive` seconds."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connection that waits."""


class PendingAppend(Protocol):
    """An append that nobody awaits; its methods do not raise."""

    def take(self) -> tuple[int, bytes, int] | None:
        """Return offset, bytes and the number of chunks, as they leave; None: nothing any more."""

    def answered(self, is_stored: bool) -> None:
        """Hear of it, once, if `take` returned bytes or nobody will ask for any.

        False says that nobody knows: `append` them at that offset, and learn why.
        """


class BaseStore(ABC):
    """The keeper of the state and the bytes of streams.

    The constructor's keywords beyond the first four are the schema of `OPTIONS`; a store that
    cannot work with what it was given raises InvalidStoreError there, before any I/O.
    Every verb but `status` raises StoreUnavailable when the store does not answer, and
    StoreForbidden when it refuses the user we come as. A state that cannot be read is missing: None
    where that is an answer, else StreamUnreadable, which is a StreamDoesNotExist.
    """

    outlives_process: ClassVar[bool] = True
    """Whether streams are still there after a restart, so that their generation has to be, too."""

    def __init__(self, *, alias: str, key_prefix: str, location: str | None, limits: Limits):
        self.alias = alias
        self.key_prefix = key_prefix
        self.location = location
        self.limits = limits

    def check(self, settings: AliasSettings, *, deploy: bool) -> list[CheckMessage]:
        """Return messages for Django's system checks about this store, as `settings` set it up.

        With `deploy`, return those of `manage.py check --deploy` only. Connect to nothing: that is
        for `examine`. An override names ids of its own app.
        """
        return []

    async def examine(self) -> list[Observation]:
        """Return what `manage.py resumable_streams doctor` says of this store.

        Raise nothing, and take a few seconds at most: what cannot be found out is an observation,
        and keeps nothing else from being found out. An override leaves out the alias.
        """
        try:
            async with asyncio.timeout(EXAMINE_SECONDS):
                await self.get_control(DEFAULT_TENANT, PUBLIC)
        except StoreUnavailable as error:
            found = error.diagnosis
            message = found.words or error.reason or "The store is unavailable."
            return [
                Observation(
                    check="reach", verdict=Verdict.FAULT, message=message, remedy=found.remedy
                )
            ]
        except TimeoutError:
            message = f"The store gave no answer in {EXAMINE_SECONDS:g} seconds."
            return [Observation(check="reach", verdict=Verdict.FAULT, message=message)]
        return [Observation(check="reach", verdict=Verdict.FINE, message="The store answers.")]

    def prefix_of(self, tenant: str, generation: int) -> str:
        """Return the beginning of the keys of a tenant's streams, for people to read."""
        return f"{self.key_prefix}:{tenant}:g{generation}:"

    @abstractmethod
    async def acquire(self, key: StreamKey, claim: Claim, terms: Terms) -> Acquisition:
        """Elect the first caller producer and bind `terms`, in one step.

        An election that nobody confirms is gone after `terms.pending` seconds. Everyone later is a
        consumer and gets the state as it is, also after the end; a consumer has written nothing.
        Whether it may read is for the caller to decide, from `info.owner`.
        """

    @abstractmethod
    async def confirm(self, key: StreamKey, claim: Claim) -> bool:
        """Give an election its real TTL, once somebody answers for it; False if it is gone."""

    @abstractmethod
    async def reclaim(
        self, key: StreamKey, held: str, claim: Claim, *, silent: str = ""
    ) -> StreamInfo:
        """Hand the incarnation `claim.epoch` to a new producer, and return where it stands.

        The holder of `held`, the token of its claim, hands it over, or it is taken from `silent`, a
        holder that the caller knows to be dead. The former holder of the claim appends nothing
        more. The stream ends as `producer_lost` instead when MAX_DEATHS producers in a row have
        died without a byte more: it is likely what they die of. Raises StreamClaimLost,
        StreamFinalized, StreamDoesNotExist.
        """

    @abstractmethod
    async def reap(
        self, key: StreamKey, epoch: str, *, holder: str, heir: str = "", by: str = ""
    ) -> StreamInfo | None:
        """End the incarnation as `producer_lost` if `holder` holds it; return its state then.

        With `heir` it goes on, held by that; with `by` that is the holder of what has ended. None:
        this incarnation is gone.
        """

    @abstractmethod
    async def append(
        self, key: StreamKey, claim: Claim, offset: int, data: bytes, *, chunks: int = 1
    ) -> int:
        """Store `data` from `offset` on, renew the TTL, push; return the new size.

        Bytes below the end are skipped, so a retry is harmless. `chunks` is how many chunks of
        the source these bytes complete. Raises StreamClaimLost, StreamGap (the log is shorter
        than `offset`), StreamFinalized, StreamLimitExceeded (nothing was stored) and
        StreamDoesNotExist.
        """

    def begin_append(self, key: StreamKey, claim: Claim, append: PendingAppend) -> bool:
        """Append soon what will have come until then; return whether that can be done now.

        Calls `append` later, on the loop. A store that never begins is complete, and slower. One
        that overrides `append` alone is not asked.
        """
        return False

    @abstractmethod
    async def finalize(
        self,
        key: StreamKey,
        claim: Claim,
        status: StreamStatus,
        *,
        size: int | None = None,
        error_code: str = "",
        error: str = "",
    ) -> StreamInfo:
        """End the stream, or return how it had ended before.

        `size` is where the caller believes that the log ends. If it is shorter (the store went
        back in time), the stream goes on and StreamGap names its end, for the caller to send the
        rest again. Raises StreamClaimLost and StreamDoesNotExist, too.
        """

    @abstractmethod
    async def read(self, key: StreamKey, offset: int, limit: int) -> Page | None:
        """Return the state and up to `limit` bytes from `offset`; None when it is missing."""

    @abstractmethod
    async def status(self, keys: Sequence[StreamKey]) -> Sequence[Finding]:
        """Look at `keys` in one batch, and return what was found of each, in their order.

        Nothing is raised: the trouble of one stream, or of its server, stands in its place and does
        not affect the others.
        """

    async def look(self, key: StreamKey) -> StreamInfo | None:
        """Return the state of one stream; None when it is missing or unreadable."""
        return known((await self.status([key]))[0])

    @abstractmethod
    async def delete(self, key: StreamKey, *, epoch: str | None = None) -> bool:
        """Remove the stream at once, its readers end; return whether it was there.

        With `epoch`, only that incarnation: what was acquired since under the same id stays.
        """

    async def purge(self, key: StreamKey) -> bool:
        """Remove the stream, whichever incarnation is there; return whether it was there.

        One of many: whoever calls this announces the tenant when it is done, so a store need not
        tell the readers of each stream that had ended. One that runs ends at once, as by `delete`.
        """
        return await self.delete(key)

    @abstractmethod
    async def touch(self, streams: Sequence[tuple[StreamKey, Claim]]) -> list[bool]:
        """Renew the TTLs of quiet streams in one batch; False where the claim is not held now."""

    @abstractmethod
    async def cancel(
        self, key: StreamKey, *, epoch: str | None = None, code: str = ""
    ) -> StreamInfo | None:
        """End a streaming stream as `cancelled`; return its state, None when it is missing.

        With `epoch`, another incarnation counts as missing. `code` is the error code of that end.
        """

    @abstractmethod
    async def expire(self, key: StreamKey, ttl: float) -> bool:
        """Give all keys of the stream `ttl` seconds from now; return whether it was there."""

    @abstractmethod
    def scan(
        self, tenant: str | None = None, generation: int | None = None
    ) -> AsyncIterator[StreamKey]:
        """Iterate over the streams of a tenant (or all), a generation (or all), in no order.

        A stream that exists during the whole scan is met at least once.
        """

    # Control: what is in force for many streams at once. Every process hears `control_changed`.

    @abstractmethod
    async def get_control(self, tenant: str, owner: Owner, *, keep: float | None = None) -> Control:
        """Return what is in force for the owner now, in one round trip; never from a cache.

        With `keep`, the control key is kept for at least that many seconds from now.
        """

    @abstractmethod
    async def set_control(
        self,
        tenant: str,
        *,
        generation: int | None = None,
        ttl: float | None = None,
        longest_ttl: float | None = None,
    ) -> int:
        """Set what is given, and return the generation in force.

        `generation` and `longest_ttl` only ever grow; `ttl=0` removes the override. A key
        with only the defaults (the first generation, no TTL) expires after
        `control_life(longest_ttl)`.
        """

    @abstractmethod
    async def announce(self, about: str | StreamKey) -> None:
        """Have every process look at a tenant's streams, or at one.

        It is written down first, for the next heartbeat of those whom the push does not reach.
        """

    @abstractmethod
    async def revoke(self, tenant: str, owner: Owner, *, keep: float) -> float:
        """Mark that the owner's streams up to now are revoked; keep the mark `keep` seconds.

        Returns the mark: the time, by the store's clock, and later than any mark before.
        """

    # Live streams, counted and listed.

    @abstractmethod
    async def reserve(self, holding: Holding, *, ttl: float, others: int = 0) -> None:
        """Count the stream as live, until it is released, and enter it into the index of its owner.

        What is neither released nor reserved again is forgotten after twice `ttl` seconds.

        `others` is how much of the owner's limit is taken by what the store does not count. Raises
        StreamLimitExceeded, leaving nothing, if MAX_STREAMS of the tenant or MAX_STREAMS_PER_OWNER
        is reached.
        """

    @abstractmethod
    async def release(self, holding: Holding) -> None:
        """Count the stream as live no longer."""

    @abstractmethod
    async def live(
        self, tenant: str, owner_digest: str | None = None, *, limit: int = 100
    ) -> list[Holding]:
        """Return the oldest streams that count for a tenant, or for one owner in it."""

    @abstractmethod
    async def listed(
        self,
        tenant: str,
        owner_digest: str | None = None,
        *,
        generation: int | None = None,
        after: Listed | None = None,
        limit: int = 100,
    ) -> list[Listed]:
        """Return the live streams of a tenant, or of one owner in it; the newest come first.

        With `generation` and an owner: all streams of that generation, whether they live or not,
        until they are deleted. Some may be gone: their states tell. `after` is the last entry of
        the page before. Takes time in proportion to `limit`, however many streams there are.
        """

    # Slots: at most one live stream of an owner under one name.

    @abstractmethod
    async def occupant(self, slot: Slot) -> Occupant | None:
        """Return what the slot names; whether that lives is for its state to tell."""

    @abstractmethod
    async def occupy(
        self, slot: Slot, *, epoch: str, stream_id: str, seen: Occupant | None, keep: float
    ) -> Occupant | None:
        """Take the slot if its occupant is as it was `seen`; return the occupant then.

        Compared are the epoch and whether it has started: what starts in between keeps the slot.
        It is kept for `keep` seconds.
        """

    @abstractmethod
    async def settle(self, slot: Slot, *, epoch: str, stream_id: str, keep: float) -> bool:
        """Note that the occupant starts, or goes on; False if the slot is another's.

        It is kept for `keep` seconds from now. An empty one, which the store may have lost, is
        taken. From here on nobody takes the slot who has not ended that stream.
        """

    @abstractmethod
    async def vacate(self, slot: Slot, *, epoch: str) -> None:
        """Free the slot if `epoch` is its occupant."""

    @property
    @abstractmethod
    def processes(self) -> Processes:
        """The processes that share this store."""

    def queue(self, worker: str = "") -> Queue | None:
        """Return the queue as the named worker sees it; None where there are no workers."""
        return None

    async def memory(self) -> ServerMemory | None:
        """Return the memory of the fullest server; None where there is no server."""
        return None

    @abstractmethod
    def open_feed(self, listener: Listener) -> Feed:
        """Open the feed of this process."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection."""


Clock = Callable[[], float]
"""Return seconds since the epoch."""
