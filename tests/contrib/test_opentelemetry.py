"""Spans and measurements, as the real SDK exports them into memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
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
from resumable_streams.signals import (
    feed_connected,
    heartbeat_failed,
    news_missed,
    producer_lost,
    stream_acquired,
)
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.streams import StreamManager
from tests.tools.readers import read_all, waits
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
    return frozenset({"alias": "default", **named}.items())


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
    assert measured("live") == {}


async def test_streams_are_measured(streams: StreamManager, measured: Measured):
    tap = Tap()
    reader = await streams.arun("chat", tap, owner="a")
    waiting = asyncio.create_task(anext(reader))
    await tap.opened.wait()
    await waits(reader)
    assert measured("live") == {labels(): 1}
    tap.end(b"four")
    assert await waiting == b"four"
    assert measured("readers") == {labels(): 1}
    await read_all(reader)
    await asyncio.sleep(0)  # the turn in which the reader is detached
    await streams.aresume("chat", owner="a")
    await streams.aresume("chat", owner="b")
    assert measured("acquires") == {labels(role="producer"): 1}
    assert measured("appended") == {labels(): 4}
    assert measured("appended_chunks") == {labels(): 1}
    assert measured("append.duration") == {labels(): 1}
    assert measured("delivery.duration") == {labels(): 1}
    assert measured("finalizes") == {labels(status="done", error_code=""): 1}
    assert measured("live") == {labels(): 0}
    assert measured("readers") == {labels(): 0}
    assert measured("resumes") == {labels(outcome="granted"): 1, labels(outcome="foreign"): 1}


def test_faults_are_measured(measured: Measured):
    producer_lost.emit(MemoryStore, **STREAM, seen_by="reader", size=3)
    news_missed.emit(MemoryStore, **STREAM, offset=9, missing=4)
    heartbeat_failed.emit(
        MemoryStore, alias="default", producers=2, error=StoreUnavailable("default")
    )
    feed_connected.emit(MemoryStore, alias="default", again=False)
    feed_connected.emit(MemoryStore, alias="default", again=True)
    assert measured("producers_lost") == {labels(seen_by="reader"): 1}
    assert measured("hub_gaps") == {labels(): 1}
    assert measured("heartbeat_failures") == {labels(): 1}
    assert measured("feed_reconnects") == {labels(): 1}


def test_to_connect_again_changes_nothing(telemetry: opentelemetry.Telemetry):
    before = len(stream_acquired.receivers)
    assert opentelemetry.connect() is telemetry
    assert len(stream_acquired.receivers) == before
