"""The operator's terminal: output, a question, a progress bar, an interruption."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

from django.core.management.base import CommandError

from resumable_streams.operating.bulk import Progress

__all__ = ["INTERRUPTED", "Terminal", "confirm", "interruptions", "progress_bar"]

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


class Stream(Protocol):
    def write(self, text: str) -> Any: ...


@dataclass(slots=True, kw_only=True)
class Terminal:
    """The output of one run. Errors and JSON are printed at every verbosity."""

    stdout: Stream
    stderr: Stream
    verbosity: int = 1
    has_answered: bool = False

    def say(self, *lines: str, verbosity: int = 1) -> None:
        """Print lines for people, unless the operator asked for less."""
        if lines and self.verbosity >= verbosity:
            self.stdout.write("\n".join(lines))

    def complain(self, *lines: str) -> None:
        self.stderr.write("\n".join(lines))

    def answer(self, outcome: Mapping[str, Any]) -> None:
        """Print one JSON object, for programs."""
        self.has_answered = True
        self.stdout.write(json.dumps(outcome))

    def conclude(self, outcome: Mapping[str, Any], lines: Sequence[str], *, is_json: bool) -> None:
        """Print the outcome as JSON, or as lines for people."""
        if is_json:
            self.answer(outcome)
        else:
            self.say(*lines)


def confirm(question: str) -> None:
    """Ask on the terminal; raise CommandError for anything but a yes, or without a terminal.

    The question goes to stderr: stdout may be for JSON alone.
    """
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Nothing was done: without a terminal, confirm with --yes.")
    try:
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        answer = input()
    except EOFError:
        answer = ""
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise CommandError("Interrupted. Nothing was done.", returncode=INTERRUPTED) from None
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was done.")


@contextmanager
def progress_bar(
    progress: Progress, *, is_wanted: bool, unit: str = "streams", total: int | None = None
) -> Iterator[None]:
    """Show the progress if stderr is a terminal and tqdm, the extra `progress`, is installed.

    Rows have a total. The number of streams is known only after a walk over all keys.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        is_wanted = False
    if not is_wanted:
        yield
        return
    with tqdm(unit=f" {unit}", total=total, disable=None, leave=False) as bar:

        def show(now: Progress) -> None:
            bar.update(now.met - bar.n)

        progress.on_change = show
        yield


@contextmanager
def interruptions(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call `stop` on the first SIGINT or SIGTERM, interrupt on the second; yield their numbers."""
    heard: list[int] = []

    def hear(signum: int, frame: FrameType | None) -> None:
        heard.append(signum)
        if len(heard) > 1:
            raise KeyboardInterrupt
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield heard  # only the main thread receives signals
        return
    before = {signum: signal.signal(signum, hear) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
