"""Sources that do as a test says."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from enum import Enum
from typing import Any, Final

from ..producing.sources import cancellation_reason
from ..types import CancellationReason
from .moments import Moment

__all__ = ["HANG", "ScriptedSource"]


class _Step(Enum):
    HANG = "wait until the source is closed"
    END = "end, whatever follows"


HANG: Final = _Step.HANG
"""The step of a script that never ends: the source has to be closed."""


class ScriptedSource:
    """A source that yields the items of a script, when the script says so.

    A step that is a `Moment` (or an `asyncio.Event` of the loop it runs on) is waited for, an
    exception is raised, at HANG the source never goes on, and anything else is yielded as it is:
    also what no source may yield. A source that `is_held` ends no earlier than at `end`, and
    yields what it is given until then. The steps that one call has played are not played again.

    `calls` counts who called the source, `yielded` what has been taken from it. `opened` and
    `closed` come with its first iteration and its end; then `is_finished` tells whether the script
    came to its end, and `reason` why somebody stopped it, as `cancellation_reason()` does.
    """

    def __init__(self, *steps: object, is_held: bool = False):
        self.calls = 0
        self.yielded = 0
        self.opened = Moment()
        self.closed = Moment()
        self.is_finished = False
        self.reason: CancellationReason | None = None
        self._steps: deque[object] = deque()
        self._news = Moment()
        if is_held:
            self.give(*steps)
        else:
            self.end(*steps)

    def give(self, *steps: object) -> None:
        """Add steps to the script of a source that is held, from any thread."""
        self._steps.extend(steps)
        news, self._news = self._news, Moment()
        news.set()

    def end(self, *steps: object) -> None:
        """Add steps, the last ones."""
        self.give(*steps, _Step.END)

    def __call__(self, *args: object, **kwargs: object) -> AsyncGenerator[Any, None]:
        """Play the script; in place of a function with arguments, those do not matter."""
        self.calls += 1
        return self._follow()

    async def _follow(self) -> AsyncGenerator[Any, None]:
        self.opened.set()
        try:
            while (step := await self._next()) is not _Step.END:
                if isinstance(step, BaseException):
                    raise step
                self.yielded += 1
                yield step
            self.is_finished = True
        finally:
            self.reason = cancellation_reason()
            self.closed.set()

    async def _next(self) -> object:
        """Return the next step that is no waiting."""
        while True:
            step = await self._take()
            if isinstance(step, Moment | asyncio.Event):
                await step.wait()
            elif step is HANG:
                await asyncio.get_running_loop().create_future()
            else:
                return step

    async def _take(self) -> object:
        """Return the next step, once it is there; the end stays."""
        while True:
            news = self._news  # before the look: what is given after it, comes with this
            if self._steps:
                break
            await news.wait()
        is_end = self._steps[0] is _Step.END
        return self._steps[0] if is_end else self._steps.popleft()
