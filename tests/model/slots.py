"""A model of slots: askers for one slot, stepped in every order, with deaths, silence and deletes.

A slot names an epoch and says whether that one has started. Each `yield` is one verb of the store,
and the place where an asker may die or stand still. `Rules` switches parts of the protocol off: a
model without one of them has to break (`test_slots`).
"""

import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

__all__ = ["LEASE", "Asker", "Broken", "Rules", "Slots", "World", "in_every_order", "play"]

LEASE = 4

Steps = Generator[None, None, str]


class Broken(AssertionError):
    """Two streams of one slot ran at once, or a slot stayed taken for ever."""


@dataclass(frozen=True)
class Rules:
    """The parts of the protocol, each of which can be missing."""

    confirms: bool = True  # the slot is confirmed before the source starts
    compares_start: bool = True  # a compare-and-set compares whether the occupant has started
    ends_first: bool = True  # whoever takes a slot ends a running occupant before, not after
    outlives: bool = True  # the slot is kept for longer than any stream runs


@dataclass
class Occupant:
    epoch: int
    stream_id: str
    since: int
    has_started: bool = False


@dataclass
class Meta:
    epoch: int
    status: str = "streaming"


@dataclass
class World:
    """The store, and the sources that run."""

    rules: Rules
    now: int = 0
    slot: Occupant | None = None
    metas: dict[str, Meta] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)  # started and not lost: epoch, id
    epochs: int = 0

    def new_epoch(self) -> int:
        self.epochs += 1
        return self.epochs

    def lives(self, epoch: int, stream_id: str) -> bool:
        meta = self.metas.get(stream_id)
        return meta is not None and (meta.epoch, meta.status) == (epoch, "streaming")

    def running(self) -> list[int]:
        return [epoch for epoch, stream_id in self.sources.items() if self.lives(epoch, stream_id)]

    def end(self, epoch: int, stream_id: str) -> None:
        if self.lives(epoch, stream_id):
            self.metas[stream_id].status = "ended"

    def check(self) -> None:
        if len(self.running()) > 1:
            raise Broken(f"running at once: {self.running()}")


@dataclass
class Asker:
    """One call of `run` with a slot, and what became of it."""

    world: World
    policy: str
    stream_id: str
    started: int = 0  # the epoch of its stream
    is_dead: bool = False
    answer: str = ""

    def __post_init__(self) -> None:
        self.steps = self._run()

    def step(self) -> None:
        """Do one verb of the store."""
        try:
            next(self.steps)
        except StopIteration as end:
            self.answer = end.value
        self.world.check()

    def die(self) -> None:
        """Die here: what was held is reaped after a lease, what was not confirmed evaporates."""
        self.is_dead = True
        self.steps.close()

    @property
    def is_over(self) -> bool:
        return self.is_dead or bool(self.answer)

    def _run(self) -> Steps:
        while True:
            answer = yield from self._attempt()
            if answer:
                return answer

    def _attempt(self) -> Steps:
        world, epoch = self.world, self.world.new_epoch()
        said = yield from self._take(epoch)
        if said != "ours":
            return said
        if self.stream_id in world.metas:  # elect
            yield
            if world.slot is not None and world.slot.epoch == epoch:  # leave
                world.slot = None
            yield
            return "joined"
        world.metas[self.stream_id] = Meta(epoch)
        self.started = epoch
        yield
        if world.rules.confirms and not self._confirm(epoch):
            yield
            meta = world.metas.get(self.stream_id)
            if meta is not None and meta.epoch == epoch:
                del world.metas[self.stream_id]
            self.started = 0
            yield
            return ""
        world.sources[epoch] = self.stream_id  # in the same turn as the answer
        yield
        return "produced"

    def _confirm(self, epoch: int) -> bool:
        world = self.world
        if world.slot is None:  # lost
            world.slot = Occupant(epoch, self.stream_id, world.now)
        if world.slot.epoch != epoch:
            return False
        world.slot.has_started = True
        return True

    def _take(self, epoch: int) -> Steps:
        world, rules = self.world, self.world.rules
        there = self.stream_id in world.metas
        slot = world.slot
        slot_started = slot is not None and slot.has_started
        seen = None if slot is None else (slot.epoch, slot_started)
        yield
        if there:
            return "ours"  # an ordinary run: the election tells
        if slot is not None:
            lives = world.lives(slot.epoch, slot.stream_id)
            yield
            is_due = not slot_started and world.now - slot.since <= LEASE
            if (lives or is_due) and slot.stream_id == self.stream_id:
                return ""  # our own, from another request
            if (lives or is_due) and self.policy != "replace":
                if self.policy == "refuse":
                    return "busy"
                return "joined" if lives else ""
            if lives and rules.ends_first:
                world.end(slot.epoch, slot.stream_id)
                yield
        now = world.slot
        is_as_seen = (None if now is None else (now.epoch, now.has_started)) == seen
        if not rules.compares_start:
            is_as_seen = (now and now.epoch) == (seen and seen[0])
        if not is_as_seen:
            yield
            return ""
        world.slot = Occupant(epoch, self.stream_id, world.now)
        yield
        if slot is not None:  # it may have been elected since: it is not to stand in anybody's way
            world.end(slot.epoch, slot.stream_id)
            yield
        return "ours"


class Slots:
    """A few askers in one world, and the time."""

    def __init__(self, policies: list[tuple[str, str]], rules: Rules, *, occupied: str = ""):
        self.world = World(rules)
        self.askers = [Asker(self.world, policy, stream_id) for policy, stream_id in policies]
        if occupied:  # a stream that runs already, and ends in one step of its own
            self._occupy(occupied)

    def _occupy(self, stream_id: str) -> None:
        world, epoch = self.world, self.world.new_epoch()
        world.metas[stream_id] = Meta(epoch)
        world.slot = Occupant(epoch, stream_id, world.now, has_started=True)
        world.sources[epoch] = stream_id

    def reap(self) -> None:
        """End what dead askers left: it was held, or it evaporates."""
        for asker in self.askers:
            if asker.is_dead and asker.started:
                self.world.end(asker.started, asker.stream_id)

    def settle(self) -> None:
        """Let time pass until everybody has an answer; then the slot is free, or held by one."""
        world = self.world
        for turn in range(400):
            for asker in self.askers:
                if not asker.is_over:
                    asker.step()
            world.now += turn % 8 == 0
            if turn > 8 * (LEASE + 1):
                self.reap()
        for asker in self.askers:
            if not asker.is_over:
                raise Broken(f"no answer for {asker.policy}")
        for policy in ("join", "replace", "refuse"):
            late = Asker(world, policy, f"late-{policy}")
            for _ in range(400):
                if not late.is_over:
                    late.step()
                    world.now += 1
            if not late.is_over or (late.answer == "busy" and not world.running()):
                raise Broken(f"the slot stayed taken: {policy} got {late.answer!r}")


def in_every_order(lengths: list[int]) -> Iterator[list[int]]:
    """Return every merge of askers that take so many steps each."""
    if not any(lengths):
        yield []
    for number, left in enumerate(lengths):
        if left:
            rest = [*lengths[:number], left - 1, *lengths[number + 1 :]]
            for order in in_every_order(rest):
                yield [number, *order]


def play(seed: int, rules: Rules) -> None:
    """Step up to four askers at random, with deaths, frozen askers, deletes and ends between."""
    chance = random.Random(seed)
    policies = [
        (chance.choice(["join", "replace", "refuse"]), chance.choice("aab") + str(number % 2))
        for number in range(chance.randint(2, 4))
    ]
    slots = Slots(policies, rules, occupied=chance.choice(["", "x", "a0"]))
    world = slots.world
    frozen: dict[int, int] = {}
    for _ in range(120):
        awake = [
            one for one in slots.askers if not one.is_over and frozen.get(id(one), 0) <= world.now
        ]
        what = chance.random()
        if what < 0.1:
            world.now += 1
            if world.now % (2 * LEASE) == 0:
                slots.reap()
        elif what < 0.15 and awake:
            chance.choice(awake).die()
        elif what < 0.19 and awake:  # SIGSTOP: it goes on later, as if nothing had been
            frozen[id(chance.choice(awake))] = world.now + chance.randint(1, 3 * LEASE)
        elif what < 0.22 and world.metas:
            _strike(world, chance)
        elif what < 0.24 and not rules.outlives:
            world.slot = None
        elif awake:
            chance.choice(awake).step()
    slots.settle()


def _strike(world: World, chance: random.Random) -> None:
    """End, or delete, a stream; a purge does the latter."""
    stream_id = chance.choice(sorted(world.metas))
    meta = world.metas[stream_id]
    if chance.random() < 0.5:
        world.end(meta.epoch, stream_id)
    else:
        del world.metas[stream_id]
