"""What is of a test and ends with it: its streams, its producers, their part in its transaction."""

import asyncio
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from ..process.holdings import TRANSIENT
from ..process.runtime import runtime
from ..process.threads import end_background
from ..process.twins import sync_twin
from ..stores import replaced_by
from ..stores.memory import MemoryStore, empty_memory
from .moments import PATIENCE_SECONDS
from .transactions import shared_transactions

if TYPE_CHECKING:
    from ..operating.recorder import Recorder

__all__ = ["ProducerLeftRunning", "aproduced", "isolated_streams", "produced"]

GRACE_SECONDS = 1.0
"""How long the end of a test waits for producers: what is about to end by itself, does."""

PREFIX = "resumable_streams.producer "


class ProducerLeftRunning(RuntimeWarning):
    """The warning that a producer was still running when its test ended; the message names it."""


@contextmanager
def isolated_streams(*, in_memory: bool = True, test: str = "") -> Iterator[None]:
    """Keep the streams of a test to itself, and end everything at the end of the block.

    The streams of all aliases are in memory, which is empty at first, whatever BACKEND says; with
    `in_memory=False` they are where the settings say. Everything else in RESUMABLE_STREAMS stays in
    force, and may be overridden in the test. Producers run on an event loop in a thread of its own,
    so it makes no difference whether the test has one. They share the test's transaction if it has
    one: enter the block inside of it, in the thread of the test, where no event loop runs.

    Producers that still run at the end have a second to end by themselves. Then they are ended as
    `interrupted`, and a `ProducerLeftRunning` warning names their streams and the `test`.
    """
    with ExitStack() as kept:
        _close()  # an earlier test may have left something, on another loop and in another store
        if in_memory:
            kept.enter_context(empty_memory())
            kept.enter_context(replaced_by(MemoryStore))
        left: list[str] = []
        kept.callback(_warn, left, test)
        kept.enter_context(shared_transactions())
        runtime.home()  # before a loop of the test's own could become it
        kept.callback(lambda: left.extend(_close()))
        yield


def _close() -> list[str]:
    """End and close everything; return the names of all that did not end by itself.

    Afterwards no thread has a connection to a database.
    """
    left: list[str] = []
    if runtime.is_open:
        left = runtime.call_sync(_left_after, GRACE_SECONDS)
        runtime.call_sync(runtime.aclose)
    _recorder().flush()
    end_background().result(PATIENCE_SECONDS)
    for thread in threading.enumerate():
        if thread.name == TRANSIENT:
            thread.join(PATIENCE_SECONDS)
    return left


async def _left_after(seconds: float) -> list[str]:
    """Return the streams whose producers are at work after so many seconds."""
    if runtime.detached:
        await asyncio.wait(runtime.detached, timeout=seconds)
    return sorted(task.get_name().removeprefix(PREFIX) for task in runtime.detached)


def _warn(left: Sequence[str], test: str) -> None:
    if left:
        warnings.warn(
            f"Interrupted at the end of the test {test}, as its producer was still running: "
            f"{', '.join(left)}. Let the source end, or cancel the stream.",
            ProducerLeftRunning,
            stacklevel=2,
        )


async def aproduced(*, timeout: float = PATIENCE_SECONDS) -> None:  # noqa: ASYNC109
    """Wait until every stream that is produced in this process has ended, and its end was told.

    That is a moment after its readers are done: from here on, receivers of `stream_finalized` have
    run, and records are written. Raises TimeoutError, which names the streams that go on.
    """
    left = await runtime.call(_left_after, timeout)
    if left:
        raise TimeoutError(f"Still produced after {timeout:.0f} seconds: {', '.join(left)}.")
    await asyncio.to_thread(_recorder().flush)


produced = sync_twin(aproduced)


def _recorder() -> "Recorder":
    """Return the recorder, whose models are there once Django is set up; plugins load before."""
    from ..operating.recorder import recorder

    return recorder
