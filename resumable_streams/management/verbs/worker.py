"""`worker`: produce, in a process of its own, the streams that web processes order.

The event loop of the process is in the main thread and is the home loop. SIGTERM or SIGINT drains:
the worker takes no more orders, and those at work get the grace. A second signal kills.
"""

import asyncio
import os
import signal
import socket
from argparse import ArgumentParser
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from resumable_streams.conf import get_settings
from resumable_streams.engine import get_engine
from resumable_streams.management.arguments import number, pause, port
from resumable_streams.management.console import Terminal
from resumable_streams.process import shutdown
from resumable_streams.process.runtime import runtime
from resumable_streams.workers import Worker, WorkerCounts

from .verb import Verb

__all__ = ["Work"]

EXPORTER = "resumable_streams.contrib.prometheus.serve"
"""The default exporter, by its path only: most workers are not scraped, and do without."""


class Work(Verb):
    """The verb that produces streams in this process until a signal ends it."""

    name = "worker"
    help = "Produce the streams that are enqueued, until SIGTERM or SIGINT."
    description = (
        "Produce the streams that are enqueued, until SIGTERM or SIGINT: then it takes no more "
        "orders, and those at work get --grace. A second signal kills it. If the store is away, it "
        "waits."
    )

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--using", default="default", metavar="ALIAS", help="the stream alias ('default')"
        )
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
        parser.add_argument(
            "--metrics-port",
            type=port,
            metavar="PORT",
            help="serve the metrics of this worker over HTTP (the extra 'prometheus')",
        )
        parser.add_argument(
            "--metrics-address",
            default="127.0.0.1",
            metavar="ADDRESS",
            help="where to listen for that (127.0.0.1)",
        )
        parser.add_argument(
            "--metrics-exporter",
            default=EXPORTER,
            metavar="PATH",
            help=f"the callable that serves them, by its dotted path ({EXPORTER})",
        )
        super().add_arguments(parser)

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.alias: str = options["using"]
        get_settings(self.alias)
        self.worker_name: str = options["name"] or f"{socket.gethostname()}-{os.getpid()}"

    def perform(self, terminal: Terminal) -> None:
        with _ignore_first_signal() as heard, self._served_metrics():
            counts = asyncio.run(self._work(terminal, heard))
        refused = f", {counts.refused:,} refused" if counts.refused else ""
        terminal.say(
            f"Worker {self.worker_name} (alias {self.alias}) has ended: {counts.produced:,} "
            f"streams produced, {counts.handed_over:,} handed over to other workers{refused}."
        )

    @property
    def _where(self) -> str:
        address: str = self.options["metrics_address"]
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{self.options['metrics_port']}/"

    @contextmanager
    def _served_metrics(self) -> Iterator[None]:
        """Serve the metrics of this process, if it was asked for, for as long as it works."""
        path, given = self.options["metrics_exporter"], self.options["metrics_port"]
        if given is None:
            yield
            return
        try:
            close = import_string(path)(given, self.options["metrics_address"])
        except ImportError as error:
            raise CommandError(
                f"The exporter {path} cannot be imported: {error}. The one for Prometheus comes "
                f"with pip install 'django-resumable-streams[prometheus]'."
            ) from error
        except OSError as error:
            raise CommandError(
                f"Metrics cannot be served at {self._where}: {error.strerror}. Choose another "
                f"--metrics-port; each worker on a host needs its own."
            ) from error
        try:
            yield
        finally:
            close()

    async def _work(self, terminal: Terminal, heard: Collection[int]) -> WorkerCounts:
        concurrency: int = self.options["concurrency"]
        try:
            shutdown.work()
            get_engine(self.alias)  # from here on a signal drains; an earlier one did not
            if heard:
                runtime.start_drain()
            if self.options["grace"] is not None:
                runtime.grace = self.options["grace"]
            worker = Worker(self.alias, name=self.worker_name, concurrency=concurrency)
            terminal.say(
                f"Worker {self.worker_name} (alias {self.alias}): up to {concurrency:,} streams at "
                f"a time."
            )
            if self.options["metrics_port"] is not None:
                terminal.say(f"Its metrics are at {self._where}.")
            await worker.run()
        finally:
            await runtime.aclose()
        return worker.counts


@contextmanager
def _ignore_first_signal() -> Iterator[Collection[int]]:
    """Let the first SIGTERM or SIGINT do nothing by itself, and the second kill; yield the first.

    `shutdown` starts its drain on the first.
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
