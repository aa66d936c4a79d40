"""Metrics for Prometheus: receivers of our signals, and nothing else.

    class MyConfig(AppConfig):
        def ready(self):
            from resumable_streams.contrib import prometheus
            prometheus.connect()

Needs the extra `prometheus`. How the metrics are served is for the project to say (an endpoint of
its own, django-prometheus, `start_http_server`); with several processes behind one endpoint, set
PROMETHEUS_MULTIPROC_DIR, as for any metric of `prometheus_client`.
"""

from typing import Any

from django.dispatch import Signal
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

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
    stream_delivered,
    stream_finalized,
    stream_resumed,
    stream_started,
)
from ..types import Role
from .tenants import TenantLabels

__all__ = ["Metrics", "connect"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_connected: dict[CollectorRegistry, "Metrics"] = {}


def connect(registry: CollectorRegistry | None = None, *, tenants: bool = False) -> "Metrics":
    """Make the metrics in `registry` (the default one if None) and keep them up to date.

    With `tenants` every metric of a stream has a label `tenant`: of the first thousand that this
    process sees a stream of, "(other)" for the rest. To call it again for the same registry
    changes nothing.
    """
    registry = REGISTRY if registry is None else registry
    if registry not in _connected:
        _connected[registry] = Metrics(registry, tenants=tenants)
        _connected[registry].connect()
    return _connected[registry]


class Metrics:
    """The metrics of one registry, and the receivers that feed them."""

    def __init__(self, registry: CollectorRegistry, *, tenants: bool):
        self._registry = registry
        self._tenants = TenantLabels() if tenants else None
        self._live_epochs: set[str] = set()
        self._per_append: dict[tuple[str, ...], tuple[Counter, Counter, Histogram]] = {}
        self._base = ("alias", "tenant") if tenants else ("alias",)
        self._make_production()
        self._make_reading()

    def _make_production(self) -> None:
        self.acquires = self._counter("acquires", "Streams acquired.", "role")
        self.live = self._gauge("live", "Streams that this process produces now.")
        self.appended_bytes = self._counter("appended_bytes", "Bytes that the store accepted.")
        self.appended_chunks = self._counter("appended_chunks", "Chunks of sources, stored.")
        self.append_seconds = self._histogram("append_seconds", "Append, with its retries.")
        self.finalizes = self._counter("finalizes", "Ends of producers.", "status", "error_code")
        self.lost = self._counter("producers_lost", "Producers whose lease ran out.", "seen_by")
        self.heartbeat_failures = self._process_counter(
            "heartbeat_failures", "Renewals of leases that failed."
        )

    def _make_reading(self) -> None:
        self.resumes = self._counter("resumes", "Resumes asked for.", "outcome")
        self.checks = self._counter("owner_checks", "Owner checks.", "operation", "outcome")
        self.readers = self._gauge("readers", "Readers attached to this process now.")
        self.delivery_seconds = self._histogram(
            "delivery_seconds", "From the append (or the arrival of its news) to a waiting reader."
        )
        self.gaps = self._counter("hub_gaps", "Gaps in the news, filled from the store.")
        self.reconnects = self._process_counter("feed_reconnects", "Push connections made anew.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(
            f"resumable_streams_{name}", text, (*self._base, *labels), registry=self._registry
        )

    def _process_counter(self, name: str, text: str) -> Counter:
        return Counter(f"resumable_streams_{name}", text, ("alias",), registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(
            f"resumable_streams_{name}",
            text,
            self._base,
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(
            f"resumable_streams_{name}", text, self._base, registry=self._registry, buckets=SECONDS
        )

    def connect(self) -> None:
        for signal, receiver in self._receivers():
            signal.connect(receiver, weak=False)

    def disconnect(self) -> None:
        """Stop to count, and take the metrics out of the registry."""
        for signal, receiver in self._receivers():
            signal.disconnect(receiver)
        for metric in vars(self).values():
            if isinstance(metric, Counter | Gauge | Histogram):
                self._registry.unregister(metric)
        _connected.pop(self._registry, None)

    def _receivers(self) -> list[tuple[Signal, Any]]:
        return [
            (stream_acquired, self._acquired),
            (stream_started, self._started),
            (stream_appended, self._appended),
            (stream_finalized, self._finalized),
            (producer_lost, self._lost),
            (heartbeat_failed, self._heartbeat_failed),
            (stream_resumed, self._resumed),
            (owner_checked, self._checked),
            (reader_opened, self._opened),
            (reader_closed, self._closed),
            (stream_delivered, self._delivered),
            (news_missed, self._missed),
            (feed_connected, self._feed_connected),
        ]

    def _labels(self, named: dict[str, Any], *, has_stream: bool = True) -> tuple[str, ...]:
        if self._tenants is None:
            return (named["alias"],)
        return named["alias"], self._tenants.label(named["tenant"], has_stream=has_stream)

    # Receivers.

    @inline
    def _acquired(self, *, role: Role, **named: Any) -> None:
        self.acquires.labels(*self._labels(named), role).inc()

    @inline
    def _started(self, *, epoch: str, **named: Any) -> None:
        self._live_epochs.add(epoch)
        self.live.labels(*self._labels(named)).inc()

    @inline
    def _appended(self, *, size: int, chunks: int, duration: float, **named: Any) -> None:
        labels = self._labels(named)
        found = self._per_append.get(labels)
        if found is None:  # kept, because to look up a label costs more than to count
            found = self._per_append[labels] = (
                self.appended_bytes.labels(*labels),
                self.appended_chunks.labels(*labels),
                self.append_seconds.labels(*labels),
            )
        found[0].inc(size)
        found[1].inc(chunks)
        found[2].observe(duration)

    @inline
    def _finalized(self, *, status: str, error_code: str, epoch: str, **named: Any) -> None:
        labels = self._labels(named)
        if epoch in self._live_epochs:  # else it was refused, or drained, before its source began
            self._live_epochs.discard(epoch)
            self.live.labels(*labels).dec()
        self.finalizes.labels(*labels, status, error_code).inc()

    @inline
    def _lost(self, *, seen_by: str, **named: Any) -> None:
        self.lost.labels(*self._labels(named), seen_by).inc()

    @inline
    def _heartbeat_failed(self, *, alias: str, **named: Any) -> None:
        self.heartbeat_failures.labels(alias).inc()

    @inline
    def _resumed(self, **named: Any) -> None:
        self.resumes.labels(*self._labels(named), "granted").inc()

    @inline
    def _checked(self, *, operation: str, outcome: str, **named: Any) -> None:
        labels = self._labels(named, has_stream=outcome != "missing")
        self.checks.labels(*labels, operation, outcome).inc()
        if operation == "resume" and outcome != "match":
            self.resumes.labels(*labels, outcome).inc()

    @inline
    def _opened(self, **named: Any) -> None:
        self.readers.labels(*self._labels(named)).inc()

    @inline
    def _closed(self, **named: Any) -> None:
        self.readers.labels(*self._labels(named)).dec()

    @inline
    def _delivered(self, *, latency: float, **named: Any) -> None:
        self.delivery_seconds.labels(*self._labels(named)).observe(latency)

    @inline
    def _missed(self, **named: Any) -> None:
        self.gaps.labels(*self._labels(named)).inc()

    @inline
    def _feed_connected(self, *, alias: str, again: bool, **named: Any) -> None:
        if again:
            self.reconnects.labels(alias).inc()
