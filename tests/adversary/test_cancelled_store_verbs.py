"""A cancellation at every await of every verb of a store: what is there is as before or as after.

And the verb may be repeated: then it is as after. What a verb announces is part of that.
"""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from resumable_streams.exceptions import StreamFinalized
from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, SLOT, TERMS, holding
from resumable_streams.types import Claim, Occupant, StreamKey, StreamStatus

from ..tools.cancelling import Cut, Outcome, at_every_await, cut
from ..tools.waiting import eventually
from .report import Tried

pytestmark = pytest.mark.lengthy

OURS = Claim(token="ours", epoch="00000001", holder="ours")
NEW = Claim(token="new", epoch="00000002", holder="ours")
HEIR = Claim(token="heir", epoch=OURS.epoch, holder="ours")
DONE, OTHER = (replace(KEY, stream_id=name) for name in ("done", "other"))
HELD, TOLD, LEFT = (holding(epoch=f"0000000{number}") for number in (1, 2, 3))

EMPTY = replace(SLOT, name="empty")

Make = Callable[[], "World"]
Verb = Callable[["World"], Coroutine[Any, Any, object]]


class World:
    """A store of its own, in which there is something for each verb."""

    def __init__(self, store: BaseStore, redis: Redis):
        self.store = store
        self.table = store.processes
        self.redis = redis
        self.queue: Any = store.queue("worker")
        self.ticket = ""

    async def set_up(self) -> None:
        store, table = self.store, self.table
        await store.set_control(KEY.tenant, longest_ttl=60)
        for name, lease in (("ours", 60.0), ("dead", -1.0), ("idle", 60.0)):
            await table.beat(name, lease=abs(lease), position="")
        for key, claim in ((KEY, OURS), (DONE, OURS)):
            await store.acquire(key, claim, replace(TERMS, slot=SLOT.name))
            await store.confirm(key, claim)
            await store.append(key, claim, 0, b"abc")
        await store.finalize(DONE, OURS, StreamStatus.DONE)
        await store.reserve(HELD, ttl=60)
        await store.occupy(SLOT, epoch=OURS.epoch, stream_id=KEY.stream_id, seen=None, keep=60)
        for process, one in (("ours", HELD), ("ours", TOLD), ("dead", LEFT)):
            await table.hold(process, one)
        await table.move(TOLD, holder="ours", by="ours")
        self._end_lease("dead")
        if isinstance(store, RedisStore):
            self.redis.delete(store.keys.shared("news"))
            await self._take_an_order()

    async def _take_an_order(self) -> None:
        """Have a worker hold one order, and another one wait."""
        for order in (b"first", b"second"):
            await self.queue.put(order)
        taken = await self.queue.take(wait=1, idle=60)
        assert taken is not None
        self.ticket, _ = taken
        await self.queue.aclose()

    def _end_lease(self, process: str) -> None:
        if isinstance(self.store, MemoryStore):
            self.store._space.table.processes[process] = 0.0
        else:
            assert isinstance(self.store, RedisStore)
            self.redis.zadd(self.store.keys.shared("processes"), {process: 1})

    async def rest(self) -> None:
        """Wait for what goes on without its caller, and for what was sent."""
        lasting = getattr(self.store, "lasting", None)
        await eventually(lambda: lasting is None or not lasting.is_busy)
        await self.store.look(OTHER)

    def state(self) -> object:
        """Return all that there is, but for what tells the time."""
        if isinstance(self.store, MemoryStore):
            return _memory(self.store)
        assert isinstance(self.store, RedisStore)
        names = sorted(self.redis.scan_iter(f"{self.store.key_prefix}:*", count=10_000))
        prefix = self.store.key_prefix.encode()
        return {name.replace(prefix, b""): self._value(name) for name in names}

    def _value(self, name: bytes) -> object:
        kind = self.redis.type(name)
        match kind:
            case b"hash":
                found: dict[Any, Any] = self.redis.hgetall(name)
                return {k: v for k, v in found.items() if k not in (b"created", b"since")}
            case b"zset":
                return set(self.redis.zrange(name, 0, -1))
            case b"set":
                return set(self.redis.smembers(name))
            case b"stream":
                entries: Any = self.redis.xrange(name)
                prefix = self.store.key_prefix.encode()
                return {v.replace(prefix, b"") for _, fields in entries for v in fields.values()}
            case _:
                return b":revoked:" in name or self.redis.get(name)


def _memory(store: MemoryStore) -> object:
    space = store._space
    streams = {
        key: (one.claim.token, one.holder, one.status, one.error_code, bytes(one.log), one.terms)
        for key, one in space.streams.items()
    }
    table = space.table
    deadlines = [set(one) for one in (table.processes, table.waiting, table.dying)]
    held = [
        {name: set(of) for name, of in one.items() if of} for one in (table.held, table.telling)
    ]
    controls = {tenant: control for tenant, (control, _) in space.controls.items()}
    slots = {slot: (one.epoch, one.has_started) for slot, one in space.slots.items()}
    counted = set(space.live), set(space.index), slots
    return streams, controls, set(space.revoked), counted, deadlines, held


async def met(store: BaseStore) -> set[StreamKey]:
    return {key async for key in store.scan()}


async def take_over_slot(store: BaseStore) -> object:
    seen = Occupant(epoch=OURS.epoch, stream_id=KEY.stream_id, has_started=False, age=0)
    return await store.occupy(SLOT, epoch="e2", stream_id="s", seen=seen, keep=60)


VERBS: dict[str, Verb] = {
    "acquire": lambda w: w.store.acquire(OTHER, NEW, TERMS),
    "acquire what is there": lambda w: w.store.acquire(KEY, NEW, TERMS),
    "confirm": lambda w: w.store.confirm(KEY, OURS),
    "reclaim": lambda w: w.store.reclaim(KEY, OURS.token, HEIR),
    "reap": lambda w: w.store.reap(KEY, OURS.epoch, holder="ours"),
    "reap for another": lambda w: w.store.reap(KEY, OURS.epoch, holder="ours", heir="wait:x"),
    "append": lambda w: w.store.append(KEY, OURS, 3, b"def"),
    "finalize": lambda w: w.store.finalize(KEY, OURS, StreamStatus.DONE),
    "read": lambda w: w.store.read(KEY, 0, 10),
    "status": lambda w: w.store.status([KEY, DONE, OTHER]),
    "delete": lambda w: w.store.delete(KEY),
    "delete what has ended": lambda w: w.store.delete(DONE),
    "touch": lambda w: w.store.touch([(KEY, OURS), (DONE, OURS)]),
    "cancel": lambda w: w.store.cancel(KEY),
    "expire": lambda w: w.store.expire(KEY, 30),
    "scan": lambda w: met(w.store),
    "get_control": lambda w: w.store.get_control(KEY.tenant, "ada", keep=60),
    "set_control: rotate": lambda w: w.store.set_control(KEY.tenant, generation=2),
    "set_control: retire": lambda w: w.store.set_control(KEY.tenant, generation=1, ttl=30),
    "set_control: begin": lambda w: w.store.set_control("another", longest_ttl=60),
    "announce": lambda w: w.store.announce(KEY),
    "revoke": lambda w: w.store.revoke(KEY.tenant, "ada", keep=60),
    "reserve": lambda w: w.store.reserve(TOLD, ttl=60),
    "release": lambda w: w.store.release(HELD),
    "live": lambda w: w.store.live(KEY.tenant),
    "listed": lambda w: w.store.listed(KEY.tenant, HELD.owner_digest, generation=1),
    "delete what is listed": lambda w: w.store.delete(KEY, epoch=OURS.epoch),
    "occupant": lambda w: w.store.occupant(SLOT),
    "occupy": lambda w: w.store.occupy(EMPTY, epoch="e2", stream_id="s", seen=None, keep=60),
    "occupy what is taken": lambda w: take_over_slot(w.store),
    "settle": lambda w: w.store.settle(SLOT, epoch=OURS.epoch, stream_id="chat", keep=60),
    "settle what was lost": lambda w: w.store.settle(EMPTY, epoch="e2", stream_id="s", keep=60),
    "vacate": lambda w: w.store.vacate(SLOT, epoch=OURS.epoch),
    "beat": lambda w: w.table.beat("another", lease=30, position=""),
    "leave": lambda w: w.table.leave("idle"),
    "hold": lambda w: w.table.hold("ours", holding(epoch="0000000a")),
    "park": lambda w: w.table.park("wait:b", holding(epoch="0000000b"), seconds=30),
    "drop": lambda w: w.table.drop("ours", HELD),
    "take": lambda w: w.table.take("dead", by="ours", lease=30),
    "move": lambda w: w.table.move(HELD, holder="ours", by="ours"),
    "adopt": lambda w: w.table.adopt(holding(epoch="0000000c"), by="ours"),
    "told": lambda w: w.table.told(TOLD, by="ours"),
    "bury": lambda w: w.table.bury("gone"),
    "fates": lambda w: w.table.fates(["ours", "dead", "nobody"]),
}
QUEUE: dict[str, Verb] = {
    "queue.put": lambda w: w.queue.put(b"an order"),
    "queue.keep": lambda w: w.queue.keep([w.ticket]),
    "queue.take": lambda w: w.queue.take(wait=0.05, idle=60),
    "queue.done": lambda w: w.queue.done(w.ticket),
}
"""Of these a store in memory has none."""


@pytest.fixture
async def make(
    request: pytest.FixtureRequest, redis_url: str, redis_server: Redis
) -> AsyncIterator[Make]:
    """Return a function that makes a world."""
    worlds: list[World] = []
    kind = request.param

    def make() -> World:
        named = {
            "alias": "test",
            "key_prefix": f"cut-{uuid.uuid4().hex}",
            "limits": StreamStoreContract.limits,
        }
        is_redis = kind == "redis"
        new: Any = RedisStore if is_redis else MemoryStore
        store = new(location=redis_url if is_redis else None, **named)
        worlds.append(World(store, redis_server))
        return worlds[-1]

    yield make
    for world in worlds:
        if world.queue is not None:
            await world.queue.aclose()
        await world.store.aclose()


async def made(make: Make) -> World:
    world = make()
    await world.set_up()
    return world


CASES = [
    *(
        pytest.param(verb, kind, id=f"{kind}-{name}")
        for kind in ("memory", "redis")
        for name, verb in VERBS.items()
    ),
    *(pytest.param(verb, "redis", id=f"redis-{name}") for name, verb in QUEUE.items()),
]


@pytest.mark.parametrize(("verb", "make"), CASES, indirect=["make"])
async def test_it_has_happened_or_not_and_may_be_repeated(
    verb: Verb, make: Make, tried: Tried
) -> None:
    usual = await made(make)
    before, outcomes = usual.state(), Counter[str]()
    await verb(usual)
    after = usual.state()

    async def attempt(where: Cut) -> Outcome[object]:
        world = await made(make)
        outcome = await cut(verb(world), where)
        outcome.result()
        await world.rest()
        state = world.state()
        assert state in (before, after), where
        outcomes["as before" if state == before else "as after"] += 1
        with suppress(StreamFinalized):
            await verb(world)
        assert world.state() == after, where
        return outcome

    tried(await at_every_await(attempt), "cancellations", outcomes)
