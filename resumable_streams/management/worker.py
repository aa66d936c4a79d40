"""worker: produce, in a process of its own, what web processes order.

The event loop of the process is in the main thread and is the home loop. SIGTERM or SIGINT drains:
no more orders, and those at work get the grace. A second signal kills.
"""

import asyncio
import os
import signal
import socket
from argparse import ArgumentParser
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.core.management.base import CommandError

from resumable_streams.conf import get_settings
from resumable_streams.engine import get_engine
from resumable_streams.exceptions import InvalidStoreError, StoreUnavailable
from resumable_streams.management.arguments import number, pause
from resumable_streams.process import shutdown
from resumable_streams.process.runtime import runtime
from resumable_streams.workers import Worker

__all__ = ["HELP", "add_arguments", "work"]

HELP = "Produce the streams that are enqueued, until SIGTERM or SIGINT."

Write = Callable[[str], Any]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--using", default="default", metavar="ALIAS", help="the stream alias")
    parser.add_argument(
        "--concurrency", type=number, default=100, metavar="N", help="streams at a time (100)"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="unique among the workers (host and process id)"
    )
    parser.add_argument(
        "--grace",
        type=pause,
        metavar="SECONDS",
        help="how long running streams may go on at the end (DRAIN_TIMEOUT)",
    )


def work(options: Mapping[str, Any], write: Write) -> None:
    """Run a worker in this process until it is told to end; a store that is away is waited for."""
    name = options["name"] or f"{socket.gethostname()}-{os.getpid()}"
    try:
        get_settings(options["using"])
        with _ignore_first_signal() as heard:
            asyncio.run(_work(options, name, write, heard))
    except (InvalidStoreError, StoreUnavailable) as refusal:
        raise CommandError(str(refusal)) from refusal


async def _work(
    options: Mapping[str, Any], name: str, write: Write, heard: Collection[int]
) -> None:
    alias, concurrency = options["using"], options["concurrency"]
    try:
        shutdown.work()
        get_engine(alias)  # from here on a signal drains; one that came before has not
        if heard:
            runtime.start_drain()
        if options["grace"] is not None:
            runtime.grace = options["grace"]
        worker = Worker(alias, name=name, concurrency=concurrency)
        write(f"Worker {name} of {alias}: up to {concurrency:,} streams at a time.")
        await worker.run()
    finally:
        await runtime.aclose()
    counts = worker.counts
    write(
        f"Worker {name} of {alias} has ended: {counts.produced:,} streams produced, "
        f"{counts.handed_over:,} handed over to other workers."
    )


@contextmanager
def _ignore_first_signal() -> Iterator[Collection[int]]:
    """Ignore the first SIGTERM or SIGINT, let the second kill; yield those that came.

    `shutdown` puts its drain before what the first does.
    """
    heard: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, hear) for number in numbers}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
