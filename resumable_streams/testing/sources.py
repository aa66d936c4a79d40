"""Sources that do as a test says."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

__all__ = ["ScriptedSource"]


class ScriptedSource:
    """A source that yields the chunks of a script, when the script says so.

    A step that is an `asyncio.Event` is waited for, an exception is raised, and anything else is
    yielded as it is: also what no source may yield. `calls` counts who called the source,
    `yielded` what has been taken from it; `opened` and `closed` are set by its iteration.
    """

    def __init__(self, *steps: object):
        self.steps: Sequence[object] = steps
        self.calls = 0
        self.yielded = 0
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()

    def __call__(self) -> AsyncGenerator[Any, None]:
        self.calls += 1
        return self._follow()

    async def _follow(self) -> AsyncGenerator[Any, None]:
        self.opened.set()
        try:
            for step in self.steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, BaseException):
                    raise step
                else:
                    self.yielded += 1
                    yield step
        finally:
            self.closed.set()
