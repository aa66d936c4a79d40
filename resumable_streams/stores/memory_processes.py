"""The "processes" of a memory store: engines on different loops of one process.

Each engine has a lease of its own, so the streams of a loop that is gone are ended, and told.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ..types import Fate, Holding
from .processes import ALL_TENANTS, Beat, Census, Processes, Taken

__all__ = ["MemoryProcesses", "Table"]


def _sets() -> defaultdict[str, set[Holding]]:
    return defaultdict(set)


def _discard(sets: dict[str, set[Holding]], name: str, holding: Holding) -> bool:
    """Take it out of a set, which goes when it is empty; return whether it was there."""
    found = holding in sets.get(name, ())
    if found:
        sets[name].discard(holding)
        if not sets[name]:
            del sets[name]
    return found


@dataclass(slots=True)
class Table:
    """Deadlines and holdings of processes. Times are seconds of the store's clock."""

    processes: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    dying: dict[str, float] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)
    held: defaultdict[str, set[Holding]] = field(default_factory=_sets)
    telling: defaultdict[str, set[Holding]] = field(default_factory=_sets)

    def passed(self, now: float) -> list[str]:
        deadlines = (self.processes, self.waiting, self.dying)
        return [holder for one in deadlines for holder, end in one.items() if end < now]


class MemoryProcesses(Processes):
    """Every verb is one critical section; `at` holds the lock of the space at one moment."""

    def __init__(self, table: Table, at: Callable[[], AbstractContextManager[float]]):
        self._table = table
        self._at = at

    async def beat(self, process: str, *, lease: float, position: str) -> Beat:
        with self._at() as now:
            table = self._table
            if process in table.dying or process in table.judged:
                return Beat(is_judged=True)
            is_new = process not in table.processes
            table.processes[process] = now + lease
            living = {one: end - now for one, end in table.processes.items() if end >= now}
            # No hint is ever lost on its way from one loop to another.
            return Beat(is_new=is_new, living=living, passed=table.passed(now), position="memory")

    async def leave(self, process: str) -> None:
        with self._at():
            if process not in self._table.held and process not in self._table.telling:
                self._table.processes.pop(process, None)

    async def hold(self, process: str, holding: Holding) -> bool:
        with self._at():
            if process not in self._table.processes:
                return False
            self._table.held[process].add(holding)
            return True

    async def park(self, holder: str, holding: Holding, *, seconds: float) -> None:
        with self._at() as now:
            self._table.waiting[holder] = now + seconds
            self._table.held[holder].add(holding)

    async def drop(self, holder: str, holding: Holding) -> None:
        with self._at():
            _discard(self._table.held, holder, holding)
            self._table.waiting.pop(holder, None)

    async def take(self, holder: str, *, by: str, lease: float) -> Taken | None:
        with self._at() as now:
            table = self._table
            if holder not in table.passed(now):
                return None
            table.processes.pop(holder, None)
            table.waiting.pop(holder, None)
            table.dying[holder] = now + lease
            return Taken(
                held=list(table.held.get(holder, ())),
                telling=list(table.telling.get(holder, ())),
            )

    async def move(self, holding: Holding, *, holder: str, by: str) -> bool:
        with self._at():
            table = self._table
            if by not in table.processes or (by != holder and holder in table.processes):
                return False
            sources = (table.held, table.telling)
            is_there = [_discard(source, holder, holding) for source in sources]
            if any(is_there):
                table.telling[by].add(holding)
            return holding in table.telling.get(by, ())  # or a caller has it already, unanswered

    async def adopt(self, holding: Holding, *, by: str) -> bool:
        with self._at():
            if by not in self._table.processes:
                return False
            self._table.telling[by].add(holding)
            return True

    async def told(self, holding: Holding, *, by: str) -> None:
        with self._at():
            _discard(self._table.telling, by, holding)

    async def bury(self, holder: str) -> None:
        with self._at():
            table = self._table
            if holder in table.held or holder in table.telling:
                return
            if table.dying.pop(holder, None) is not None:
                table.judged.add(holder)

    async def fates(self, holders: Sequence[str]) -> list[Fate]:
        with self._at() as now:
            return [self._fate(holder, now) for holder in holders]

    async def census(self, *, by_tenant: bool = False) -> Census:
        with self._at() as now:
            table = self._table
            living = [process for process, end in table.processes.items() if end >= now]
            return Census(
                living=len(living),
                dying=len(table.dying),
                held=self._count(living, by_tenant),
                waiting=self._count(table.waiting, by_tenant),
            )

    def _count(self, holders: Iterable[str], by_tenant: bool) -> Mapping[str, int]:
        held = (one for holder in holders for one in self._table.held.get(holder, ()))
        return Counter(one.key.tenant if by_tenant else ALL_TENANTS for one in held)

    def _fate(self, holder: str, now: float) -> Fate:
        table = self._table
        if table.processes.get(holder, 0.0) >= now:
            return Fate.LIVING
        known = (table.processes, table.waiting, table.dying)
        return Fate.ENDING if any(holder in one for one in known) else Fate.UNKNOWN
