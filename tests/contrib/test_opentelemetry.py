"""Spans and measurements, as the real SDK exports them into memory."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from resumable_streams.contrib import opentelemetry
from resumable_streams.exceptions import StoreUnavailable, StreamFailed
from resumable_streams.operating.gauges import GaugeReader
from resumable_streams.signals import (
    feed_connected,
    heartbeat_failed,
    news_missed,
    process_taken_over,
    producer_lost,
    reader_lagged,
    stream_acquired,
    stream_delivered,
    stream_refused,
)
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.streams import StreamManager
from resumable_streams.types import RefusalReason
from tests.tools.readers import read_all, read_until, waits
from tests.tools.sources import Tap

STREAM = {
    "alias": "default",
    "tenant": "acme",
    "generation": 1,
    "stream_id": "s",
    "epoch": "e",
    "owner": "a",
}

Measured = Callable[[str], dict[frozenset[tuple[str, Any]], Any]]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracers(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def meters() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def telemetry(
    tracers: TracerProvider, meters: InMemoryMetricReader
) -> Iterator[opentelemetry.Telemetry]:
    provider = MeterProvider([meters], shutdown_on_exit=False)
    telemetry = opentelemetry.connect(tracers, provider)
    yield telemetry
    telemetry.disconnect()
    provider.shutdown()


@pytest.fixture
def measured(telemetry: opentelemetry.Telemetry, meters: InMemoryMetricReader) -> Measured:
    """Return a function that reads one instrument: its points by their attributes."""

    def measured(name: str) -> dict[frozenset[tuple[str, Any]], Any]:
        exported: Any = meters.get_metrics_data()
        return {
            frozenset((point.attributes or {}).items()): getattr(
                point, "value", getattr(point, "count", None)
            )
            for resource in exported.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == f"resumable_streams.{name}"
            for point in metric.data.data_points
        }

    return measured


def labels(**named: str) -> frozenset[tuple[str, str]]:
    error = {"error.type": named.pop("error")} if "error" in named else {}
    ours = {"alias": "default", **named}
    return frozenset({**error, **{f"resumable_streams.{k}": v for k, v in ours.items()}}.items())


def by_name(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return span


def events(span: ReadableSpan) -> dict[str, dict[str, Any]]:
    return {event.name: dict(event.attributes or {}) for event in span.events}


@pytest.mark.usefixtures("telemetry")
async def test_a_stream_has_a_span_that_is_linked_to_its_request(
    streams: StreamManager, tracers: TracerProvider, exporter: InMemorySpanExporter
):
    tap = Tap()
    with tracers.get_tracer("test").start_as_current_span("request"):
        reader = await streams.arun("chat", tap, owner="a", tenant="acme")
    await tap.opened.wait()
    with tracers.get_tracer("test").start_as_current_span("again"):
        assert await streams.aresume("chat", owner="a", tenant="acme") is not None
    tap.end(b"four")
    await read_all(reader)
    stream, request = by_name(exporter, "stream"), by_name(exporter, "request")
    assert stream.parent is None
    assert stream.context is not None
    assert request.context is not None
    assert stream.context.trace_id != request.context.trace_id
    assert [link.context.span_id for link in stream.links] == [request.context.span_id]
    attributes = dict(stream.attributes or {})
    assert attributes["resumable_streams.stream_id"] == "chat"
    assert attributes["resumable_streams.tenant"] == "acme"
    assert attributes["resumable_streams.status"] == "done"
    assert attributes["resumable_streams.size"] == 4
    assert list(events(stream)) == ["stream.resumed", "stream.finalized"]
    assert events(request)["stream.acquired"]["resumable_streams.role"] == "producer"
    resumed = events(by_name(exporter, "again"))["stream.resumed"]
    assert resumed["resumable_streams.trace_id"] == trace.format_trace_id(stream.context.trace_id)
    assert stream.status.is_ok
    assert "a" not in attributes.values()


@pytest.mark.usefixtures("telemetry")
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_what_the_source_does_is_in_the_trace_of_the_stream(
    streams: StreamManager, tracers: TracerProvider, exporter: InMemorySpanExporter, kind: str
):
    tracer = tracers.get_tracer("test")

    async def ask_a_model() -> AsyncIterator[bytes]:
        with tracer.start_as_current_span("model"):
            yield b"x"

    def ask_a_sync_model() -> Iterator[bytes]:
        span = tracer.start_span("model")
        yield b"x"
        span.end()

    with tracer.start_as_current_span("request"):
        source: Any = ask_a_model if kind == "async" else ask_a_sync_model
        reader = await streams.arun("chat", source, owner="a")
    await read_all(reader)
    stream, model = by_name(exporter, "stream"), by_name(exporter, "model")
    assert model.parent is not None
    assert stream.context is not None
    assert model.parent.span_id == stream.context.span_id


@pytest.mark.usefixtures("telemetry")
async def test_two_streams_of_one_request_have_traces_of_their_own(
    streams: StreamManager, tracers: TracerProvider, exporter: InMemorySpanExporter
):
    with tracers.get_tracer("test").start_as_current_span("request"):
        readers = [await streams.arun(name, [b"x"], owner="a") for name in ("one", "two")]
    await asyncio.gather(*(read_all(reader) for reader in readers))
    spans = [span for span in exporter.get_finished_spans() if span.name == "stream"]
    assert len({span.context.trace_id for span in spans if span.context}) == 2


@pytest.mark.usefixtures("telemetry")
async def test_a_failed_stream_has_a_failed_span_without_the_message(
    streams: StreamManager, exporter: InMemorySpanExporter
):
    with pytest.raises(StreamFailed):
        await read_all(await streams.arun("chat", Tap(ValueError("secret")), owner="a"))
    span = by_name(exporter, "stream")
    assert not span.status.is_ok
    assert span.status.description == "source_failed"
    assert dict(span.attributes or {})["error.type"] == "source_failed"
    assert events(span)["exception"] == {"exception.type": "builtins.ValueError"}
    assert "secret" not in span.to_json()


async def test_a_stream_without_a_request_has_no_link(
    streams: StreamManager, telemetry: opentelemetry.Telemetry, exporter: InMemorySpanExporter
):
    await read_all(await streams.arun("chat", [b"x"], owner="a"))
    assert by_name(exporter, "stream").links == ()


@pytest.mark.usefixtures("refusal")
async def test_a_refused_stream_leaves_no_span(
    streams: StreamManager, exporter: InMemorySpanExporter, measured: Measured
):
    with pytest.raises(PermissionError):
        await streams.arun("chat", [b"x"], owner="a")
    assert exporter.get_finished_spans() == ()
    assert measured("stream.ended") == {labels(status="error", error="hook_failed"): 1}


async def test_streams_are_measured(streams: StreamManager, measured: Measured):
    tap = Tap()
    reader = await streams.arun("chat", tap, owner="a")
    waiting = asyncio.create_task(anext(reader))
    await tap.opened.wait()
    await waits(reader)
    tap.end(b"four")
    assert await waiting == b"four"
    assert measured("reader.count") == {labels(): 1}
    await read_all(reader)
    await asyncio.sleep(0)  # the turn in which the reader is detached
    await streams.aresume("chat", owner="a")
    await streams.aresume("chat", owner="b")
    assert measured("stream.acquired") == {labels(role="producer"): 1}
    assert measured("append.io") == {labels(): 4}
    assert measured("append.chunks") == {labels(): 1}
    assert measured("append.duration") == {labels(): 1}
    assert measured("delivery.duration") == {labels(): 1}
    assert measured("stream.ended") == {labels(status="done"): 1}
    assert measured("stream.duration") == {labels(status="done"): 1}
    assert measured("stream.time_to_first_byte") == {labels(): 1}
    assert measured("reader.count") == {labels(): 0}
    assert measured("resume.requests") == {
        labels(outcome="granted"): 1,
        labels(outcome="foreign"): 1,
    }


def test_faults_are_measured(measured: Measured):
    producer_lost.emit(MemoryStore, **STREAM, seen_by="reader", size=3)
    news_missed.emit(MemoryStore, **STREAM, offset=9, missing=4)
    heartbeat_failed.emit(
        MemoryStore, alias="default", producers=2, error=StoreUnavailable("default")
    )
    feed_connected.emit(MemoryStore, alias="default", again=False)
    feed_connected.emit(MemoryStore, alias="default", again=True)
    process_taken_over.emit(MemoryStore, alias="default", process="p", held=3, told=2)
    reader_lagged.emit(MemoryStore, **STREAM, offset=0, lag=300_000)
    kind = "resumable_streams.exceptions.StoreUnavailable"
    assert measured("producer.lost") == {labels(seen_by="reader"): 1}
    assert measured("news.gaps") == {labels(): 1}
    assert measured("heartbeat.failures") == {labels(error=kind): 1}
    assert measured("feed.reconnects") == {labels(): 1}
    assert measured("process.takeovers") == {labels(): 1}
    assert measured("reader.lag") == {labels(): 1}


def test_connecting_again_changes_nothing(telemetry: opentelemetry.Telemetry):
    before = len(stream_acquired.receivers)
    assert opentelemetry.connect() is telemetry
    assert len(stream_acquired.receivers) == before


async def test_refusals_are_measured_by_their_reason(measured: Measured):
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
    assert measured("request.refused") == {labels(operation="run", error="unavailable"): 1}


@pytest.mark.usefixtures("telemetry")
def test_histograms_have_bounds_for_milliseconds(meters: InMemoryMetricReader):
    """The default bounds put all that takes less than 5 seconds into one bucket."""
    for latency in (0.0004, 0.004, 0.04):
        stream_delivered.emit(MemoryStore, **STREAM, offset=0, size=1, latency=latency)
    exported: Any = meters.get_metrics_data()
    (points,) = [
        metric.data.data_points
        for metric in exported.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "resumable_streams.delivery.duration"
    ]
    assert sorted(points[0].bucket_counts)[-3:] == [1, 1, 1]


async def test_gauges_are_read_from_the_store_once_a_collection(
    streams: StreamManager, measured: Measured, monkeypatch
):
    tap = Tap(b"x")
    reader = await streams.arun("chat", tap, owner="a")
    await read_until(reader, 1)
    readings, read = [], GaugeReader.read

    def count(self: GaugeReader) -> Any:
        readings.append(self)
        return read(self)

    monkeypatch.setattr(GaugeReader, "read", count)
    live = await asyncio.to_thread(measured, "stream.live")
    assert live == {labels(alias=alias): 1 for alias in ("default", "elsewhere")}
    assert len(readings) == 1  # for all nine
    counted = await asyncio.to_thread(measured, "process.count")
    assert counted[labels(state="living")] == 1
    assert counted[labels(state="dying")] == 0
    tap.end()
    await read_all(reader)


def test_every_instrument_is_in_the_docs_with_its_unit():
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    table = page.partition("| instrument |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", table, re.MULTILINE))
    source = Path(str(opentelemetry.__file__)).read_text()
    made = dict(re.findall(r"\"([a-z_.]+)\",\s+\"(s|By|1|\{[a-z]+\})\"", source))
    made["reader.count"] = "{reader}"
    assert rows == made
