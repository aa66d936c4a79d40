"""Alert rules, dashboard and docs: they name what the exporter exports, and nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from resumable_streams.contrib import prometheus
from resumable_streams.contrib.labels import CHECKS, ENDS, OPERATIONS, OUTCOMES, REASONS, SEEN_BY

DOCS = Path(__file__).parents[2] / "docs"
RULES = (DOCS / "alerts.yml").read_text()
DASHBOARD = (DOCS / "dashboard.json").read_text()

USE = re.compile(r"(resumable_streams_\w+)(?:\{([^}]*)\})?")
BY = re.compile(r"\bby \(([^)]*)\)")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
OF_PROMETHEUS = {"instance", "job", "le"}

VALUES: dict[str, set[str]] = {
    "status": {status for status, _ in ENDS},
    "error_code": {code for _, code in ENDS},
    "operation": {*OPERATIONS, *CHECKS},
    "outcome": {*OUTCOMES, "granted"},
    "reason": set(REASONS),
    "seen_by": set(SEEN_BY),
    "state": {"living", "dying", "waiting", "taken"},
    "role": {"producer", "consumer"},
}
"""What a matcher may ask for."""


@pytest.fixture
def exported() -> Iterator[dict[str, set[str]]]:
    """Return the names that are exported, with their labels."""
    registry = CollectorRegistry()
    metrics = prometheus.connect(registry)
    gauges = [(family.name, family._labelnames, "gauge") for family in metrics._gauges.describe()]
    kinds = [
        (metric._name, metric._labelnames, metric._type)
        for metric, _ in [*metrics._by_stream, *metrics._by_alias]
    ]
    yield {
        f"{name}{suffix}": set(labels)
        for name, labels, kind in [*gauges, *kinds]
        for suffix in SUFFIXES[kind]
    }
    metrics.disconnect()


def expressions(text: str) -> list[str]:
    """Return the expressions of the rules, or of the dashboard."""
    if text is DASHBOARD:
        return [
            target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]
        ]
    blocks = re.findall(r"expr: (?:\|\n((?: {10,}.*\n)+)|(.+)\n)", text)
    return [block or line for block, line in blocks]


@pytest.mark.parametrize("text", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_names_and_labels_are_those_of_the_exporter(text: str, exported: dict[str, set[str]]):
    found = expressions(text)
    assert len(found) > 10
    for expression in found:
        uses = USE.findall(expression)
        assert uses, expression
        for name, matchers in uses:
            assert name in exported, expression
            for label, operator, value in MATCHER.findall(matchers):
                assert label in exported[name], expression
                if value != "$alias":
                    assert set(value.split("|")) <= VALUES[label], (operator, expression)
        labels = set.union(*(exported[name] for name, _ in uses)) | OF_PROMETHEUS
        for grouping in BY.findall(expression):
            assert set(grouping.split(", ")) <= labels, expression


def test_each_rule_says_what_happened_and_what_to_do():
    rules = RULES.split("- alert: ")[1:]
    assert len(expressions(RULES)) == len(rules)
    for rule in rules:
        assert "severity:" in rule
        assert re.search(r"summary: \S.*\{\{ \$labels.alias \}\}.*\.\n", rule), rule
        assert re.search(r"description: \S.*\.\n", rule), rule


def test_the_docs_have_a_row_for_each_metric_with_its_alerts(exported: dict[str, set[str]]):
    table = (DOCS / "observability.md").read_text()
    rows = {
        cells[1].strip("` "): cells
        for line in table.splitlines()
        if line.startswith("| `resumable_streams_") and len(cells := line.split("|")) == 6
    }
    bases = {re.sub("_(bucket|count|sum)$", "", name) for name in exported}
    assert rows.keys() == bases
    for name, (_, _, labels, _, alerts, _) in rows.items():
        suffix = "_bucket" if f"{name}_bucket" in exported else ""
        assert set(re.findall(r"`(\w+)`", labels)) | {"alias"} >= exported[name + suffix] - {"le"}
        expected = {
            rule.split("\n")[0]
            for rule in RULES.split("- alert: ")[1:]
            if re.search(rf"\b{name}{suffix}\b", rule)
        }
        if expected:
            assert set(re.findall(r"`(\w+)`", alerts)) == expected
        else:
            assert alerts.strip() == "dashboard"
            assert re.search(rf"\b{name}{suffix}\b", DASHBOARD), f"{name} is nowhere"
