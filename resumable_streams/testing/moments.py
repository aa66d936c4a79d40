"""Moments: what a test and its source wait for, on any event loop and in any thread."""

import asyncio
import threading
from concurrent.futures import Future

__all__ = ["PATIENCE_SECONDS", "Moment"]

PATIENCE_SECONDS = 10.0
"""How long a test waits for something that has to come; a busy machine is slow."""


class Moment:
    """Something that happens once, and is waited for: an `asyncio.Event` for all loops and threads.

    A source runs on another loop than the test that holds it in its hand.
    """

    def __init__(self) -> None:
        self._has_come = False
        self._waiting: list[Future[None]] = []
        self._lock = threading.Lock()

    def set(self) -> None:
        """Let it happen, from any thread."""
        with self._lock:
            self._has_come = True
            waiting, self._waiting = self._waiting, []
        for one in waiting:
            if one.set_running_or_notify_cancel():
                one.set_result(None)

    def is_set(self) -> bool:
        """Return whether it has happened."""
        return self._has_come

    async def wait(self) -> None:
        """Wait until it happens, in a task."""
        await asyncio.wrap_future(self._wait())

    def wait_sync(self, timeout: float = PATIENCE_SECONDS) -> None:
        """Wait until it happens, in a thread; raise TimeoutError if it does not."""
        self._wait().result(timeout)

    def _wait(self) -> Future[None]:
        future: Future[None] = Future()
        with self._lock:
            if not self._has_come:
                self._waiting.append(future)
                return future
        future.set_result(None)
        return future
