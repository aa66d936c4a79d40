"""Two calls of `run` for one slot: the verbs of the store in every order, and a death at each.

The same promises as in `tests/model/test_slots.py`, of the package itself: no two streams of the
slot run, and the slot comes free.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from itertools import product
from typing import Any

import pytest
from pytest_django import Settings

from resumable_streams import SlotBusy, StreamManager
from resumable_streams.engine import get_engine
from resumable_streams.process.runtime import runtime
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.types import StreamStatus
from tests.tools.streams import MEMORY
from tests.tools.waiting import eventually

pytestmark = pytest.mark.lengthy

SLOT, LEASE, DECISIONS = "chat:42", 5.0, 7
ASKERS = {"default": "a", "elsewhere": "b"}
GATED = ("occupant", "status", "occupy", "cancel", "acquire", "settle", "vacate", "delete")
PAIRS = [("replace", "replace"), ("replace", "join"), ("join", "join"), ("refuse", "replace")]


class House:
    """Two processes, of which one verb of the store is let through at a time."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.is_over = False
        self.waiting: dict[str, asyncio.Future[None]] = {}
        self.dead: set[str] = set()
        self.settled: set[tuple[str, str]] = set()  # id and epoch of all that started

    @property
    def space(self) -> Any:
        store = get_engine("default").store
        assert isinstance(store, MemoryStore)
        return store._space

    async def gate(self, alias: str) -> None:
        """Have the verbs of a process wait for their turn."""
        await StreamManager(alias).astatus("x", owner="ada")
        engine = get_engine(alias)
        store: Any = engine.store
        await engine.leases.ready()
        for name in GATED:
            setattr(store, name, self._gated(alias, name, getattr(store, name)))

    def _gated(self, alias: str, name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
        async def wait(*args: Any, **named: Any) -> Any:
            if self.is_over:
                return await verb(*args, **named)
            turn = asyncio.get_running_loop().create_future()
            self.waiting[alias] = turn
            await turn
            answer = await verb(*args, **named)
            if name == "settle" and answer:
                self.settled.add((named["stream_id"], named["epoch"]))
            self.check()
            return answer

        return wait

    def running(self) -> list[str]:
        return [
            key.stream_id
            for key, stream in self.space.streams.items()
            if stream.status is StreamStatus.STREAMING
            and (key.stream_id, stream.claim.epoch) in self.settled
        ]

    def check(self) -> None:
        assert len(self.running()) <= 1, self.running()

    async def let_through(self, alias: str) -> bool:
        """Let a process do its next verb, if it waits to."""
        for _ in range(30):
            await asyncio.sleep(0)
        if alias in self.dead or alias not in self.waiting:
            return False
        self.waiting.pop(alias).set_result(None)
        return True

    async def go_on(self, tasks: dict[str, "asyncio.Task[Any]"]) -> None:
        """Let everybody who lives come to an answer."""

        def is_over() -> bool:
            return all(task.done() for alias, task in tasks.items() if alias not in self.dead)

        while not is_over():
            went = [await self.let_through(alias) for alias in ASKERS]
            if not any(went):
                await eventually(lambda: self.waiting.keys() - self.dead or is_over())

    async def close(self) -> None:
        self.is_over = True
        for turn in self.waiting.values():
            turn.cancel()
        await runtime.aclose()


@pytest.fixture
async def make(settings: Settings, key_prefix: str) -> AsyncIterator[Callable[[], Any]]:
    """Return a coroutine function that makes a house of its own."""
    houses: list[House] = []

    async def make() -> House:
        house = House()
        entry = {
            "BACKEND": MEMORY,
            "LOCATION": f"{key_prefix}-{len(houses)}",
            "LEASE": LEASE,
            "DRAIN_TIMEOUT": 0,
            "OPTIONS": {"clock": lambda: time.time() + house.ahead},
        }
        houses.append(house)
        settings.RESUMABLE_STREAMS = dict.fromkeys((*ASKERS, "late"), entry)
        for alias in ASKERS:
            await house.gate(alias)
        return house

    yield make
    if houses:
        await houses[-1].close()


async def endless() -> AsyncIterator[bytes]:
    yield b"a"
    await asyncio.Event().wait()


def ask(alias: str, policy: str) -> "asyncio.Task[Any]":
    asking = StreamManager(alias).arun(
        ASKERS[alias], endless, owner="ada", slot=SLOT, on_busy=policy
    )
    return asyncio.create_task(asking)


@pytest.mark.parametrize("policies", PAIRS, ids="-".join)
async def test_two_runs_in_every_order(make: Callable[[], Any], policies: tuple[str, str]) -> None:
    for order in product(ASKERS, repeat=DECISIONS):
        house: House = await make()
        tasks = {alias: ask(alias, one) for alias, one in zip(ASKERS, policies, strict=True)}
        for alias in order:
            await house.let_through(alias)
        await house.go_on(tasks)
        answers = await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert all(isinstance(one, SlotBusy) or not isinstance(one, Exception) for one in answers)
        assert len(house.running()) == 1, order
        await house.close()


@pytest.mark.parametrize("policies", [("replace", "join"), ("join", "replace")], ids="-".join)
@pytest.mark.parametrize("dies_after", range(7))
async def test_after_a_death_at_any_verb_the_slot_comes_free(
    make: Callable[[], Any], policies: tuple[str, str], dies_after: int
) -> None:
    for order in product(ASKERS, repeat=4):
        house: House = await make()
        tasks = {alias: ask(alias, one) for alias, one in zip(ASKERS, policies, strict=True)}
        verbs = 0
        for alias in order:
            if alias == "default" and verbs == dies_after:
                house.dead.add(alias)
            verbs += await house.let_through(alias) and alias == "default"
        house.dead.add("default")
        house.ahead += LEASE + 1  # what was not started is free by then
        await house.go_on(tasks)
        late = await StreamManager("late").arun(
            "c", endless, owner="ada", slot=SLOT, on_busy="replace"
        )
        assert late.stream_id == "c"
        assert house.running() in ([], ["c"])  # no gate has seen that one start
        await house.close()
        tasks["default"].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
