"""The metrics, as a real registry of prometheus_client serves them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from resumable_streams.contrib import prometheus
from resumable_streams.exceptions import StoreUnavailable, StreamFailed
from resumable_streams.signals import (
    StreamSignal,
    feed_connected,
    heartbeat_failed,
    news_missed,
    owner_checked,
    process_taken_over,
    producer_lost,
    reader_lagged,
    reader_opened,
    stream_acquired,
    stream_appended,
    stream_delivered,
    stream_finalized,
    stream_first_byte,
    stream_refused,
    stream_resumed,
)
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.streams import StreamManager
from resumable_streams.types import CutOff, ErrorCode, RefusalReason, Role
from tests.tools.readers import read_all, read_until, waits
from tests.tools.sources import Tap

Value = Callable[..., float | None]

STREAM = {
    "alias": "default",
    "tenant": "acme",
    "generation": 1,
    "stream_id": "s",
    "epoch": "e",
    "owner": "a",
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Iterator[prometheus.Metrics]:
    metrics = prometheus.connect(registry)
    yield metrics
    metrics.disconnect()


@pytest.fixture
def value(registry: CollectorRegistry, metrics: prometheus.Metrics) -> Value:
    """Return a function that reads one sample; `alias` is `default`."""

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(
            f"resumable_streams_{name}", {"alias": "default", **labels}
        )

    return value


async def test_a_stream_is_counted_from_its_acquire_to_its_end(
    streams: StreamManager, value: Value
):
    tap = Tap()
    reader = await streams.arun("chat", tap, owner="a")
    await streams.arun("chat", tap, owner="a")
    waiting = asyncio.create_task(anext(reader))
    await tap.opened.wait()
    await waits(reader)
    tap.give(b"four")
    assert await waiting == b"four"
    assert value("readers") == 1
    tap.end(b"five5")
    await read_all(reader)
    await asyncio.sleep(0)  # the turn in which the reader is detached
    assert value("acquires_total", role="producer") == 1
    assert value("acquires_total", role="consumer") == 1
    assert value("appended_bytes_total") == 9
    assert value("appended_chunks_total") == 2
    assert value("append_seconds_count") == 2
    assert (value("delivery_seconds_count") or 0) >= 1
    assert value("finalizes_total", status="done", error_code="") == 1
    assert value("first_byte_seconds_count") == 1
    assert value("stream_seconds_count") == 1
    assert value("readers") == 0


async def test_resumes_and_checks_are_counted_by_outcome(streams: StreamManager, value: Value):
    await read_all(await streams.arun("chat", [b"x"], owner="a"))
    await streams.aresume("chat", owner="a")
    await streams.aresume("chat", owner="b")
    await streams.aresume("nothing", owner="b")
    await streams.astatus("chat", owner="a")
    assert value("resumes_total", outcome="granted") == 1
    assert value("resumes_total", outcome="foreign") == 1
    assert value("resumes_total", outcome="missing") == 1
    assert value("owner_checks_total", operation="resume", outcome="match") == 1
    assert value("owner_checks_total", operation="status", outcome="match") == 1


async def test_errors_are_counted_by_code(streams: StreamManager, value: Value):
    with pytest.raises(StreamFailed):
        await read_all(await streams.arun("chat", Tap(ValueError()), owner="a"))
    assert value("finalizes_total", status="error", error_code="source_failed") == 1


def test_faults_are_counted(value: Value):
    producer_lost.emit(MemoryStore, **STREAM, seen_by="reader", size=3)
    news_missed.emit(MemoryStore, **STREAM, offset=9, missing=4)
    heartbeat_failed.emit(
        MemoryStore, alias="default", producers=2, error=StoreUnavailable("default")
    )
    feed_connected.emit(MemoryStore, alias="default", again=False)
    feed_connected.emit(MemoryStore, alias="default", again=True)
    assert value("producers_lost_total", seen_by="reader") == 1
    assert value("hub_gaps_total") == 1
    assert value("heartbeat_failures_total") == 1
    assert value("feed_reconnects_total") == 1
    process_taken_over.emit(MemoryStore, alias="default", process="p", held=3, told=2)
    assert value("takeovers_total") == 1
    assert value("taken_over_streams_total") == 3
    reader_lagged.emit(MemoryStore, **STREAM, offset=0, lag=300_000)
    assert value("reader_lag_bytes_sum") == 300_000


async def test_refusals_are_counted_by_operation_and_reason(value: Value):
    await stream_refused.notify(
        StoreUnavailable,
        hook_errors="raise",
        alias="default",
        stream_id=None,
        operation="run",
        reason=RefusalReason.UNAVAILABLE,
        status=503,
        error=StoreUnavailable("default"),
        request=None,
    )
    assert value("refusals_total", operation="run", reason="unavailable") == 1


async def test_every_counter_is_there_before_its_first_event(
    registry: CollectorRegistry, metrics: prometheus.Metrics
):
    """An alert on an increase compares with a sample from before."""
    before = series(registry)
    assert set(before.values()) == {0.0}
    events: list[tuple[StreamSignal, dict[str, Any]]] = [
        *((stream_acquired, {"role": role}) for role in Role),
        *(
            (stream_finalized, {"status": status, "error_code": code, "duration": 1})
            for status, code in [("done", ""), *(("cancelled", code) for code in ("", *CutOff))]
            + [("error", code) for code in ErrorCode]
        ),
        *(
            (owner_checked, {"operation": operation, "outcome": outcome})
            for operation in ("run", "resume", "status", "sign", "cancel", "delete")
            for outcome in ("match", "foreign", "missing", "revoked")
        ),
        *(
            (stream_refused, {"operation": operation, "reason": reason})
            for operation in ("run", "resume", "status", "cancel", "delete")
            for reason in RefusalReason
        ),
        *((producer_lost, {"seen_by": seen_by}) for seen_by in ("reader", "producer")),
        (stream_resumed, {}),
        (stream_first_byte, {"duration": 1}),
        (stream_appended, {"size": 1, "chunks": 1, "duration": 1}),
        (stream_delivered, {"latency": 1}),
        (reader_opened, {}),
        (reader_lagged, {"lag": 1}),
        (news_missed, {}),
        (process_taken_over, {"held": 1}),
        (heartbeat_failed, {}),
        (feed_connected, {"again": True}),
    ]
    for signal, named in events:
        signal.emit(MemoryStore, **{**STREAM, **named})
    after = series(registry)
    assert after.keys() == before.keys()
    assert [name for name in after if not name[0].endswith("_bucket") and not after[name]] == []


def series(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """Return the samples by name and labels; without those of the store, and without times."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for metric in registry.collect()
        if metric.type != "gauge" or metric.name.endswith("_readers")
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


def test_names_and_units_are_those_of_openmetrics(
    registry: CollectorRegistry, metrics: prometheus.Metrics
):
    text = openmetrics.generate_latest(registry).decode()
    families = list(text_string_to_metric_families(text))  # which refuses what breaks the rules
    assert {family.name for family in families} == {metric.name for metric in registry.collect()}
    for family in families:
        ends = [unit for unit in ("bytes", "seconds") if family.name.endswith(f"_{unit}")]
        assert [family.unit] == (ends or [""]), family.name


async def test_tenants_are_a_label_only_on_request(streams: StreamManager):
    registry = CollectorRegistry()
    metrics = prometheus.connect(registry, tenants=True)
    try:
        await read_all(await streams.arun("chat", [b"x"], owner="a", tenant="acme"))
        text = generate_latest(registry).decode()
    finally:
        metrics.disconnect()
    assert 'acquires_total{alias="default",role="producer",tenant="acme"} 1.0' in text


def test_connecting_again_changes_nothing(registry: CollectorRegistry, metrics: prometheus.Metrics):
    before = len(stream_acquired.receivers)
    assert prometheus.connect(registry) is metrics
    assert len(stream_acquired.receivers) == before


def test_disconnected_metrics_leave_the_registry(registry: CollectorRegistry):
    prometheus.connect(registry).disconnect()
    assert generate_latest(registry) == b""
    prometheus.connect(registry).disconnect()


@pytest.mark.lengthy
async def test_several_processes_add_up_in_multiprocess_mode(tmp_path: Path):
    """Each process runs a stream and is alive while its neighbours' metrics are read."""
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    command = [sys.executable, "-m", "tests.contrib.multiprocess"]
    processes = [
        subprocess.Popen(  # noqa: ASYNC220  the loop has nothing else to do
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        answer, _ = processes[0].communicate("report\n", timeout=20)
        processes[1].communicate("", timeout=20)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert 'resumable_streams_acquires_total{alias="default",role="producer"} 2.0' in answer
    assert 'resumable_streams_readers{alias="default"} 2.0' in answer
    assert 'resumable_streams_live_streams{alias="default"} 1.0' in answer  # the memory of this one
    assert 'resumable_streams_append_seconds_count{alias="default"} 2.0' in answer


async def test_bytes_are_counted_as_they_are_appended(streams: StreamManager, value: Value):
    tap = Tap(b"123")
    reader = await streams.arun("chat", tap, owner="a")
    await read_until(reader, 3)
    assert value("appended_bytes_total") == 3
    tap.end()
    await read_all(reader)
