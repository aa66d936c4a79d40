"""Traces and metrics for OpenTelemetry: receivers of our signals, and nothing else.

    class MyConfig(AppConfig):
        def ready(self):
            from resumable_streams.contrib import opentelemetry
            opentelemetry.connect()

Needs the extra `opentelemetry` (the API; the SDK and its exporters are the project's choice).

A stream outlives the request that started it, so its span is the root of a trace of its own, from
the start of the producer to its end, with a *link* to the span of that request (unless a worker
produces it). The producer runs in a fresh context, which knows no trace; the stream's span is made
current there before the source is opened, so the work of the source (its call of a model, its
queries) is part of the stream's trace. On the span of a request that acquires, resumes or cancels
there is an event, with the id of the stream's trace if it is being produced in this process.
"""

from dataclasses import dataclass
from typing import Any

from django.dispatch import Signal
from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, TracerProvider

from ..signals import (
    feed_connected,
    heartbeat_failed,
    inline,
    news_missed,
    owner_checked,
    producer_lost,
    reader_closed,
    reader_opened,
    stream_acquired,
    stream_appended,
    stream_cancelled,
    stream_delivered,
    stream_failed,
    stream_finalized,
    stream_resumed,
    stream_started,
)
from ..types import Role, StreamStatus
from .tenants import TenantLabels

__all__ = ["Telemetry", "connect"]

NAME = "resumable_streams"
MAX_REQUESTS = 10_000

_connected: list["Telemetry"] = []


@dataclass(frozen=True, slots=True)
class _Id:
    alias: str
    tenant: str
    generation: int
    stream_id: str
    epoch: str


def connect(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    tenants: bool = False,
) -> "Telemetry":
    """Trace and measure, with the global providers unless others are given.

    With `tenants` every measurement of a stream has an attribute with its tenant: of the first
    thousand that this process sees a stream of, "(other)" for the rest (spans have it anyway). To
    call it again changes nothing.
    """
    if not _connected:
        telemetry = Telemetry(tracer_provider, meter_provider, tenants=tenants)
        telemetry.connect()
        _connected.append(telemetry)
    return _connected[0]


class Telemetry:
    """The spans of the streams that are produced here, and the instruments."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        *,
        tenants: bool,
    ):
        self._tenants = TenantLabels() if tenants else None
        self._requests: dict[_Id, SpanContext] = {}  # of the streams that have yet to start
        self._spans: dict[_Id, Span] = {}
        self._tracer = trace.get_tracer(NAME, tracer_provider=tracer_provider)
        self._make_instruments(metrics.get_meter(NAME, meter_provider=meter_provider))

    def _make_instruments(self, meter: metrics.Meter) -> None:
        def counter(name: str, unit: str) -> metrics.Counter:
            return meter.create_counter(f"{NAME}.{name}", unit=unit)

        def gauge(name: str, unit: str) -> metrics.UpDownCounter:
            return meter.create_up_down_counter(f"{NAME}.{name}", unit=unit)

        self._acquires = counter("acquires", "{stream}")
        self._live = gauge("live", "{stream}")
        self._appended_bytes = counter("appended", "By")
        self._appended_chunks = counter("appended_chunks", "{chunk}")
        self._append_duration = meter.create_histogram(f"{NAME}.append.duration", unit="s")
        self._finalizes = counter("finalizes", "{stream}")
        self._lost = counter("producers_lost", "{stream}")
        self._heartbeat_failures = counter("heartbeat_failures", "{batch}")
        self._resumes = counter("resumes", "{resume}")
        self._checks = counter("owner_checks", "{check}")
        self._readers = gauge("readers", "{reader}")
        self._delivery_duration = meter.create_histogram(f"{NAME}.delivery.duration", unit="s")
        self._gaps = counter("hub_gaps", "{gap}")
        self._reconnects = counter("feed_reconnects", "{connection}")

    def connect(self) -> None:
        for signal, receiver in self._receivers():
            signal.connect(receiver, weak=False)

    def disconnect(self) -> None:
        """Stop to trace and to measure; spans that are open end here."""
        for signal, receiver in self._receivers():
            signal.disconnect(receiver)
        for span in self._spans.values():
            span.end()
        self._spans.clear()
        if self in _connected:
            _connected.remove(self)

    def _receivers(self) -> list[tuple[Signal, Any]]:
        return [
            (stream_acquired, self._on_acquired),
            (stream_started, self._on_started),
            (stream_appended, self._on_appended),
            (stream_failed, self._on_failed),
            (stream_finalized, self._on_finalized),
            (producer_lost, self._on_lost),
            (heartbeat_failed, self._on_heartbeat_failed),
            (stream_resumed, self._on_resumed),
            (owner_checked, self._on_checked),
            (stream_cancelled, self._on_cancelled),
            (reader_opened, self._on_opened),
            (reader_closed, self._on_closed),
            (stream_delivered, self._on_delivered),
            (news_missed, self._on_missed),
            (feed_connected, self._on_feed_connected),
        ]

    def _labels(
        self, named: dict[str, Any], *, has_stream: bool = True, **more: str
    ) -> dict[str, str]:
        labels = {"alias": named["alias"], **more}
        if self._tenants is not None:
            labels["tenant"] = self._tenants.label(named["tenant"], has_stream=has_stream)
        return labels

    # The span of a stream.

    @inline
    def _on_acquired(self, *, role: Role, **named: Any) -> None:
        self._acquires.add(1, self._labels(named, role=str(role)))
        stream = _id(**named)
        if role is Role.PRODUCER:
            self._requests[stream] = trace.get_current_span().get_span_context()
            if len(self._requests) > MAX_REQUESTS:  # those that a worker produces stay
                del self._requests[next(iter(self._requests))]
        self._note("stream.acquired", stream, role=str(role))

    @inline
    def _on_started(self, **named: Any) -> None:
        self._live.add(1, self._labels(named))
        stream = _id(**named)
        request = self._requests.pop(stream, None)
        span = self._spans[stream] = self._tracer.start_span(
            "stream",
            context=Context(),  # a root: the request ends long before
            attributes=_attributes(stream),
            links=[Link(request)] if request is not None and request.is_valid else [],
        )
        # Never detached: this context is the source's own, and ends with it.
        context.attach(trace.set_span_in_context(span))

    @inline
    def _on_failed(self, *, error: BaseException, error_code: str, **named: Any) -> None:
        span = self._spans.get(_id(**named))
        if span is not None:  # the type only: a message may quote what was streamed
            kind = f"{type(error).__module__}.{type(error).__qualname__}"
            span.add_event("exception", {"exception.type": kind})

    @inline
    def _on_finalized(
        self, *, status: StreamStatus, error_code: str, size: int, **named: Any
    ) -> None:
        self._finalizes.add(1, self._labels(named, status=str(status), error_code=str(error_code)))
        self._requests.pop(_id(**named), None)
        span = self._spans.pop(_id(**named), None)
        if span is None:  # refused, or drained, before its source began
            return
        self._live.add(-1, self._labels(named))
        outcome = {f"{NAME}.status": str(status), f"{NAME}.error_code": str(error_code)}
        span.set_attributes({**outcome, f"{NAME}.size": size})
        span.add_event("stream.finalized", outcome)
        if status is StreamStatus.ERROR:
            span.set_status(Status(StatusCode.ERROR, str(error_code)))
        span.end()

    @inline
    def _on_resumed(self, *, offset: int, **named: Any) -> None:
        self._resumes.add(1, self._labels(named, outcome="granted"))
        self._note("stream.resumed", _id(**named), offset=offset)

    @inline
    def _on_cancelled(self, **named: Any) -> None:
        self._note("stream.cancelled", _id(**named))

    def _note(self, event: str, stream: _Id, **fields: str | int) -> None:
        """Add an event to the span of the request, and to the stream's if it is produced here."""
        span = self._spans.get(stream)
        known = {f"{NAME}.{name}": value for name, value in fields.items()}
        if span is not None:
            span.add_event(event, known)
        attributes = {**_attributes(stream), **known}
        if span is not None:
            trace_id = trace.format_trace_id(span.get_span_context().trace_id)
            attributes[f"{NAME}.trace_id"] = trace_id
        trace.get_current_span().add_event(event, attributes)

    # Measurements alone.

    @inline
    def _on_appended(self, *, size: int, chunks: int, duration: float, **named: Any) -> None:
        labels = self._labels(named)
        self._appended_bytes.add(size, labels)
        self._appended_chunks.add(chunks, labels)
        self._append_duration.record(duration, labels)

    @inline
    def _on_lost(self, *, seen_by: str, **named: Any) -> None:
        self._lost.add(1, self._labels(named, seen_by=seen_by))

    @inline
    def _on_heartbeat_failed(self, *, alias: str, **named: Any) -> None:
        self._heartbeat_failures.add(1, {"alias": alias})

    @inline
    def _on_checked(self, *, operation: str, outcome: str, **named: Any) -> None:
        has_stream = outcome != "missing"
        labels = self._labels(named, has_stream=has_stream, operation=operation, outcome=outcome)
        self._checks.add(1, labels)
        if operation == "resume" and outcome != "match":
            self._resumes.add(1, self._labels(named, has_stream=has_stream, outcome=outcome))

    @inline
    def _on_opened(self, **named: Any) -> None:
        self._readers.add(1, self._labels(named))

    @inline
    def _on_closed(self, **named: Any) -> None:
        self._readers.add(-1, self._labels(named))

    @inline
    def _on_delivered(self, *, latency: float, **named: Any) -> None:
        self._delivery_duration.record(latency, self._labels(named))

    @inline
    def _on_missed(self, **named: Any) -> None:
        self._gaps.add(1, self._labels(named))

    @inline
    def _on_feed_connected(self, *, alias: str, again: bool, **named: Any) -> None:
        if again:
            self._reconnects.add(1, {"alias": alias})


def _id(
    *, alias: str, tenant: str, generation: int, stream_id: str, epoch: str, **named: Any
) -> _Id:
    return _Id(alias, tenant, generation, stream_id, epoch)


def _attributes(stream: _Id) -> dict[str, str | int]:
    return {
        f"{NAME}.alias": stream.alias,
        f"{NAME}.tenant": stream.tenant,
        f"{NAME}.generation": stream.generation,
        f"{NAME}.stream_id": stream.stream_id,
    }
