"""A time limit for the waits of one body, which are many, with one timer for all of them."""

import asyncio
import math
from types import TracebackType
from typing import Self

__all__ = ["WaitLimit"]


class WaitLimit:
    """The moment at which a wait ends with TimeoutError; entered once for each wait.

    As `asyncio.timeout_at`, which makes and cancels a timer each time. Here one that rings too
    early is set again, so waits that are short never touch it.
    """

    def __init__(self) -> None:
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None  # which waits
        self._requests = 0  # to cancel it, from before it waited
        self._is_over = False

    def at(self, due: float) -> Self:
        """Have the next wait end then, by the loop's clock."""
        self._due = due
        return self

    def __enter__(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise RuntimeError("A wait needs a task.")
        self._task, self._requests, self._is_over = task, task.cancelling(), False
        if self._due < (math.inf if self._timer is None else self._timer.when()):
            self._set(loop)

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        self.cancel()
        self._timer = loop.call_at(self._due, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._task is None:
            return  # the next wait sets it again
        if loop.time() < self._due:
            self._set(loop)
        else:
            self._is_over = True
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        # Another cancellation, which came first or at the same time, goes on.
        if (
            self._is_over
            and task is not None
            and task.uncancel() <= self._requests
            and isinstance(error, asyncio.CancelledError)
        ):
            raise TimeoutError from error

    def cancel(self) -> None:
        """Stop the timer, after the last wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
