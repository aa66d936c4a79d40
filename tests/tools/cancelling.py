"""Cancel a coroutine at the await of your choice, at each of the moments that an await has."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import coroutine
from typing import Any, Generic, TypeVar

__all__ = ["DEEP", "Cut", "Moment", "Outcome", "at_every_await", "cut"]

T = TypeVar("T")


class Moment(StrEnum):
    """When, during an await, the cancellation comes."""

    BEFORE = "before anything was sent"
    ON_THE_WAY = "so many turns of the loop later"
    AFTER = "together with the answer"


@dataclass(frozen=True, slots=True)
class Cut:
    """A cancellation at the await number `at`, the first being 0; `turns` is for ON_THE_WAY.

    Where what is awaited is other tasks, the turns lead into those.
    """

    at: int
    moment: Moment
    turns: int = 1


@dataclass(slots=True)
class Outcome(Generic[T]):
    """How a coroutine ended; `was_cut`: it came to the await at which it was to be cancelled."""

    value: T | None = None
    error: BaseException | None = None
    was_cut: bool = False

    @property
    def is_cancelled(self) -> bool:
        return isinstance(self.error, asyncio.CancelledError)

    def result(self) -> T | None:
        """Return the value, None where it was cancelled; raise any other error."""
        if self.error is not None and not self.is_cancelled:
            raise self.error
        return self.value


async def cut(work: Coroutine[Any, Any, T], where: Cut) -> Outcome[T]:
    """Run a coroutine in a task of its own, cancel that there, and tell how it ended."""
    outcome: Outcome[T] = Outcome()
    task = asyncio.create_task(_walk(work, where, outcome), name="cut")
    try:
        outcome.value = await task
    except BaseException as error:
        outcome.error = error
    return outcome


async def _walk(work: Coroutine[Any, Any, T], where: Cut, outcome: Outcome[T]) -> T:
    return await _stepwise(work, where, outcome)


@coroutine
def _stepwise(
    work: Coroutine[Any, Any, T], where: Cut, outcome: Outcome[T]
) -> Generator[Any, Any, T]:
    """Pass on what `work` awaits, and count it."""
    awaits, step = 0, lambda: work.send(None)
    while True:
        try:
            awaited = step()
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if awaits == where.at:
            outcome.was_cut = True
            _cancel(where, awaited)
        awaits += 1
        try:
            yield awaited
        except BaseException as error:
            raised = error
            step = lambda: work.throw(raised)  # noqa: B023, E731
        else:
            step = lambda: work.send(None)  # noqa: E731


def _cancel(where: Cut, awaited: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    if where.moment is Moment.BEFORE:
        task.cancel()  # arrives as soon as what is awaited has been handed to the loop
    elif where.moment is Moment.ON_THE_WAY or awaited is None:
        _after(where.turns, task.cancel)
    else:  # before the task itself is told, so both are known when it wakes
        awaited.add_done_callback(lambda _: task.cancel())


def _after(turns: int, call: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    if turns > 1:
        loop.call_soon(_after, turns - 1, call)
    else:
        loop.call_soon(call)


DEEP = (1, 2, 3, 4, 6, 8, 12, 16, 24)
"""After how many turns to cancel what awaits tasks of its own."""


async def at_every_await(
    attempt: Callable[[Cut], Awaitable[Outcome[Any]]], turns: Sequence[int] = (1,)
) -> int:
    """Make an attempt for each await of what it cuts, and each moment of that; return how many."""
    at, attempts, was_cut = 0, 0, True
    while was_cut:
        cuts = [Cut(at, Moment.BEFORE), Cut(at, Moment.AFTER)]
        cuts += [Cut(at, Moment.ON_THE_WAY, n) for n in turns]
        for where in cuts:
            was_cut = (await attempt(where)).was_cut
        at, attempts = at + 1, attempts + len(cuts)
    return attempts
