"""Streams in the memory of one process: for development, tests and single-process sites.

Nothing survives the process and no other process sees it. Within the process it keeps the whole
contract, from any number of threads and event loops: every verb is one critical section without
an await, so a cancellation lands before or after it, never inside.
"""

import asyncio
import heapq
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from django.core.checks import CheckMessage, Warning  # noqa: A004

from ..compat import running_loop
from ..conf import SETTING, AliasSettings
from ..exceptions import (
    StreamClaimLost,
    StreamDoesNotExist,
    StreamError,
    StreamFinalized,
    StreamGap,
    StreamLimitExceeded,
)
from ..identifiers import slot_of
from ..types import (
    Acquisition,
    Claim,
    Control,
    ErrorCode,
    Holding,
    Limits,
    Listed,
    Observation,
    Occupant,
    Owner,
    Page,
    Role,
    Slot,
    StreamInfo,
    StreamKey,
    StreamStatus,
    Terms,
    Verdict,
)
from .base import (
    MAX_DEATHS,
    BaseStore,
    Clock,
    Feed,
    Listener,
    PendingAppend,
    control_life,
)
from .memory_processes import MemoryProcesses, Table
from .processes import Processes

__all__ = ["MemoryStore", "empty_memory"]

INDEX_SLACK = 100
"""How many entries of streams that are gone the index has at least before it is cleared of them."""

MARK_SECONDS = 0.001
"""How much later a mark is at least than the one before it, whatever the clock says."""


@dataclass(slots=True, kw_only=True)
class _Stream:
    claim: Claim
    terms: Terms
    created: float
    expires: float
    holder: str
    status: StreamStatus = StreamStatus.STREAMING
    error_code: str = ""
    error: str = ""
    entries: int = 0
    deaths: int = 0  # of producers in a row, without a byte between
    died_at: int = 0  # the size of the log then
    log: bytearray = field(default_factory=bytearray)
    deadline: tuple[float, int] = (0.0, 0)  # the one entry of `_Space.deadlines` that counts


@dataclass(slots=True, kw_only=True)
class _Occupied:
    epoch: str
    stream_id: str
    since: float
    until: float
    has_started: bool = False


class _Space:
    """The streams of one location and prefix, shared by every store that names them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.streams: dict[StreamKey, _Stream] = {}
        self.feeds: set[_MemoryFeed] = set()
        # (when to look, number of the entry), key: looked at again later if it was refreshed.
        self.deadlines: list[tuple[tuple[float, int], StreamKey]] = []
        self.sequence = 0
        self.controls: dict[str, tuple[Control, float | None]] = {}  # what, kept until
        self.revoked: dict[tuple[str, Owner], tuple[float, float]] = {}  # when, kept until
        self.live: dict[Holding, float] = {}  # when each was counted, in that order
        self.index: dict[Holding, float] = {}  # the same of all streams that may be there
        self.slots: dict[Slot, _Occupied] = {}
        self.table = Table()

    def schedule(self, key: StreamKey, stream: _Stream) -> None:
        """Have the stream looked at when it expires; an entry that it had counts no more."""
        self.sequence += 1
        stream.deadline = (stream.expires, self.sequence)
        heapq.heappush(self.deadlines, (stream.deadline, key))

    def evict(self, now: float) -> None:
        """Drop what has expired; every look-up does it first, so nothing expired is ever seen."""
        while self.deadlines and self.deadlines[0][0][0] <= now:
            deadline, key = heapq.heappop(self.deadlines)
            stream = self.streams.get(key)
            if stream is None or stream.deadline != deadline:
                continue
            if stream.expires <= now:
                del self.streams[key]
                self.disturb(key)
            else:
                self.schedule(key, stream)

    def disturb(self, key: StreamKey) -> None:
        for feed in self.feeds:
            feed.disturb(key)


_spaces: dict[tuple[str, str], _Space] = {}
_spaces_lock = threading.Lock()


@contextmanager
def empty_memory() -> Iterator[None]:
    """Give the stores made in this block a memory without streams, and forget it; for tests."""
    global _spaces
    before, _spaces = _spaces, {}
    try:
        yield
    finally:
        _spaces = before


class MemoryStore(BaseStore):
    """Streams in the memory of this process.

    LOCATION is a name: aliases with the same name and prefix share their streams, as with
    Django's local-memory cache.
    """

    outlives_process = False

    def __init__(
        self,
        *,
        alias: str,
        key_prefix: str,
        location: str | None,
        limits: Limits,
        clock: Clock = time.time,
    ):
        super().__init__(alias=alias, key_prefix=key_prefix, location=location, limits=limits)
        with _spaces_lock:
            self._space = _spaces.setdefault((location or alias, key_prefix), _Space())
        self._clock = clock
        self._processes = MemoryProcesses(self._space.table, self._at)

    def check(self, settings: AliasSettings, *, deploy: bool) -> list[CheckMessage]:
        """W001: with DEBUG off, or with `--deploy` where DEBUG is still on."""
        if settings.debug is not deploy:
            return []
        return [
            Warning(
                f"{SETTING}[{self.alias!r}] keeps its streams in the memory of one process.",
                hint="Another process does not see them, and a restart loses them. Use "
                "resumable_streams.stores.redis.RedisStore.",
                id="resumable_streams.W001",
            )
        ]

    async def examine(self) -> list[Observation]:
        streams = len(self._space.streams)
        message = f"It answers, and keeps {streams:,} streams in the memory of this process alone."
        return [Observation(check="store", verdict=Verdict.FINE, message=message)]

    @property
    def processes(self) -> Processes:
        return self._processes

    @contextmanager
    def _at(self) -> Iterator[float]:
        """Hold the lock at one moment, without anything that has expired by then."""
        with self._space.lock:
            now = self._clock()  # inside: times of different threads are in order, too
            self._space.evict(now)
            yield now

    def _get(self, key: StreamKey, epoch: str | None = None) -> _Stream | None:
        """Return the stream; with `epoch`, of that incarnation only."""
        stream = self._space.streams.get(key)
        return stream if stream and epoch in (None, stream.claim.epoch) else None

    def _held(self, key: StreamKey, claim: Claim) -> _Stream:
        stream = self._get(key)
        if stream is None:
            raise StreamDoesNotExist
        if stream.claim.token != claim.token:
            raise StreamClaimLost
        return stream

    def _touch(self, stream: _Stream, now: float) -> None:
        stream.expires = now + stream.terms.ttl

    def _end(
        self,
        key: StreamKey,
        stream: _Stream,
        now: float,
        status: StreamStatus,
        code: str = "",
        error: str = "",
    ) -> None:
        stream.status, stream.error_code, stream.error = status, code, error
        stream.expires = now + stream.terms.finished_ttl
        self._space.schedule(key, stream)
        self._space.disturb(key)

    def _info(self, key: StreamKey, stream: _Stream, now: float) -> StreamInfo:
        return StreamInfo(
            stream_id=key.stream_id,
            tenant=key.tenant,
            generation=key.generation,
            owner=stream.terms.owner,
            status=stream.status,
            size=len(stream.log),
            entries=stream.entries,
            created=stream.created,
            expires=stream.expires,
            epoch=stream.claim.epoch,
            ttl=stream.expires - now,
            holder=stream.holder,
            grace=stream.terms.grace,
            seen_mark=stream.terms.seen_mark,
            slot=stream.terms.slot,
            error_code=stream.error_code,
            error=stream.error,
            attrs=dict(stream.terms.attrs),
        )

    async def acquire(self, key: StreamKey, claim: Claim, terms: Terms) -> Acquisition:
        with self._at() as now:
            stream = self._get(key)
            if stream is None:
                stream = _Stream(
                    claim=claim,
                    terms=replace(terms, attrs=dict(terms.attrs)),
                    created=now,
                    expires=now + terms.pending,
                    holder=claim.holder,
                )
                self._space.streams[key] = stream
                self._space.schedule(key, stream)
            role = Role.PRODUCER if stream.claim.token == claim.token else Role.CONSUMER
            return Acquisition(role=role, info=self._info(key, stream, now))

    async def confirm(self, key: StreamKey, claim: Claim) -> bool:
        with self._at() as now:
            stream = self._get(key)
            if stream is None or stream.claim.token != claim.token:
                return False
            self._touch(stream, now)
            if stream.expires < stream.deadline[0]:
                self._space.schedule(key, stream)
            return True

    async def reclaim(
        self, key: StreamKey, held: str, claim: Claim, *, silent: str = ""
    ) -> StreamInfo:
        with self._at() as now:
            stream = self._get(key, claim.epoch)
            if stream is None:
                raise StreamDoesNotExist
            if stream.status is not StreamStatus.STREAMING:
                raise StreamFinalized(stream.status)
            if stream.claim.token not in (held, claim.token):
                self._count_death(key, stream, silent, now)
            stream.claim, stream.holder = claim, claim.holder
            self._touch(stream, now)
            self._space.disturb(key)  # readers know the process that held it before
            return self._info(key, stream, now)

    def _count_death(self, key: StreamKey, stream: _Stream, silent: str, now: float) -> None:
        """Count the death of the present producer, if it is dead, and not one too many."""
        if not silent or stream.holder != silent:
            raise StreamClaimLost
        size = len(stream.log)
        stream.deaths = stream.deaths + 1 if stream.died_at == size else 1
        stream.died_at = size
        if stream.deaths >= MAX_DEATHS:
            self._end(key, stream, now, StreamStatus.ERROR, ErrorCode.PRODUCER_LOST)
            raise StreamFinalized(stream.status)

    async def reap(
        self, key: StreamKey, epoch: str, *, holder: str, heir: str = "", by: str = ""
    ) -> StreamInfo | None:
        with self._at() as now:
            stream = self._get(key, epoch)
            if stream is None:
                return None
            if stream.status is StreamStatus.STREAMING and stream.holder == holder:
                if heir:
                    stream.holder = heir
                else:
                    stream.holder = by or holder
                    self._end(key, stream, now, StreamStatus.ERROR, ErrorCode.PRODUCER_LOST)
            return self._info(key, stream, now)

    async def append(
        self, key: StreamKey, claim: Claim, offset: int, data: bytes, *, chunks: int = 1
    ) -> int:
        return self._append(key, claim, offset, data, chunks)

    def _append(self, key: StreamKey, claim: Claim, offset: int, data: bytes, chunks: int) -> int:
        with self._at() as now:
            stream = self._held(key, claim)
            if stream.status is not StreamStatus.STREAMING:
                raise StreamFinalized(stream.status, stream.error_code)
            size = len(stream.log)
            if offset > size:
                raise StreamGap(size)
            fresh = data[size - offset :]
            if fresh:
                self._check_limits(stream, len(fresh), chunks)
                stream.log += fresh
                stream.entries += chunks
            self._touch(stream, now)
            if fresh:
                for feed in self._space.feeds:
                    feed.append(key, stream.claim.epoch, size, fresh)
            return len(stream.log)

    def begin_append(self, key: StreamKey, claim: Claim, append: PendingAppend) -> bool:
        asyncio.get_running_loop().call_soon(self._append_pending, key, claim, append)
        return True

    def _append_pending(self, key: StreamKey, claim: Claim, append: PendingAppend) -> None:
        taken = append.take()
        if taken is None:
            return
        try:
            self._append(key, claim, *taken)
        except StreamError:
            append.answered(False)
        else:
            append.answered(True)

    def _check_limits(self, stream: _Stream, fresh: int, chunks: int) -> None:
        most_bytes = self.limits.max_stream_bytes
        if most_bytes is not None and len(stream.log) + fresh > most_bytes:
            raise StreamLimitExceeded("MAX_STREAM_BYTES", most_bytes)
        most_entries = self.limits.max_entries_per_stream
        if most_entries is not None and stream.entries + chunks > most_entries:
            raise StreamLimitExceeded("MAX_ENTRIES_PER_STREAM", most_entries)

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
        with self._at() as now:
            stream = self._held(key, claim)
            if stream.status is StreamStatus.STREAMING:
                if size is not None and size > len(stream.log):
                    raise StreamGap(len(stream.log))
                self._end(key, stream, now, status, error_code, error)
            return self._info(key, stream, now)

    async def read(self, key: StreamKey, offset: int, limit: int) -> Page | None:
        with self._at() as now:
            stream = self._get(key)
            if stream is None:
                return None
            return Page(
                info=self._info(key, stream, now), data=bytes(stream.log[offset : offset + limit])
            )

    async def status(self, keys: Sequence[StreamKey]) -> list[StreamInfo | None]:
        with self._at() as now:
            found = [(key, self._get(key)) for key in keys]
            return [None if one is None else self._info(key, one, now) for key, one in found]

    async def delete(self, key: StreamKey, *, epoch: str | None = None) -> bool:
        with self._at():
            stream = self._get(key, epoch)
            if stream is None:
                return False
            del self._space.streams[key]
            self._forget(key, stream)
            self._space.disturb(key)
            return True

    def _forget(self, key: StreamKey, stream: _Stream) -> None:
        """Take a deleted stream out of the index of its owner, and out of its slot."""
        epoch, slot = stream.claim.epoch, slot_of(key, stream.terms.owner, stream.terms.slot)
        holding = Holding(key=key, epoch=epoch, owner_digest=slot.owner_digest)
        self._space.index.pop(holding, None)
        found = self._space.slots.get(slot)
        if found is not None and found.epoch == epoch:
            del self._space.slots[slot]

    async def touch(self, streams: Sequence[tuple[StreamKey, Claim]]) -> list[bool]:
        with self._at() as now:
            return [self._touch_held(key, claim, now) for key, claim in streams]

    def _touch_held(self, key: StreamKey, claim: Claim, now: float) -> bool:
        stream = self._get(key)
        if stream is None or stream.claim.token != claim.token:
            return False
        if stream.status is not StreamStatus.STREAMING:
            return False
        self._touch(stream, now)
        return True

    async def cancel(
        self, key: StreamKey, *, epoch: str | None = None, code: str = ""
    ) -> StreamInfo | None:
        with self._at() as now:
            stream = self._get(key, epoch)
            if stream is None:
                return None
            if stream.status is StreamStatus.STREAMING:
                self._end(key, stream, now, StreamStatus.CANCELLED, code)
            return self._info(key, stream, now)

    async def expire(self, key: StreamKey, ttl: float) -> bool:
        with self._at() as now:
            stream = self._space.streams.get(key)
            if stream is None:
                return False
            stream.terms = replace(stream.terms, ttl=ttl, finished_ttl=ttl)
            stream.expires = now + ttl
            self._space.schedule(key, stream)
            return True

    async def scan(
        self, tenant: str | None = None, generation: int | None = None
    ) -> AsyncIterator[StreamKey]:
        with self._at():
            keys = list(self._space.streams)
        for key in keys:
            if tenant in (None, key.tenant) and generation in (None, key.generation):
                yield key

    async def get_control(self, tenant: str, owner: Owner, *, keep: float | None = None) -> Control:
        with self._at() as now:
            control, ends = self._control(tenant, now)
            if keep is not None and ends is not None:
                self._space.controls[tenant] = control, max(ends, now + keep)
            when, until = self._space.revoked.get((tenant, owner), (None, 0.0))
            return replace(control, revoked_at=when if until > now else None)

    def _control(self, tenant: str, now: float) -> tuple[Control, float | None]:
        """Return what governs a tenant, and when that expires; nothing does not."""
        control, ends = self._space.controls.get(tenant, (Control(), None))
        if ends is not None and ends <= now:
            del self._space.controls[tenant]
            return Control(), None
        return control, ends

    async def set_control(
        self,
        tenant: str,
        *,
        generation: int | None = None,
        ttl: float | None = None,
        longest_ttl: float | None = None,
    ) -> int:
        with self._at() as now:
            old, ends = self._control(tenant, now)
            new = Control(
                generation=max(old.generation or 1, generation or 1),
                ttl=old.ttl if ttl is None else ttl or None,
                longest_ttl=max(old.longest_ttl, longest_ttl or 0.0),
            )
            self._evict_controls(now)
            if new.generation == 1 and new.ttl is None:
                ends = max(ends or 0.0, now + control_life(new.longest_ttl))
            else:
                ends = None
            self._space.controls[tenant] = new, ends
            if new.generation != old.generation:
                self._govern(tenant)
            return new.generation or 1

    def _evict_controls(self, now: float) -> None:
        controls = self._space.controls
        for expired in [one for one, (_, ends) in controls.items() if ends and ends <= now]:
            del controls[expired]

    async def announce(self, about: str | StreamKey) -> None:
        with self._at():
            if isinstance(about, str):
                self._govern(about)
            else:
                self._space.disturb(about)

    def _govern(self, tenant: str) -> None:
        for feed in self._space.feeds:
            feed.change_control(tenant)

    async def revoke(self, tenant: str, owner: Owner, *, keep: float) -> float:
        with self._at() as now:
            marks = self._space.revoked
            for expired in [one for one, (_, until) in marks.items() if until <= now]:
                del marks[expired]
            before, _ = marks.get((tenant, owner), (0.0, 0.0))
            mark = max(now, before + MARK_SECONDS)
            marks[tenant, owner] = (mark, now + keep)
            self._govern(tenant)
            return mark

    async def reserve(self, holding: Holding, *, ttl: float, others: int = 0) -> None:
        with self._at() as now:
            space = self._space
            if holding not in space.live:
                self._check_quotas(holding, others)
            space.live.setdefault(holding, now)
            space.index.setdefault(holding, now)
            if len(space.index) > 2 * len(space.streams) + INDEX_SLACK:
                space.index = {one: when for one, when in space.index.items() if self._is_kept(one)}

    def _check_quotas(self, holding: Holding, others: int) -> None:
        owners = [one.owner_digest for one in self._live(holding.key.tenant)]
        most, most_per_owner = self.limits.max_streams, self.limits.max_streams_per_owner
        if most is not None and len(owners) >= most:
            raise StreamLimitExceeded("MAX_STREAMS", most)
        theirs = owners.count(holding.owner_digest) + others
        if most_per_owner is not None and theirs >= most_per_owner:
            raise StreamLimitExceeded("MAX_STREAMS_PER_OWNER", most_per_owner)

    def _is_kept(self, holding: Holding) -> bool:
        return self._get(holding.key, holding.epoch) is not None or holding in self._space.live

    def _live(self, tenant: str) -> list[Holding]:
        return [holding for holding in self._space.live if holding.key.tenant == tenant]

    async def release(self, holding: Holding) -> None:
        with self._at():
            self._space.live.pop(holding, None)

    async def live(
        self, tenant: str, owner_digest: str | None = None, *, limit: int = 100
    ) -> list[Holding]:
        with self._at():
            live = self._live(tenant)
        return [one for one in live if owner_digest in (None, one.owner_digest)][:limit]

    async def listed(
        self,
        tenant: str,
        owner_digest: str | None = None,
        *,
        generation: int | None = None,
        after: Listed | None = None,
        limit: int = 100,
    ) -> list[Listed]:
        with self._at():
            source = self._space.live if generation is None else self._space.index
            entries = [
                Listed(holding=one, when=when)
                for one, when in source.items()
                if one.key.tenant == tenant
                and owner_digest in (None, one.owner_digest)
                and generation in (None, one.key.generation)
            ]
        entries.sort(key=_place, reverse=True)
        if after is not None:
            entries = [one for one in entries if _place(one) < _place(after)]
        return entries[:limit]

    async def occupant(self, slot: Slot) -> Occupant | None:
        with self._at() as now:
            return self._occupant(slot, now)

    def _occupant(self, slot: Slot, now: float) -> Occupant | None:
        found = self._space.slots.get(slot)
        if found is None or found.until <= now:
            self._space.slots.pop(slot, None)
            return None
        return Occupant(
            epoch=found.epoch,
            stream_id=found.stream_id,
            has_started=found.has_started,
            age=now - found.since,
        )

    async def occupy(
        self, slot: Slot, *, epoch: str, stream_id: str, seen: Occupant | None, keep: float
    ) -> Occupant | None:
        with self._at() as now:
            found = self._occupant(slot, now)
            if found is None and seen is not None:
                return None
            if found is not None and not (seen and _is_as_seen(found, seen)):
                return found
            self._evict_slots(now)
            self._space.slots[slot] = _Occupied(
                epoch=epoch, stream_id=stream_id, since=now, until=now + keep
            )
            return self._occupant(slot, now)

    def _evict_slots(self, now: float) -> None:
        slots = self._space.slots
        for expired in [one for one, found in slots.items() if found.until <= now]:
            del slots[expired]

    async def settle(self, slot: Slot, *, epoch: str, stream_id: str, keep: float) -> bool:
        with self._at() as now:
            if self._occupant(slot, now) is None:
                self._space.slots[slot] = _Occupied(
                    epoch=epoch, stream_id=stream_id, since=now, until=now + keep
                )
            found = self._space.slots[slot]
            if found.epoch != epoch:
                return False
            found.has_started, found.until = True, now + keep
            return True

    async def vacate(self, slot: Slot, *, epoch: str) -> None:
        with self._at():
            found = self._space.slots.get(slot)
            if found is not None and found.epoch == epoch:
                del self._space.slots[slot]

    def open_feed(self, listener: Listener) -> Feed:
        feed = _MemoryFeed(self._space, listener)
        with self._space.lock:
            self._space.feeds.add(feed)
        return feed

    async def aclose(self) -> None:
        """Keep the streams: they belong to the process, not to this object."""


def _place(entry: Listed) -> tuple[float, str, str]:
    return round(entry.when, 3), entry.holding.epoch, entry.holding.key.stream_id


def _is_as_seen(found: Occupant, seen: Occupant) -> bool:
    return (found.epoch, found.has_started) == (seen.epoch, seen.has_started)


class _MemoryFeed(Feed):
    """The news of the memory store, handed to the listener on the loop that opened the feed.

    Called with the space's lock held, so that news arrives in the order of the writes.
    """

    def __init__(self, space: _Space, listener: Listener):
        self._space = space
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._watched: set[StreamKey] = set()

    def append(self, key: StreamKey, epoch: str, offset: int, data: bytes) -> None:
        if key in self._watched:
            self._post(self._listener.appended, key, epoch, offset, data)

    def disturb(self, key: StreamKey) -> None:
        self._post(self._listener.disturbed, key)

    def change_control(self, tenant: str) -> None:
        self._post(self._listener.control_changed, tenant)

    def _post(self, callback: Callable[..., None], *args: object) -> None:
        if running_loop() is self._loop:
            self._loop.call_soon(callback, *args)
            return
        with suppress(RuntimeError):  # the listener's loop was closed: nobody listens
            self._loop.call_soon_threadsafe(callback, *args)

    def watch(self, key: StreamKey) -> None:
        with self._space.lock:
            self._watched.add(key)
        self._loop.call_soon(self._listener.disturbed, key)

    def unwatch(self, key: StreamKey) -> None:
        with self._space.lock:
            self._watched.discard(key)

    async def aclose(self) -> None:
        with self._space.lock:
            self._space.feeds.discard(self)
