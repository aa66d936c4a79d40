"""Drive store, producers and readers of two processes against the reference, with faults between.

Each rule does one thing to both, then waits until the package has come to where the reference is:
the state in the store, every byte and the end of every reader. What never comes there is a bug.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from resumable_streams import (
    PUBLIC,
    InvalidOffset,
    SlotBusy,
    StoreUnavailable,
    StreamDoesNotExist,
    StreamFailed,
    StreamManager,
    StreamReader,
)
from resumable_streams.engine import Engine, get_engine
from resumable_streams.engine.handover import take_over
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import inline, stream_finalized
from resumable_streams.stores.base import known
from resumable_streams.types import Claim, Owner, Role, StreamKey

from ..tools.processes import judge
from ..tools.sources import Tap
from ..tools.waiting import eventually, pass_time
from .reference import Reference, Stream
from .worlds import LEASE, TTL, World

__all__ = ["StreamMachine"]

T = TypeVar("T")

STEP_SECONDS = 0.001
TICK_SECONDS = 0.003  # a mark of a revocation has the store's resolution: milliseconds

ids = st.sampled_from(["a", "b", "c"])
owners = st.sampled_from(["ada", "eve", PUBLIC])
aliases = st.sampled_from(["default", "elsewhere"])
slots = st.sampled_from(["chat:1", "chat:2"])
policies = st.sampled_from(["join", "replace", "refuse"])
chunks = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.builds(lambda byte: bytes([byte]) * 300_000, st.integers(0, 255)),  # more than a window
)
numbers = st.integers(0, 1_000_000)


@dataclass(eq=False)
class Reading:
    """One reader, and what it has got; a paused one reads nothing until it goes on."""

    reader: StreamReader
    stream: Stream
    start: int
    received: bytes = b""
    end: str | None = None
    task: "asyncio.Task[None] | None" = None
    is_paused: bool = False
    was_paused: bool = False

    async def read(self) -> None:
        try:
            async for data in self.reader:
                self.received += data
            info = self.reader.info
            self.end = info.error_code or str(info.status)
        except StreamFailed as failure:
            self.end = failure.code

    def go_on(self) -> None:
        self.is_paused = False
        self.task = asyncio.create_task(self.read())

    def has_arrived(self) -> bool:
        expected = self.stream.body[self.start :]
        assert expected.startswith(self.received), "bytes that were never written there"
        if self.end == "expired" and self.stream.is_gone and self.was_paused:
            return True  # it was behind when the stream went
        if self.stream.end != "expired" and self.received != expected:
            assert self.end is None, f"ended {self.end} too early"
            return False
        assert self.end in (None, self.stream.end), f"ended {self.end}, not {self.stream.end}"
        return self.end == self.stream.end


@dataclass(eq=False)
class Production:
    """One producer of one incarnation; a stopped one is a process under SIGSTOP."""

    tap: Tap
    stream: Stream
    alias: str
    claim: Claim
    go: asyncio.Event = field(default_factory=asyncio.Event)
    has_lost_claim: bool = False
    has_ended: bool = False  # its source was told to end

    def __post_init__(self) -> None:
        self.go.set()

    @property
    def is_stopped(self) -> bool:
        return not self.go.is_set()

    @property
    def takes_bytes(self) -> bool:
        return self.stream.is_streaming and not self.has_lost_claim and not self.has_ended


class StreamMachine(RuleBasedStateMachine):
    """Be one run; `world` and `configure` are set by the test."""

    world: ClassVar[World]
    configure: ClassVar[Callable[[dict[str, Any]], None]]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        entry = {"LEASE": LEASE, "SWEEP": 60, "TTL": TTL, "DRAIN_TIMEOUT": 0, **self.world.entry()}
        type(self).configure(entry)
        self.reference = Reference()
        self.generation = 1
        self.readings: list[Reading] = []
        self.productions: list[Production] = []
        self.claims: dict[str, Claim] = {}
        self.faults: list[str] = []
        self.told: Counter[str] = Counter()  # ends, by incarnation
        self.runner = asyncio.Runner()
        self.runner.run(self._open())

    # The package, with a hand on its store.

    async def _open(self) -> None:
        stream_finalized.connect(self._hear_end)
        for alias in ("default", "elsewhere"):
            await StreamManager(alias).astatus("a", owner="ada")
            self._take_hold(get_engine(alias))

    @inline
    def _hear_end(self, *, epoch: str, **named: Any) -> None:
        self.told[epoch] += 1

    def _take_hold(self, engine: Engine) -> None:
        """Have verbs wait for stopped producers, and lose what a rule says."""
        store: Any = engine.store
        acquire, append, finalize, touch = (
            store.acquire, store.append, store.finalize, store.touch,
        )  # fmt: skip

        async def acquiring(key: StreamKey, claim: Claim, terms: Any) -> Any:
            self.claims[claim.token] = claim
            self.last_claim = claim
            return await acquire(key, claim, terms)

        def gated(verb: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
            async def wait_and_lose(key: StreamKey, claim: Claim, *args: Any, **named: Any) -> Any:
                await self._wait_for(claim)
                fault = self.faults.pop() if self.faults else None
                if fault == "before":
                    raise StoreUnavailable("default")
                answer = await verb(key, claim, *args, **named)
                if fault == "after":
                    raise StoreUnavailable("default")
                return answer

            return wait_and_lose

        async def touching(streams: Any) -> Any:
            for _, claim in streams:
                await self._wait_for(claim)
            return await touch(streams)

        store.acquire, store.touch = acquiring, touching
        store.append, store.finalize = gated(append), gated(finalize)

    async def _wait_for(self, claim: Claim) -> None:
        for production in self.productions:
            if production.claim.token == claim.token:
                await production.go.wait()

    def key(self, stream_id: str) -> StreamKey:
        return StreamKey(tenant="default", generation=self.generation, stream_id=stream_id)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out a step, then wait until package and reference agree."""
        type(self).steps += 1

        async def step() -> T:
            answer = await work
            await self._settle()
            return answer

        return self.runner.run(step())

    async def _settle(self) -> None:
        try:
            await eventually(self._has_settled, pause=STEP_SECONDS)
        except AssertionError:
            raise AssertionError(f"never settled: {await self._difference()}") from None
        done = [r for r in self.readings if r.end is not None]
        for reading in done:
            self.readings.remove(reading)

    async def _has_settled(self) -> bool:
        return not await self._difference()

    async def _difference(self) -> str:
        streams = [s for s in self.reference.streams.values() if not s.is_barred]
        keys = [self.key(stream.stream_id) for stream in streams]
        infos = await get_engine("default").store.status(keys)
        for stream, info in zip(streams, map(known, infos), strict=True):
            if info is None:
                return f"{stream.stream_id} is missing"
            end = info.error_code or (None if info.is_streaming else str(info.status))
            if (info.size, end) != (len(stream.body), stream.end):
                return f"{stream.stream_id}: {info.size} {end}, {len(stream.body)} {stream.end}"
        for reading in self.readings:
            is_idle = reading.is_paused or self._is_frozen(reading)
            if not is_idle and not reading.has_arrived():
                return f"a reader of {reading.stream.stream_id} at {reading.reader.offset}"
        for production in self.productions:
            ended = not production.takes_bytes and not production.is_stopped
            if ended and production.tap.opened.is_set() and not production.tap.closed.is_set():
                return f"the source of {production.stream.stream_id} was not closed"
            is_idle = production.is_stopped or not production.has_lost_claim
            if not is_idle and self._is_at_work(production):
                return f"a producer of {production.stream.stream_id} has not let go of it"
        return self._untold()

    def _is_at_work(self, production: Production) -> bool:
        """Return whether a producer is left; handed back to its process, its readers resume."""
        producers = get_engine(production.alias).leases._producers
        return any(producer.claim.token == production.claim.token for producer in producers)

    def _untold(self) -> str:
        """Name a stream whose end was not told once; who holds one and stands still tells later."""
        still = {p.claim.epoch for p in self.productions if p.is_stopped}
        for production in self.productions:
            epoch, stream = production.claim.epoch, production.stream
            if epoch not in still and self.told[epoch] != int(stream.end is not None):
                return f"the end of {stream.stream_id} was told {self.told[epoch]} times"
        return ""

    def _is_frozen(self, reading: Reading) -> bool:
        """Return whether a reader is fed by a stopped producer, whose process stands still."""
        where = reading.reader.alias, reading.stream
        return any(p.is_stopped and (p.alias, p.stream) == where for p in self.productions)

    def _look(self) -> None:
        """Have both processes look at what they follow, as their sweeps and hearts do."""
        for alias in ("default", "elsewhere"):
            hub = get_engine(alias).hub
            for tail in hub.tails:
                hub.suspect(tail)

    def _attach(self, reader: StreamReader, stream: Stream, start: int) -> None:
        reading = Reading(reader, stream, start)
        self.readings.append(reading)
        reading.go_on()

    def _producing(self, stream_id: str) -> Production | None:
        """Return the present producer of what an id leads to, if it may still write."""
        stream = self.reference.streams.get(stream_id)
        for production in self.productions:
            if production.stream is stream and production.takes_bytes:
                return production
        return None

    # Producers.

    @rule(stream_id=ids, owner=owners, alias=aliases)
    def run(self, stream_id: str, owner: Owner, alias: str) -> None:
        self.do(self._run(stream_id, owner, alias))

    async def _run(self, stream_id: str, owner: Owner, alias: str) -> None:
        stream, is_elected = self.reference.run(stream_id, owner)
        tap = Tap()
        try:
            reader = await StreamManager(alias).arun(stream_id, tap, owner=owner)
        except StreamDoesNotExist:
            assert stream is None
            return
        assert stream is not None
        assert (reader.role is Role.PRODUCER) is is_elected
        if is_elected:
            self.productions.append(Production(tap, stream, alias, self.last_claim))
        self._attach(reader, stream, 0)

    @rule(stream_id=ids, owner=owners, alias=aliases, slot=slots, policy=policies)
    def run_in_slot(self, stream_id: str, owner: Owner, alias: str, slot: str, policy: str) -> None:
        self.do(self._run_in_slot(stream_id, owner, alias, slot, policy))

    async def _run_in_slot(
        self, stream_id: str, owner: Owner, alias: str, slot: str, policy: str
    ) -> None:
        expected = self.reference.run_in_slot(stream_id, owner, slot, policy)
        tap, stream, is_elected = Tap(), None, False
        if expected is not None:
            stream, is_elected = expected
        try:
            reader = await StreamManager(alias).arun(
                stream_id, tap, owner=owner, slot=slot, on_busy=policy
            )
        except SlotBusy:
            assert expected is None
            return
        except StreamDoesNotExist:
            assert expected is not None
            assert stream is None
            return
        assert stream is not None
        assert reader.stream_id == stream.stream_id
        assert (reader.role is Role.PRODUCER) is is_elected
        if is_elected:
            self.productions.append(Production(tap, stream, alias, self.last_claim))
        self._attach(reader, stream, 0)

    @rule(owner=owners, alias=aliases, slot=slots)
    def look_at_what_is_running(self, owner: Owner, alias: str, slot: str) -> None:
        self.do(self._look_at_what_is_running(owner, alias, slot))

    async def _look_at_what_is_running(self, owner: Owner, alias: str, slot: str) -> None:
        manager = StreamManager(alias)
        page = await manager.alist(owner=owner, status="streaming")
        assert {info.stream_id for info in page.streams} == self.reference.running(owner)
        active = await manager.aactive(slot, owner=owner)
        expected = self.reference.occupant(owner, slot)
        assert (active and active.stream_id) == (expected and expected.stream_id)

    @rule(stream_id=ids, data=chunks)
    def give(self, stream_id: str, data: bytes) -> None:
        if production := self._producing(stream_id):
            self.do(self._give(production, data))

    async def _give(self, production: Production, data: bytes) -> None:
        if production.is_stopped:
            production.stream.held_back += data
        else:
            production.stream.append(data)
        production.tap.give(data)

    @rule(stream_id=ids, fails=st.booleans())
    def end(self, stream_id: str, fails: bool) -> None:
        production = self._producing(stream_id)
        if production is not None and not production.is_stopped:
            self.do(self._end(production, fails))

    async def _end(self, production: Production, fails: bool) -> None:
        production.has_ended = True
        production.stream.finish("source_failed" if fails else "done")
        production.tap.end(*[RuntimeError("the source")] * fails)

    @rule(stream_id=ids, alias=aliases)
    def hand_over(self, stream_id: str, alias: str) -> None:
        """Let another producer go on, as a worker does; the old one may be stopped."""
        production = self._producing(stream_id)
        if production is None or production.alias == alias:
            return
        # Readers beside a stopped producer of it would be sent to resume with the new one.
        if not any(p.is_stopped and p.stream is production.stream for p in self._at(alias)):
            self.do(self._hand_over(production, alias))

    def _at(self, alias: str) -> list[Production]:
        return [production for production in self.productions if production.alias == alias]

    async def _hand_over(self, old: Production, alias: str) -> None:
        engine, stream = get_engine(alias), old.stream
        key, claim = self.key(stream.stream_id), Claim(epoch=old.claim.epoch)
        info = await take_over(engine, key, old.claim.token, claim)
        claim = replace(claim, holder=info.holder)
        assert info.size == len(stream.body)
        old.has_lost_claim, stream.own, stream.held_back = True, 0, b""
        tap = Tap()
        self.productions.append(Production(tap, stream, alias, claim))
        engine.produce(claim, info, tap, control_version=engine.hub.control_version)
        old.tap.give(b"of a zombie")  # which finds out by this
        self._look()

    # Readers.

    @rule(stream_id=ids, owner=owners, alias=aliases, number=numbers, live=st.booleans())
    def resume(self, stream_id: str, owner: Owner, alias: str, number: int, live: bool) -> None:
        self.do(self._resume(stream_id, owner, alias, number, live))

    async def _resume(
        self, stream_id: str, owner: Owner, alias: str, number: int, live: bool
    ) -> None:
        stream = self.reference.readable(stream_id, owner)
        offset = number % (len(stream.body) + 2) if stream else 0
        try:
            reader = await StreamManager(alias).aresume(
                stream_id, owner=owner, offset=offset, live=live
            )
        except InvalidOffset:
            assert stream is not None
            assert offset > len(stream.body)
            return
        assert (reader is None) is (stream is None)
        if reader is None or stream is None:
            return
        if live:
            self._attach(reader, stream, offset)
            return
        now = Reading(reader, stream, offset)
        await now.read()
        assert now.received == stream.body[offset:]

    @precondition(lambda self: self.readings)
    @rule(number=numbers)
    def close(self, number: int) -> None:
        self.do(self._close(self.readings.pop(number % len(self.readings))))

    async def _close(self, reading: Reading) -> None:
        reading.reader.close()
        if reading.task is not None:  # cancelled, if it was paused
            await asyncio.gather(reading.task, return_exceptions=True)

    @precondition(lambda self: self.readings)
    @rule(number=numbers)
    def pause(self, number: int) -> None:
        """Let a client stall, or go on."""
        reading = self.readings[number % len(self.readings)]
        self.do(self._pause(reading))

    async def _pause(self, reading: Reading) -> None:
        if reading.is_paused:
            reading.go_on()
        elif reading.task is not None:
            reading.task.cancel()
            await asyncio.gather(reading.task, return_exceptions=True)
            if reading.end is None:
                reading.is_paused = reading.was_paused = True

    # What owners and operators do.

    @rule(stream_id=ids, owner=owners, alias=aliases)
    def cancel(self, stream_id: str, owner: Owner, alias: str) -> None:
        self.do(self._cancel(stream_id, owner, alias))

    async def _cancel(self, stream_id: str, owner: Owner, alias: str) -> None:
        info = await StreamManager(alias).acancel(stream_id, owner=owner)
        stream = self.reference.owned(stream_id, owner)
        assert (info is None) is (stream is None)
        if stream:
            stream.finish("cancelled")

    @rule(stream_id=ids, owner=owners, alias=aliases)
    def delete(self, stream_id: str, owner: Owner, alias: str) -> None:
        self.do(self._delete(stream_id, owner, alias))

    async def _delete(self, stream_id: str, owner: Owner, alias: str) -> None:
        was_there = await StreamManager(alias).adelete(stream_id, owner=owner)
        assert was_there is (self.reference.owned(stream_id, owner) is not None)
        if was_there:
            self.reference.delete(stream_id)

    @rule()
    def rotate(self) -> None:
        self.do(self._rotate())

    async def _rotate(self) -> None:
        self.reference.delete_all()
        self.generation += 1
        await get_engine("default").store.set_control("default", generation=self.generation)

    @rule(owner=owners)
    def revoke(self, owner: Owner) -> None:
        self.do(self._revoke(owner))

    async def _revoke(self, owner: Owner) -> None:
        await pass_time(TICK_SECONDS)
        self.reference.revoke(owner)
        await get_engine("default").store.revoke("default", owner, keep=10_000_000)
        await pass_time(TICK_SECONDS)

    # Faults.

    @rule(stream_id=ids)
    def stop(self, stream_id: str) -> None:
        """Stop a producer, as SIGSTOP does."""
        if production := self._producing(stream_id):
            production.go.clear()

    @precondition(lambda self: any(p.is_stopped for p in self.productions))
    @rule(number=numbers)
    def go_on(self, number: int) -> None:
        stopped = [p for p in self.productions if p.is_stopped]
        self.do(self._go_on(stopped[number % len(stopped)]))

    async def _go_on(self, production: Production) -> None:
        if production.takes_bytes:
            production.stream.append(production.stream.held_back)
            production.stream.held_back = b""
        production.go.set()

    @rule()
    def take_both_processes_for_dead(self) -> None:
        """Let one judge the other, then the other way round: all that is produced is lost."""
        self.do(self._take_for_dead())

    async def _take_for_dead(self) -> None:
        self.reference.lose_producers()
        engines = [get_engine(alias) for alias in ("default", "elsewhere")]
        for dead, heir in (engines, engines[::-1]):
            process = await dead.leases.ready()
            await heir.leases.ready()
            judge(heir)
            self.world.end_lease(dead.store, process)
            await heir.takeover.take(process)
            await dead.leases.beat()  # it learns that it was judged
        self._look()

    @rule()
    def let_lifetimes_run_out(self) -> None:
        self.do(self._let_lifetimes_run_out())

    async def _let_lifetimes_run_out(self) -> None:
        keys = [self.key(stream_id) for stream_id in self.reference.streams]
        self.reference.delete_all()
        self.world.end_lifetimes(get_engine("default").store, keys)
        self._look()

    @rule(faults=st.lists(st.sampled_from(["before", "after"]), max_size=2))
    def break_connections(self, faults: list[str]) -> None:
        """Lose the next appends, or their answers."""
        self.faults = list(faults)

    @rule(stream_id=ids, number=numbers, data=st.binary(min_size=1, max_size=40))
    def fail_over(self, stream_id: str, number: int, data: bytes) -> None:
        """Let the store go back in time, by less than the producer remembers."""
        production = self._producing(stream_id)
        if production is not None and not production.is_stopped and production.stream.own:
            self.do(self._fail_over(production, number, data))

    async def _fail_over(self, production: Production, number: int, data: bytes) -> None:
        stream = production.stream
        lost = 1 + number % min(stream.own, 100_000)
        store = get_engine("default").store
        self.world.rewind(store, self.key(stream.stream_id), len(stream.body) - lost)
        await self._give(production, data)

    def teardown(self) -> None:
        self.faults = []
        self.runner.run(self._close_all())
        self.runner.close()

    async def _close_all(self) -> None:
        stream_finalized.disconnect(self._hear_end)
        for production in self.productions:
            production.go.set()
        for reading in self.readings:
            reading.reader.close()
        await asyncio.gather(*(r.task for r in self.readings if r.task), return_exceptions=True)
        await runtime.aclose()
