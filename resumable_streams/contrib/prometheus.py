"""Metrics for Prometheus: receivers of our signals, and gauges that are read from the store.

    class MyConfig(AppConfig):
        def ready(self):
            from resumable_streams.contrib import prometheus
            prometheus.connect()

Needs the extra `prometheus`. The project decides how the metrics are served (an endpoint of its
own, django-prometheus, `start_http_server`). With several processes behind one endpoint, set
PROMETHEUS_MULTIPROC_DIR, as for any metric of `prometheus_client`, and register `StoreGauges` next
to its `MultiProcessCollector`.

Every series exists from the start, at 0: an alert on the first event has something to compare with.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from django.dispatch import Signal
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..conf import get_aliases
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
    stream_delivered,
    stream_finalized,
    stream_first_byte,
    stream_refused,
    stream_resumed,
)
from ..types import Role
from .labels import (
    BYTES,
    CHECKS,
    ENDS,
    LONG_SECONDS,
    OPERATIONS,
    OUTCOMES,
    REASONS,
    SECONDS,
    SEEN_BY,
    WAITING_SECONDS,
)
from .tenants import OTHER, TenantLabels

__all__ = ["Metrics", "StoreGauges", "connect", "serve"]

Labels = tuple[str, ...]
Metric = Counter | Gauge | Histogram

_connected: dict[CollectorRegistry, "Metrics"] = {}


def connect(registry: CollectorRegistry | None = None, *, tenants: bool = False) -> "Metrics":
    """Make the metrics in `registry` (the default one if None) and keep them up to date.

    With `tenants` the counters and gauges of streams have a label `tenant`, with the names of the
    first thousand tenants that this process sees a stream of, and "(other)" for the rest. Calling
    it again for the same registry changes nothing.
    """
    registry = REGISTRY if registry is None else registry
    if registry not in _connected:
        _connected[registry] = Metrics(registry, tenants=tenants)
        _connected[registry].connect()
    return _connected[registry]


def serve(port: int, address: str = "127.0.0.1") -> Callable[[], None]:
    """Serve the metrics of this process over HTTP, from a thread; return the function that ends it.

    Raises OSError if the port is taken.
    """
    connect()
    server, thread = start_http_server(port, addr=address)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


class Metrics:
    """The metrics of one registry, and the receivers that feed them."""

    def __init__(self, registry: CollectorRegistry, *, tenants: bool):
        self._registry = registry
        self._tenants = TenantLabels() if tenants else None
        self._base = ("alias", "tenant") if tenants else ("alias",)
        self._by_stream: list[tuple[Metric, Sequence[Labels]]] = []
        self._by_alias: list[tuple[Metric, Sequence[Labels]]] = []
        self._begun: set[Labels] = set()
        self._per_append: dict[Labels, tuple[Counter, Counter, Histogram]] = {}
        self._make_production()
        self._make_reading()
        self._make_faults()
        self._gauges = StoreGauges(tenants=self._tenants)

    def _make_production(self) -> None:
        roles = [(role.value,) for role in Role]
        self.acquires = self._counter("acquires", "Streams acquired.", ["role"], roles)
        self.appended_bytes = self._counter(
            "appended_bytes", "Bytes that the store accepted.", unit="bytes"
        )
        self.appended_chunks = self._counter("appended_chunks", "Chunks of sources, stored.")
        self.append_seconds = self._histogram(
            "append_seconds", "Append, with its retries.", "seconds", SECONDS
        )
        self.first_byte_seconds = self._histogram(
            "first_byte_seconds",
            "From the start of a producer to its first stored byte.",
            "seconds",
            WAITING_SECONDS,
        )
        self.stream_seconds = self._histogram(
            "stream_seconds", "From the start of a stream to its end.", "seconds", LONG_SECONDS
        )
        self.finalizes = self._counter(
            "finalizes", "Ends of streams.", ["status", "error_code"], ENDS
        )

    def _make_reading(self) -> None:
        self.resumes = self._counter(
            "resumes", "Resumes asked for.", ["outcome"], [("granted",), *product(OUTCOMES[1:])]
        )
        self.checks = self._counter(
            "owner_checks",
            "Owner checks.",
            ["operation", "outcome"],
            list(product(CHECKS, OUTCOMES)),
        )
        self.refusals = self._counter(
            "refusals",
            "Requests that a view refused.",
            ["operation", "reason"],
            list(product(OPERATIONS, REASONS)),
            by_stream=False,
        )
        self.readers = Gauge(
            "resumable_streams_readers",
            "Readers attached to this process now.",
            self._base,
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._by_stream.append((self.readers, [()]))
        self.delivery_seconds = self._histogram(
            "delivery_seconds",
            "From the append (or the arrival of its news) to a waiting reader.",
            "seconds",
            SECONDS,
        )
        self.lag_bytes = self._histogram(
            "reader_lag_bytes", "Bytes that readers were behind, a page.", "bytes", BYTES
        )

    def _make_faults(self) -> None:
        self.lost = self._counter(
            "producers_lost", "Producers whose lease ran out.", ["seen_by"], list(product(SEEN_BY))
        )
        self.gaps = self._counter("hub_gaps", "Gaps in the news, filled from the store.")
        self.heartbeat_failures = self._counter(
            "heartbeat_failures", "Renewals of leases that failed.", by_stream=False
        )
        self.reconnects = self._counter(
            "feed_reconnects", "Push connections made anew.", by_stream=False
        )
        self.takeovers = self._counter(
            "takeovers", "Dead processes that this one took over.", by_stream=False
        )
        self.taken_over = self._counter(
            "taken_over_streams", "Streams held by these processes.", by_stream=False
        )

    def _counter(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        values: Sequence[Labels] = ((),),
        *,
        unit: str = "",
        by_stream: bool = True,
    ) -> Counter:
        base = self._base if by_stream else ("alias",)
        made = Counter(
            f"resumable_streams_{name}", text, (*base, *labels), unit=unit, registry=self._registry
        )
        (self._by_stream if by_stream else self._by_alias).append((made, values))
        return made

    def _histogram(self, name: str, text: str, unit: str, buckets: Sequence[float]) -> Histogram:
        # Without tenants: each would be a dozen series.
        made = Histogram(
            f"resumable_streams_{name}",
            text,
            ["alias"],
            unit=unit,
            registry=self._registry,
            buckets=buckets,
        )
        self._by_alias.append((made, [()]))
        return made

    def _begin(self, base: Labels) -> None:
        """Have every series of an alias, or of a tenant in it, start at 0."""
        if base not in self._begun:
            self._begun.add(base)
            metrics = self._by_stream if len(base) == len(self._base) else []
            if len(base) == 1:
                metrics = [*metrics, *self._by_alias]
            for metric, values in metrics:
                for labels in values:
                    metric.labels(*base, *labels)

    def connect(self) -> None:
        """Begin to count, from 0."""
        for alias in get_aliases():
            self._begin((alias,))
            if self._tenants is not None:
                self._begin((alias, OTHER))
        for signal, receiver in self._receivers():
            signal.connect(receiver, weak=False)
        self._registry.register(self._gauges)

    def disconnect(self) -> None:
        """Stop counting, and take the metrics out of the registry."""
        for signal, receiver in self._receivers():
            signal.disconnect(receiver)
        for metric, _ in [*self._by_stream, *self._by_alias]:
            self._registry.unregister(metric)
        self._registry.unregister(self._gauges)
        _connected.pop(self._registry, None)

    def _receivers(self) -> list[tuple[Signal, Any]]:
        return [
            (stream_acquired, self._acquired),
            (stream_first_byte, self._first_byte),
            (stream_appended, self._appended),
            (stream_finalized, self._finalized),
            (producer_lost, self._lost),
            (process_taken_over, self._taken_over),
            (heartbeat_failed, self._heartbeat_failed),
            (stream_resumed, self._resumed),
            (owner_checked, self._checked),
            (stream_refused, self._refused),
            (reader_opened, self._opened),
            (reader_closed, self._closed),
            (reader_lagged, self._lagged),
            (stream_delivered, self._delivered),
            (news_missed, self._missed),
            (feed_connected, self._feed_connected),
        ]

    def _labels(self, named: dict[str, Any], *, has_stream: bool = True) -> Labels:
        if self._tenants is None:
            return (named["alias"],)
        labels = named["alias"], self._tenants.label(named["tenant"], has_stream=has_stream)
        self._begin(labels)
        return labels

    # Receivers.

    @inline
    def _acquired(self, *, role: Role, **named: Any) -> None:
        self.acquires.labels(*self._labels(named), role).inc()

    @inline
    def _first_byte(self, *, alias: str, duration: float, **named: Any) -> None:
        self.first_byte_seconds.labels(alias).observe(duration)

    @inline
    def _appended(self, *, size: int, chunks: int, duration: float, **named: Any) -> None:
        labels = self._labels(named)
        found = self._per_append.get(labels)
        if found is None:  # kept, because to look up a label costs more than to count
            found = self._per_append[labels] = (
                self.appended_bytes.labels(*labels),
                self.appended_chunks.labels(*labels),
                self.append_seconds.labels(labels[0]),
            )
        found[0].inc(size)
        found[1].inc(chunks)
        found[2].observe(duration)

    @inline
    def _finalized(self, *, status: str, error_code: str, duration: float, **named: Any) -> None:
        labels = self._labels(named)
        self.finalizes.labels(*labels, status, error_code).inc()
        self.stream_seconds.labels(labels[0]).observe(duration)

    @inline
    def _lost(self, *, seen_by: str, **named: Any) -> None:
        self.lost.labels(*self._labels(named), seen_by).inc()

    @inline
    def _taken_over(self, *, alias: str, held: int, **named: Any) -> None:
        self.takeovers.labels(alias).inc()
        self.taken_over.labels(alias).inc(held)

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
    def _refused(self, *, alias: str, operation: str, reason: str, **named: Any) -> None:
        self.refusals.labels(alias, operation, reason).inc()

    @inline
    def _opened(self, **named: Any) -> None:
        self.readers.labels(*self._labels(named)).inc()

    @inline
    def _closed(self, **named: Any) -> None:
        self.readers.labels(*self._labels(named)).dec()

    @inline
    def _lagged(self, *, alias: str, lag: int, **named: Any) -> None:
        self.lag_bytes.labels(alias).observe(lag)

    @inline
    def _delivered(self, *, alias: str, latency: float, **named: Any) -> None:
        self.delivery_seconds.labels(alias).observe(latency)

    @inline
    def _missed(self, **named: Any) -> None:
        self.gaps.labels(*self._labels(named)).inc()

    @inline
    def _feed_connected(self, *, alias: str, again: bool, **named: Any) -> None:
        if again:
            self.reconnects.labels(alias).inc()


class StoreGauges(Collector):
    """Gauges that each scrape reads from the store; the same in every process that can reach it.

    In a query, aggregate them with `max`. On an event loop a scrape gets the previous reading.
    """

    def __init__(self, *, tenants: TenantLabels | bool | None = None) -> None:
        self._tenants = TenantLabels() if tenants is True else tenants or None
        self._reader = GaugeReader(by_tenant=self._tenants is not None)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the metrics without samples; asks no store."""
        return self._families().values()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the stores, and yield the metrics."""
        families = self._families()
        for gauges in self._reader.read():
            for name, labels, value in self._samples(gauges):
                families[name].add_metric([gauges.alias, *labels], value)
        yield from families.values()

    def _families(self) -> dict[str, GaugeMetricFamily]:
        return {
            name: GaugeMetricFamily(
                f"resumable_streams_{name}",
                text,
                labels=["alias", *labels, *(["tenant"] if has_tenant and self._tenants else [])],
                unit=unit,
            )
            for name, text, labels, unit, has_tenant in (
                ("store_up", "Whether the store answers: 1, or 0.", [], "", False),
                ("live_streams", "Streams that living processes produce.", [], "", True),
                ("waiting_streams", "Streams that wait for a process.", [], "", True),
                ("processes", "Processes that produce or read streams.", ["state"], "", False),
                ("orders", "Orders for workers.", ["state"], "", False),
                (
                    "oldest_order_age_seconds",
                    "Age of the oldest order that no worker has taken.",
                    [],
                    "seconds",
                    False,
                ),
                ("workers", "Workers that take orders.", [], "", False),
                ("store_memory_used_bytes", "Memory the server uses.", [], "bytes", False),
                ("store_memory_limit_bytes", "Its limit, +Inf without one.", [], "bytes", False),
            )
        }

    def _samples(self, gauges: Gauges) -> Iterator[tuple[str, Labels, float]]:
        yield "store_up", (), gauges.is_up
        if (census := gauges.census) is not None:
            for name, streams in (
                ("live_streams", census.held),
                ("waiting_streams", census.waiting),
            ):
                for labels, number in self._by_tenant(streams).items():
                    yield name, labels, number
            yield "processes", ("living",), census.living
            yield "processes", ("dying",), census.dying
        if (backlog := gauges.backlog) is not None:
            yield "orders", ("waiting",), backlog.waiting
            yield "orders", ("taken",), backlog.taken
            yield "oldest_order_age_seconds", (), backlog.oldest_age
            yield "workers", (), backlog.workers
        if (memory := gauges.memory) is not None:
            yield "store_memory_used_bytes", (), memory.used
            yield "store_memory_limit_bytes", (), memory.limit

    def _by_tenant(self, streams: Mapping[str, int]) -> dict[Labels, int]:
        """Return the numbers by label; tenants beyond the bound share one."""
        if self._tenants is None:
            return {(): sum(streams.values())}
        return {(label,): number for label, number in self._tenants.sums(streams).items()}
