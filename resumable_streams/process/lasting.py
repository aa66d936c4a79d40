"""Work that is done as a whole, even if its caller leaves in the middle.

A client that disconnects cancels its request, at any await. If two steps belong together (an act
and telling of it, a mark and its announcement), a cancellation between them would leave a state
that is neither before nor after.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["HasLasting", "Lasting", "as_a_whole"]

P = ParamSpec("P")
T = TypeVar("T")


class Lasting:
    """The work of one owner, which cancels what is left of it when it closes."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(
        self, work: Coroutine[Any, Any, T], *, name: str, context: Context | None = None
    ) -> asyncio.Task[T]:
        """Start work that goes on when nobody waits any more; await it through `asyncio.shield`.

        It is done in the context of the caller, or in the one that is given.
        """
        task = asyncio.create_task(work, name=f"resumable_streams.{name}", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    @property
    def is_busy(self) -> bool:
        return bool(self._tasks)

    async def whole(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Return what work returns; a cancellation of the caller leaves it to go on alone."""
        return await asyncio.shield(self.start(work, name=name))

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone: nobody need retrieve it

    async def wait(self) -> None:
        """Wait until the work of this moment is done, or has failed."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Cancel what is still at work."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class HasLasting(Protocol):
    """An object with methods that are done as a whole."""

    lasting: Lasting


H = TypeVar("H", bound=HasLasting)


def as_a_whole(
    method: Callable[Concatenate[H, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[H, P], Coroutine[Any, Any, T]]:
    """Have a method go on when its caller is cancelled."""

    @wraps(method)
    async def whole(self: H, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.lasting.whole(method(self, *args, **kwargs), name=method.__name__)

    return whole  # type: ignore[return-value] # the name of `self` is lost on the way
