"""Streams whose callers leave in the middle of a verb, and what has to be true a moment later.

Nothing hangs, nothing is left, and every end was told once. What each verb may have come to is said
by `verbs`.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from resumable_streams import signals as s
from resumable_streams.engine import Engine, get_engine
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import StreamSignal, inline
from resumable_streams.stores.base import known
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.stores.redis.keys import decode_holdings
from resumable_streams.types import Holding, Role, StreamInfo, StreamKey

from ..tools.cancelling import Cut, Outcome, cut
from ..tools.processes import judge
from ..tools.sources import Tap
from ..tools.waiting import eventually

__all__ = ["ALIASES", "PLACES", "Stream", "World"]

ALIASES = ("default", "elsewhere")
PLACES = 3  # MAX_STREAMS
HANGS_SECONDS = 20.0

LASTING = (
    "resumable_streams.leases",
    "resumable_streams.hub.sweep",
    "resumable_streams.connection.read",
    "resumable_streams.connection.write",
    "resumable_streams.redis.feed",
    "resumable_streams.producer ",
    "resumable_streams.source ",
)
"""The tasks that a process has at rest, and those of what it produces."""


class Refusal(Exception):
    """What a receiver raises that refuses a stream."""


@dataclass(slots=True, eq=False)
class Stream:
    """One incarnation as it was seen last, and what produces it.

    That is a source of ours, an `order` that waits, or a process that is `dead`; of what `is_lost`
    the store does not know any more that somebody held it.
    """

    info: StreamInfo
    tap: Tap = field(default_factory=Tap)
    order: str | None = None
    dead: str | None = None
    is_lost: bool = False
    is_gone: bool = False

    @property
    def is_live(self) -> bool:
        return self.info.is_streaming and not self.is_gone

    @property
    def is_nobodys(self) -> bool:
        """Whether no process that lives answers for it: its end is told once the time is over."""
        return self.order is not None or self.dead is not None

    @property
    def is_produced(self) -> bool:
        return self.is_live and self.order is None and self.dead is None


@dataclass
class World:
    """Two processes, the streams that were started in them, and what receivers have been told.

    Receivers await something, so that a verb can be cancelled while they are told.
    """

    tenant: str
    redis: Redis | None = None
    streams: list[Stream] = field(default_factory=list)
    told: dict[StreamSignal, Counter[str]] = field(default_factory=dict)
    is_refusing: bool = False
    was_cut: Counter[str] = field(default_factory=Counter)
    trouble: str = ""

    def open(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        asyncio.get_running_loop().set_default_executor(self._thread)
        for signal in (
            s.stream_acquired,
            s.stream_finalized,
            s.stream_cancelled,
            s.stream_deleted,
        ):
            self.told[signal] = Counter()
            signal.connect(self._count)
            signal.connect(self._dawdle)

    @inline
    def _count(self, *, signal: StreamSignal, epoch: str, **named: Any) -> None:
        if named.get("role", Role.PRODUCER) is Role.PRODUCER:
            self.told[signal][epoch] += 1
        if self.is_refusing and signal is s.stream_acquired:
            raise Refusal

    async def _dawdle(self, **named: Any) -> None:
        await asyncio.sleep(0)

    async def aclose(self) -> None:
        """End what is left, as a deploy does, and what is nobody's: then all is told."""
        try:
            await self._end_what_is_nobodys()
            await runtime.aclose()
        finally:
            for signal in self.told:
                signal.disconnect(self._count)
                signal.disconnect(self._dawdle)
        await self.rest()
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    async def _end_what_is_nobodys(self) -> None:
        engine = get_engine("default")
        me = await engine.leases.ready()
        for stream in self.streams:
            if stream.is_nobodys and not stream.is_lost:
                holder = stream.dead or stream.info.holder
                self.pass_deadlines(holder)
                await engine.takeover.take(holder)
                stream.order, stream.dead = None, None
        judge(engine)
        lost = [one.info for one in self.streams if one.is_lost and one.is_live]
        await engine.takeover.end_orphans(lost)
        assert await engine.leases.ready() == me
        await self.settle()

    # Where we are.

    async def generation(self) -> int:
        control = await get_engine("default").store.get_control(self.tenant, "ada")
        return control.generation or 1

    async def key(self, stream_id: str) -> StreamKey:
        return StreamKey(
            tenant=self.tenant, generation=await self.generation(), stream_id=stream_id
        )

    async def look(self, stream_id: str) -> StreamInfo | None:
        return await get_engine("default").store.look(await self.key(stream_id))

    async def find(self, stream_id: str) -> Stream | None:
        """Return the stream that an id leads to now."""
        info = await self.look(stream_id)
        if info is None:
            return None
        (found,) = [one for one in self.streams if one.info.epoch == info.epoch]
        found.info = info
        return found

    async def call(self, name: str, work: Coroutine[Any, Any, Any], where: Cut) -> Outcome[Any]:
        """Call a verb that is cancelled there, and wait for what goes on without its caller."""
        async with asyncio.timeout(HANGS_SECONDS):
            outcome = await cut(work, where)
        self.was_cut[name] += outcome.was_cut
        await self.rest()
        return outcome

    async def rest(self) -> None:
        """Return once nothing is at work but what always is, and what is produced."""

        def is_quiet() -> bool:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            return all(task.get_name().startswith(LASTING) for task in others)

        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        await eventually(is_quiet, seconds=HANGS_SECONDS)

    # What has to be true.

    async def settle(self) -> None:
        """Wait until all is in order; what never is, is a defect."""

        async def is_in_order() -> bool:
            await self._look_at_all()
            self.trouble = await self._find_trouble()
            return not self.trouble

        try:
            await eventually(is_in_order, seconds=HANGS_SECONDS)
        except AssertionError:
            raise AssertionError(self.trouble) from None

    async def _look_at_all(self) -> None:
        outcomes = await get_engine("default").store.status([one.info.key for one in self.streams])
        for stream, info in zip(self.streams, map(known, outcomes), strict=True):
            if info is None or info.epoch != stream.info.epoch:
                stream.is_gone = True
            else:
                stream.info = info

    async def _find_trouble(self) -> str:
        """Say what is not as it has to be; nothing where all is well."""
        acquired, ended = self.told[s.stream_acquired], self.told[s.stream_finalized]
        for stream in self.streams:
            times = ended[stream.info.epoch]
            if times != int(not stream.is_live) and not (stream.is_nobodys and times == 0):
                return f"told {times} times: {stream}"
        live = {one.info.epoch for one in self.streams if one.is_live}
        untold = live | {one.info.epoch for one in self.streams if one.is_nobodys}
        if not live - self._dead <= set(acquired - ended) <= untold:
            return f"acquired, and its end was never told: {acquired - ended}; live is {live}"
        if ended and max(ended.values()) > 1:
            return f"told more than once: {ended}"
        return (
            await self._find_barred()
            or await self._find_leftovers(live)
            or next(filter(None, map(self._find_left_in, map(get_engine, ALIASES))), "")
        )

    async def _find_barred(self) -> str:
        """Name a stream that is out of everybody's reach, and produced."""
        for stream in self.streams:
            if stream.is_produced and await self.is_barred(stream):
                return f"revoked, and produced: {stream}"
        return ""

    async def is_barred(self, stream: Stream) -> bool:
        store = get_engine("default").store
        control = await store.get_control(self.tenant, stream.info.owner)
        return not control.admits(stream.info)

    async def _find_leftovers(self, live: set[str]) -> str:
        """Name places and holdings of what has ended, or what lives without."""
        engine = get_engine("default")
        counted = {one.epoch for one in await engine.store.live(self.tenant)}
        ended = self.told[s.stream_finalized]
        held = live | {o.info.epoch for o in self.streams if o.is_nobodys} - ended.keys()
        if counted != held - self._dead:
            return f"places: {counted}; live or not told yet: {held}"
        holdings, telling = self._holdings(engine)
        if Counter(one.epoch for one in holdings) != Counter(held - self._lost) or telling:
            return f"held: {holdings}; being told: {telling}; live or not told yet: {held}"
        return ""

    @property
    def _dead(self) -> set[str]:
        return {one.info.epoch for one in self.streams if one.dead}

    @property
    def _lost(self) -> set[str]:
        return {one.info.epoch for one in self.streams if one.is_lost}

    def _find_left_in(self, engine: Engine) -> str:
        """Name what a process has left of what has ended."""
        produced = {one.holding.epoch for one in engine.leases._producers}
        if produced != {tail.info.epoch for tail in engine.hub.tails}:
            return f"produced: {produced}; tails: {engine.hub.tails}"
        if any(tail.readers for tail in engine.hub.tails):
            return "a tail has readers that are gone"
        if engine._closing or engine.left_behind.total():
            return f"being closed: {engine._closing}, {engine.left_behind}"
        return ""

    def _holdings(self, engine: Engine) -> tuple[list[Holding], list[Holding]]:
        """Return what all processes hold, and what they tell."""
        if isinstance(engine.store, MemoryStore):
            table = engine.store._space.table
            held = [one for members in table.held.values() for one in members]
            return held, [one for members in table.telling.values() for one in members]
        assert isinstance(engine.store, RedisStore)
        keys = engine.store.keys
        return self._members(keys.shared("held:")), self._members(keys.shared("telling:"))

    def _members(self, prefix: str) -> list[Holding]:
        assert self.redis is not None
        names = list(self.redis.scan_iter(f"{prefix}*", count=10_000))
        sets: list[set[bytes]] = [self.redis.smembers(name) for name in names]  # type: ignore[misc]
        return decode_holdings(member for members in sets for member in members)

    def pass_deadlines(self, process: str) -> None:
        """Let the lease of a process run out, or that of whoever takes it over."""
        store = get_engine("default").store
        if isinstance(store, MemoryStore):
            table = store._space.table
            for deadlines in (table.processes, table.waiting, table.dying):
                if process in deadlines:
                    deadlines[process] = 0.0
            return
        assert isinstance(store, RedisStore)
        assert self.redis is not None
        for name in ("processes", "waiting", "dying"):
            self.redis.zadd(store.keys.shared(name), {process: 1}, xx=True)
