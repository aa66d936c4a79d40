"""What appends pay for signals: `python -m tests.benchmarks.signals_cost [--appends N]`.

One stream in memory (where an append is cheapest, so that the share of the signals is largest) and
one reader, an append for each chunk, timed from the acquire to the end. *No signals* is a producer
and a tail without the code that sends them; the rows after it are the package as it is, with more
and more listening. The rounds are interleaved, and the best of each row counts.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from unittest.mock import patch

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from prometheus_client import CollectorRegistry  # noqa: E402

from resumable_streams import streams  # noqa: E402
from resumable_streams.contrib import opentelemetry, prometheus  # noqa: E402
from resumable_streams.process.runtime import runtime  # noqa: E402
from resumable_streams.producing.appender import Appender  # noqa: E402
from resumable_streams.producing.fast_path import FastPath, InFlight  # noqa: E402
from resumable_streams.signals import stream_appended  # noqa: E402

ROUNDS = 7
CHUNK = b"data: a token\n\n"

Row = Callable[[], AbstractContextManager[object]]


async def _source(appends: int) -> AsyncIterator[bytes]:
    for _ in range(appends):
        yield CHUNK
        await asyncio.sleep(0)


async def _measure(name: str, appends: int) -> float:
    """Return the microseconds of an append with its delivery."""
    started = time.perf_counter()
    reader = await streams.arun(name, _source(appends), owner="a")
    size = 0
    async for data in reader:
        size += len(data)
    took = time.perf_counter() - started
    if size != appends * len(CHUNK):
        raise RuntimeError(f"{size} bytes came.")
    await streams.adelete(name, owner="a")
    return took / appends * 1e6


async def _append_entry(appender: Appender, data: bytes, chunks: int, *sent_before: object) -> None:
    """Do what `Appender._append_entry` does, without signals."""
    offset = appender.end_offset
    await appender._append_at(offset, data, chunks)
    appender._tail.push(offset, data)


def _show(path: FastPath, sent: InFlight) -> None:
    """Do what `FastPath._show` does, without signals."""
    path._appender.show(sent.offset, sent.data, sent.began)
    path._go_on()


@contextmanager
def _no_signals() -> Iterator[None]:
    with (
        patch.object(Appender, "_append_entry", _append_entry),
        patch.object(FastPath, "_show", _show),
    ):
        yield


@contextmanager
def _receiver(*, asynchronous: bool) -> Iterator[None]:
    def receiver(**named: object) -> None:
        pass

    async def async_receiver(**named: object) -> None:
        pass

    chosen = async_receiver if asynchronous else receiver
    stream_appended.connect(chosen)
    yield
    stream_appended.disconnect(chosen)


@contextmanager
def _prometheus() -> Iterator[None]:
    metrics = prometheus.connect(CollectorRegistry())
    yield
    metrics.disconnect()


@contextmanager
def _opentelemetry() -> Iterator[None]:
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    telemetry = opentelemetry.connect(TracerProvider(shutdown_on_exit=False), meters)
    yield
    telemetry.disconnect()
    meters.shutdown()


ROWS: dict[str, Row] = {
    "no signals": _no_signals,
    "no receiver": nullcontext,
    "a sync receiver": lambda: _receiver(asynchronous=False),
    "an async receiver": lambda: _receiver(asynchronous=True),
    "contrib.prometheus": _prometheus,
    "contrib.opentelemetry": _opentelemetry,
}


async def main(appends: int) -> None:
    found: dict[str, list[float]] = {row: [] for row in ROWS}
    for turn in range(ROUNDS):
        for row, listening in ROWS.items():
            with listening():
                found[row].append(await _measure(f"{turn}", appends))
    await runtime.aclose()
    base = min(found["no signals"])
    print(f"{'':24}{'µs an append':>14}{'appends a second':>20}{'':>10}")
    for row, figures in found.items():
        best = min(figures)
        print(f"{row:24}{best:14.2f}{1e6 / best:20,.0f}{(best / base - 1) * 100:+9.1f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.signals_cost")
    parser.add_argument("--appends", type=int, default=20_000)
    asyncio.run(main(parser.parse_args().appends))
