"""When appends leave: at once while the loop has time, together every few milliseconds under load.

The write of an append, its answer, and the turns of the loop for both cost more than the append
does in a write that is shared. So a busy loop lets appends gather for a moment; that costs them a
latency which nobody sees beside that of the load. What decides is measured, not configured:

- *busy*: the share of the processor that the thread of the loop has used lately.
- *in vain*: hardly any append found company, as in a loop that is busy with something else.
- *answering*: most appends come right after an answer, so their streams wait for answers, and have
  no more to send until then. They come together by themselves, and a pause would only slow them.
"""

import time
from collections.abc import Callable

__all__ = ["Tick"]

TICK_SECONDS = 0.003
WINDOW_SECONDS = 0.05
REST_SECONDS = 1.0
BUSY, CALM = 1 / 3, 1 / 8
COMPANY = 2  # appends a write, on average, for which it is worth waiting
PROMPT_SECONDS = 0.0005  # after an answer; by chance, a sixth of the appends of a tick
ANSWERING = 1 / 2


class Tick:
    """The pause between two writes of appends to one connection.

    `clock` is that of the loop, `used` the seconds of the processor of its thread.
    """

    def __init__(
        self, clock: Callable[[], float], used: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock = clock
        self._used = used
        self._pause = 0.0
        self._not_before = 0.0  # after waiting in vain
        self._written_at = clock()
        self._begin_window()

    def _begin_window(self) -> None:
        self._since, self._used_before = self._clock(), self._used()
        self._appends = self._writes = self._prompt = 0

    def due_in(self, quiet: float) -> float:
        """Return how many seconds an append should wait for others; 0: leave at once.

        `quiet` is how many seconds ago the last answer came.
        """
        self._prompt += quiet < PROMPT_SECONDS
        now = self._clock()
        if now - self._since >= WINDOW_SECONDS:
            self._judge(now)
        return max(0.0, self._written_at + self._pause - now)

    def wrote(self, appends: int) -> None:
        """Note a write with so many appends."""
        self._written_at = self._clock()
        self._appends += appends
        self._writes += 1

    def _judge(self, now: float) -> None:
        """Decide, by the window that has passed, whether appends gather in the next one."""
        busy = (self._used() - self._used_before) / (now - self._since)
        if self._pause:
            is_in_vain = busy < CALM or self._appends < COMPANY * self._writes
            if is_in_vain or self._prompt > ANSWERING * self._appends:
                self._pause, self._not_before = 0.0, now + REST_SECONDS
        elif busy > BUSY and now >= self._not_before:
            self._pause = TICK_SECONDS
        self._begin_window()
