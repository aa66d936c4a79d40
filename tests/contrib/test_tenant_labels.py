"""The label `tenant`: of tenants that have streams, bounded, and of none that is made up."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from resumable_streams.contrib import opentelemetry, prometheus
from resumable_streams.contrib.tenants import OTHER, TenantLabels
from resumable_streams.identifiers import validate_tenant
from resumable_streams.streams import StreamManager
from tests.tools.readers import read_all


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    registry = CollectorRegistry()
    metrics = prometheus.connect(registry, tenants=True)
    yield registry
    metrics.disconnect()


@pytest.fixture
def meters() -> Iterator[InMemoryMetricReader]:
    meters = InMemoryMetricReader()
    tracing = TracerProvider(shutdown_on_exit=False)
    metering = MeterProvider([meters], shutdown_on_exit=False)
    telemetry = opentelemetry.connect(tracing, metering, tenants=True)
    yield meters
    telemetry.disconnect()
    metering.shutdown()
    tracing.shutdown()


async def visit(streams: StreamManager) -> None:
    for number in range(20):
        named: dict[str, Any] = {"owner": "a", "tenant": f"made-up-{number}"}
        assert await streams.aresume("s", **named) is None
        assert await streams.astatus("s", **named) is None
    assert await read_all(await streams.arun("s", ["x"], owner="a", tenant="acme")) == b"x"
    assert await streams.aresume("s", owner="a", tenant="acme") is not None
    assert await streams.aresume("s", owner="b", tenant="acme") is None
    assert await streams.aresume("other", owner="a", tenant="acme") is None


async def test_prometheus_has_no_series_of_a_made_up_tenant(
    streams: StreamManager, registry: CollectorRegistry
):
    await visit(streams)
    labels = [s.labels for m in registry.collect() for s in m.samples if "tenant" in s.labels]
    assert {one["tenant"] for one in labels} == {"acme", OTHER}
    name, missing = "resumable_streams_resumes_total", {"alias": "default", "outcome": "missing"}
    assert registry.get_sample_value(name, {**missing, "tenant": OTHER}) == 20
    assert registry.get_sample_value(name, {**missing, "tenant": "acme"}) == 1
    granted = {"alias": "default", "tenant": "acme", "outcome": "granted"}
    assert registry.get_sample_value(name, granted) == 1


async def test_the_series_of_a_tenant_begin_together_at_0(
    streams: StreamManager, registry: CollectorRegistry
):
    """Or an alert would miss the first failure of a tenant."""
    name = "resumable_streams_finalizes_total"
    failed = {"alias": "default", "status": "error", "error_code": "source_failed"}
    assert registry.get_sample_value(name, {**failed, "tenant": OTHER}) == 0
    assert registry.get_sample_value(name, {**failed, "tenant": "acme"}) is None
    assert await read_all(await streams.arun("s", ["x"], owner="a", tenant="acme")) == b"x"
    assert registry.get_sample_value(name, {**failed, "tenant": "acme"}) == 0


async def test_nor_has_opentelemetry(streams: StreamManager, meters: InMemoryMetricReader):
    await visit(streams)
    data: Any = meters.get_metrics_data()
    tenants = {
        point.attributes["resumable_streams.tenant"]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if "resumable_streams.tenant" in point.attributes
    }
    assert tenants == {"acme", OTHER}


def test_there_are_a_thousand_at_most(monkeypatch):
    monkeypatch.setattr("resumable_streams.contrib.tenants.MOST_TENANTS", 2)
    labels = TenantLabels()
    assert [labels.label(name) for name in ("a", "b", "c", "a")] == ["a", "b", OTHER, "a"]


def test_the_label_of_the_others_is_no_tenant():
    with pytest.raises(ValueError, match="A tenant is"):
        validate_tenant(OTHER)
