"""Traces and metrics for OpenTelemetry: receivers of our signals, and gauges of the store.

    class MyConfig(AppConfig):
        def ready(self):
            from resumable_streams.contrib import opentelemetry
            opentelemetry.connect()

Names, units and attributes follow the semantic conventions. Needs the extra `opentelemetry` (the
API; the SDK and its exporters are the project's choice).

A stream outlives the request that started it, so its span is the root of a trace of its own, from
the start of the producer to its end, with a *link* to the span of that request (unless a worker
produces it). The producer runs in a fresh context, which knows no trace; the stream's span is made
current there before the source is opened, so the work of the source (its call of a model, its
queries) is part of the stream's trace. On the span of a request that acquires, resumes or cancels
there is an event, with the id of the stream's trace if it is being produced in this process.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.dispatch import Signal
from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, TracerProvider

from ..operating.gauges import GaugeReader, Gauges
from ..signals import (
    feed_connected,
    heartbeat_failed,
    inline,
    news_missed,
    owner_checked,
    process_taken_over,
    producer_lost,
    reader_closed,
    reader_lagged,
    reader_opened,
    stream_acquired,
    stream_appended,
    stream_cancelled,
    stream_delivered,
    stream_failed,
    stream_finalized,
    stream_first_byte,
    stream_refused,
    stream_resumed,
    stream_started,
)
from ..types import Role, StreamStatus
from .labels import BYTES, LONG_SECONDS, SECONDS, WAITING_SECONDS
from .tenants import TenantLabels

__all__ = ["Telemetry", "connect"]

NAME = "resumable_streams"
MAX_REQUESTS = 10_000
SAME_READING_SECONDS = 1.0

_connected: list["Telemetry"] = []


def _counter(meter: metrics.Meter, name: str, unit: str, text: str) -> metrics.Counter:
    return meter.create_counter(f"{NAME}.{name}", unit=unit, description=text)


def _histogram(
    meter: metrics.Meter, name: str, unit: str, text: str, bounds: Sequence[float]
) -> metrics.Histogram:
    # Advice, which a view of the project overrides: the default bounds begin at 5 seconds.
    return meter.create_histogram(
        f"{NAME}.{name}",
        unit=unit,
        description=text,
        explicit_bucket_boundaries_advisory=bounds,
    )


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
    thousand that this process sees a stream of, "(other)" for the rest (spans have it anyway).
    Calling it again changes nothing.
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
        self._bases: dict[tuple[str, str], dict[str, str]] = {}  # of measurements
        self._tracer = trace.get_tracer(NAME, tracer_provider=tracer_provider)
        meter = metrics.get_meter(NAME, meter_provider=meter_provider)
        self._make_instruments(meter)
        self._gauges = ObservedGauges(meter, self._tenants)

    def _make_instruments(self, meter: metrics.Meter) -> None:
        self._count(partial(_counter, meter))
        self._measure(partial(_histogram, meter))
        self._readers = meter.create_up_down_counter(
            f"{NAME}.reader.count",
            unit="{reader}",
            description="Readers attached to this process now.",
        )

    def _count(self, counter: Callable[[str, str, str], metrics.Counter]) -> None:
        self._acquired = counter("stream.acquired", "{stream}", "Streams acquired.")
        self._ended = counter("stream.ended", "{stream}", "Ends of streams.")
        self._appended_bytes = counter("append.io", "By", "Bytes that the store accepted.")
        self._appended_chunks = counter("append.chunks", "{chunk}", "Chunks of sources, stored.")
        self._resumes = counter("resume.requests", "{request}", "Resumes asked for.")
        self._checks = counter("owner.checks", "{check}", "Owner checks.")
        self._refused = counter("request.refused", "{request}", "Requests that a view refused.")
        self._lost = counter("producer.lost", "{stream}", "Producers whose lease ran out.")
        self._takeovers = counter(
            "process.takeovers", "{process}", "Dead processes that this one took over."
        )
        self._heartbeat_failures = counter(
            "heartbeat.failures", "{heartbeat}", "Renewals of leases that failed."
        )
        self._gaps = counter("news.gaps", "{gap}", "Gaps in the news, filled from the store.")
        self._reconnects = counter("feed.reconnects", "{connection}", "Push connections made anew.")

    def _measure(
        self, histogram: Callable[[str, str, str, Sequence[float]], metrics.Histogram]
    ) -> None:
        self._stream_duration = histogram(
            "stream.duration", "s", "From the start of a stream to its end.", LONG_SECONDS
        )
        self._first_byte = histogram(
            "stream.time_to_first_byte",
            "s",
            "From the start of a producer to its first stored byte.",
            WAITING_SECONDS,
        )
        self._append_duration = histogram(
            "append.duration", "s", "Append, with its retries.", SECONDS
        )
        self._lag = histogram("reader.lag", "By", "Bytes that readers were behind, a page.", BYTES)
        self._delivery_duration = histogram(
            "delivery.duration",
            "s",
            "From the append (or the arrival of its news) to a waiting reader.",
            SECONDS,
        )

    def connect(self) -> None:
        for signal, receiver in self._receivers():
            signal.connect(receiver, weak=False)

    def disconnect(self) -> None:
        """Stop tracing and measuring; spans that are open end here."""
        for signal, receiver in self._receivers():
            signal.disconnect(receiver)
        for span in self._spans.values():
            span.end()
        self._spans.clear()
        self._gauges.close()
        if self in _connected:
            _connected.remove(self)

    def _receivers(self) -> list[tuple[Signal, Any]]:
        return [
            (stream_acquired, self._on_acquired),
            (stream_started, self._on_started),
            (stream_first_byte, self._on_first_byte),
            (stream_appended, self._on_appended),
            (stream_failed, self._on_failed),
            (stream_finalized, self._on_finalized),
            (producer_lost, self._on_lost),
            (process_taken_over, self._on_taken_over),
            (heartbeat_failed, self._on_heartbeat_failed),
            (stream_resumed, self._on_resumed),
            (owner_checked, self._on_checked),
            (stream_refused, self._on_refused),
            (stream_cancelled, self._on_cancelled),
            (reader_opened, self._on_opened),
            (reader_closed, self._on_closed),
            (reader_lagged, self._on_lagged),
            (stream_delivered, self._on_delivered),
            (news_missed, self._on_missed),
            (feed_connected, self._on_feed_connected),
        ]

    def _labels(
        self, named: dict[str, Any], *, has_stream: bool = True, **more: str
    ) -> dict[str, str]:
        """Return the attributes of a measurement; without `more` not to be changed."""
        tenant = ""
        if self._tenants is not None:
            tenant = self._tenants.label(named["tenant"], has_stream=has_stream)
        base = self._bases.get((named["alias"], tenant))
        if base is None:  # kept, as appends and deliveries ask for it
            base = _named(alias=named["alias"], **({"tenant": tenant} if tenant else {}))
            self._bases[named["alias"], tenant] = base
        return {**base, **_named(**more)} if more else base

    # The span of a stream.

    @inline
    def _on_acquired(self, *, role: Role, **named: Any) -> None:
        self._acquired.add(1, self._labels(named, role=str(role)))
        stream = _id(**named)
        if role is Role.PRODUCER:
            self._requests[stream] = trace.get_current_span().get_span_context()
            if len(self._requests) > MAX_REQUESTS:  # those that a worker produces stay
                del self._requests[next(iter(self._requests))]
        self._note("stream.acquired", stream, role=str(role))

    @inline
    def _on_started(self, **named: Any) -> None:
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
            span.add_event("exception", {"exception.type": _kind(error)})

    @inline
    def _on_finalized(
        self,
        *,
        status: StreamStatus,
        error_code: str,
        size: int,
        duration: float,
        **named: Any,
    ) -> None:
        labels = {**self._labels(named, status=str(status)), **_error(error_code)}
        self._ended.add(1, labels)
        self._stream_duration.record(duration, labels)
        self._requests.pop(_id(**named), None)
        span = self._spans.pop(_id(**named), None)
        if span is None:  # refused, or drained, before its source began
            return
        outcome = {f"{NAME}.status": str(status), f"{NAME}.error_code": str(error_code)}
        span.set_attributes({**outcome, f"{NAME}.size": size})
        span.add_event("stream.finalized", outcome)
        if status is StreamStatus.ERROR:
            span.set_attributes(_error(error_code))
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
    def _on_first_byte(self, *, duration: float, **named: Any) -> None:
        self._first_byte.record(duration, self._labels(named))

    @inline
    def _on_taken_over(self, *, alias: str, **named: Any) -> None:
        self._takeovers.add(1, _named(alias=alias))

    @inline
    def _on_refused(self, *, alias: str, operation: str, reason: str, **named: Any) -> None:
        self._refused.add(1, {**_named(alias=alias, operation=operation), **_error(reason)})

    @inline
    def _on_lagged(self, *, lag: int, **named: Any) -> None:
        self._lag.record(lag, self._labels(named))

    @inline
    def _on_lost(self, *, seen_by: str, **named: Any) -> None:
        self._lost.add(1, self._labels(named, seen_by=seen_by))

    @inline
    def _on_heartbeat_failed(self, *, alias: str, error: Exception, **named: Any) -> None:
        labels = {**_named(alias=alias), **_error(_kind(error))}
        self._heartbeat_failures.add(1, labels)

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
            self._reconnects.add(1, _named(alias=alias))


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


def _named(**values: str) -> dict[str, str]:
    """Return attributes in our namespace."""
    return {f"{NAME}.{name}": value for name, value in values.items()}


def _error(kind: str) -> dict[str, str]:
    """Return the attribute of what failed; nothing if nothing did."""
    return {"error.type": str(kind)} if kind else {}


def _kind(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


class ObservedGauges:
    """Gauges that each collection reads from the store; the same in every process.

    One reading serves all of them.
    """

    def __init__(self, meter: metrics.Meter, tenants: TenantLabels | None) -> None:
        self._tenants = tenants
        self._reader = GaugeReader(by_tenant=tenants is not None)
        self._last: tuple[float, Sequence[Gauges]] = (-math.inf, ())
        self._is_closed = False
        for name, unit, text, observe in (
            ("store.up", "1", "Whether the store answers.", _up),
            ("stream.live", "{stream}", "Streams that living processes produce.", self._live),
            ("stream.waiting", "{stream}", "Streams that wait for a process.", self._waiting),
            ("process.count", "{process}", "Processes that produce or read streams.", _processes),
            ("order.count", "{order}", "Orders for workers.", _orders),
            ("order.oldest_age", "s", "Age of the oldest order that waits.", _age),
            ("worker.count", "{worker}", "Workers that take orders.", _workers),
            ("store.memory.usage", "By", "Memory the server uses.", _used),
            ("store.memory.limit", "By", "Its limit; nothing without one.", _limit),
        ):
            meter.create_observable_gauge(
                f"{NAME}.{name}", [self._callback(observe)], unit=unit, description=text
            )

    def close(self) -> None:
        """Observe nothing any more; instruments cannot be taken back."""
        self._is_closed = True

    def _callback(self, observe: "Observe") -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(options: CallbackOptions) -> Iterator[Observation]:
            for gauges in self._read():
                for more, value in observe(gauges):
                    yield Observation(value, _named(alias=gauges.alias, **more))

        return callback

    def _read(self) -> Sequence[Gauges]:
        if self._is_closed:
            return ()
        when, found = self._last
        if time.monotonic() - when > SAME_READING_SECONDS:
            found = self._reader.read()
            self._last = time.monotonic(), found
        return found

    def _live(self, gauges: Gauges) -> "Values":
        return self._by_tenant(gauges.census.held if gauges.census else None)

    def _waiting(self, gauges: Gauges) -> "Values":
        return self._by_tenant(gauges.census.waiting if gauges.census else None)

    def _by_tenant(self, streams: Mapping[str, int] | None) -> "Values":
        if streams is None:
            return
        if self._tenants is None:
            yield {}, sum(streams.values())
            return
        for label, number in self._tenants.sums(streams).items():
            yield {"tenant": label}, number


Values = Iterable[tuple[dict[str, str], float]]
Observe = Callable[[Gauges], Values]


def _up(gauges: Gauges) -> Values:
    yield {}, int(gauges.is_up)


def _processes(gauges: Gauges) -> Values:
    if gauges.census is not None:
        yield {"state": "living"}, gauges.census.living
        yield {"state": "dying"}, gauges.census.dying


def _orders(gauges: Gauges) -> Values:
    if gauges.backlog is not None:
        yield {"state": "waiting"}, gauges.backlog.waiting
        yield {"state": "taken"}, gauges.backlog.taken


def _age(gauges: Gauges) -> Values:
    if gauges.backlog is not None:
        yield {}, gauges.backlog.oldest_age


def _workers(gauges: Gauges) -> Values:
    if gauges.backlog is not None:
        yield {}, gauges.backlog.workers


def _used(gauges: Gauges) -> Values:
    if gauges.memory is not None:
        yield {}, gauges.memory.used


def _limit(gauges: Gauges) -> Values:
    if gauges.memory is not None and gauges.memory.limit < math.inf:
        yield {}, gauges.memory.limit
