"""The operator's terminal: a question, a progress bar, an interruption."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from django.core.management.base import CommandError
from tqdm import tqdm

from resumable_streams.operating.bulk import Tally

__all__ = ["confirm", "interruptions", "progress"]


def confirm(question: str) -> None:
    """Ask on the terminal; raise CommandError for anything but a yes, or without a terminal."""
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Nobody is there to answer: repeat it with --yes.")
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was done.")


@contextmanager
def progress(tally: Tally) -> Iterator[None]:
    """Show how far a sweep has come, where stderr is a terminal."""
    with tqdm(unit=" streams", disable=None, leave=False) as bar:

        def show(now: Tally) -> None:
            bar.update(now.met - bar.n)

        tally.on_change = show
        yield


@contextmanager
def interruptions(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Have the first SIGINT or SIGTERM call `stop`, the second interrupt; yield what came."""
    heard: list[int] = []

    def hear(signum: int, frame: FrameType | None) -> None:
        heard.append(signum)
        if len(heard) > 1:
            raise KeyboardInterrupt
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield heard  # signals are for the main thread to hear
        return
    before = {signum: signal.signal(signum, hear) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
