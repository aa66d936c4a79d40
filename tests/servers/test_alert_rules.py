"""docs/alerts.yml under Debian's promtool: each alert fires at the first event, and not before.

The series, with their labels, are those of the exporter as it starts.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from resumable_streams.contrib import prometheus
from tests.docs.pages import DOCS

RULES = DOCS / "alerts.yml"
TEXT = RULES.read_text()
ALERTS = re.findall(r"- alert: (\w+)", TEXT)

QUIET = 10
"""Intervals of 30 seconds before the event."""

START = QUIET // 2
"""The minute after which it happens."""

Change = tuple[str, Mapping[str, str], float]

GAUGES: list[Change] = [
    ("store_up", {}, 1),
    ("workers", {}, 0),
    ("orders", {"state": "waiting"}, 0),
    ("oldest_order_age_seconds", {}, 0),
    ("store_memory_used_bytes", {}, 5e8),
    ("store_memory_limit_bytes", {}, 1e9),
]
"""What a scrape reads from a store where nothing is wrong, and that has no worker."""

EVENTS: dict[str, list[Change]] = {
    "StreamStoreDown": [("store_up", {}, 0)],
    "StreamRequestsUnavailable": [
        ("refusals_total", {"operation": "run", "reason": "unavailable"}, 1)
    ],
    "StreamHeartbeatsFail": [("heartbeat_failures_total", {}, 3)],
    "StreamStoreFull": [("store_memory_used_bytes", {}, 9.1e8)],
    "StreamDataLost": [
        ("finalizes_total", {"status": "error", "error_code": "data_lost"}, 1),
        ("finalizes_total", {"status": "done", "error_code": ""}, 1_000),
    ],
    "StreamProcessDied": [("takeovers_total", {}, 1)],
    "StreamLoopBlocked": [("producers_lost_total", {"seen_by": "producer"}, 1)],
    "StreamsFail": [
        ("finalizes_total", {"status": "error", "error_code": "source_failed"}, 1),
        ("finalizes_total", {"status": "done", "error_code": ""}, 10),
    ],
    "StreamOrdersWait": [("oldest_order_age_seconds", {}, 31)],
    "StreamWorkersGone": [("orders", {"state": "waiting"}, 1)],
    "StreamQuotaReached": [
        ("refusals_total", {"operation": "run", "reason": "too_many_streams"}, 1)
    ],
    "StreamOwnerMissing": [("refusals_total", {"operation": "run", "reason": "no_owner"}, 21)],
    "StreamIdsGuessed": [("owner_checks_total", {"operation": "resume", "outcome": "foreign"}, 21)],
    "StreamsExpireEarly": [("resumes_total", {"outcome": "missing"}, 1)],
    "StreamPushLost": [("hub_gaps_total", {}, 11)],
    "StreamPushCut": [("feed_reconnects_total", {}, 4)],
    "StreamAppendsSlow": [("append_seconds_bucket", {}, 0.1)],
    "StreamDeliverySlow": [("delivery_seconds_bucket", {}, 0.25)],
    "StreamFirstByteSlow": [("first_byte_seconds_bucket", {}, 10)],
}
"""What happens: to which value a series rises; of a histogram, above which bound it counts."""


def test_promtool_accepts_the_rules():
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_promtool_finds_nothing_to_say_about_the_metrics():
    """It knows the conventions: names, units, the suffix of counters, a text for each."""
    registry = CollectorRegistry()
    metrics = prometheus.connect(registry)
    text = generate_latest(registry).decode()
    metrics.disconnect()
    assert "resumable_streams_store_up" in text
    assert promtool("check", "metrics", given=text) == ""


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_at_the_first_event_and_not_before(alert: str, tmp_path: Path):
    rule = TEXT.partition(f"- alert: {alert}\n")[2].partition("- alert: ")[0]
    wait = 7 if "for:" in rule else 1
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": series(EVENTS[alert]),
                "alert_rule_test": [
                    {"eval_time": f"{START}m", "alertname": alert, "exp_alerts": []},
                    {
                        "eval_time": f"{START + wait}m",
                        "alertname": alert,
                        "exp_alerts": [firing(rule)],
                    },
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"  # JSON is YAML
    file.write_text(json.dumps(test))
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_no_alert_fires_where_nothing_happens(tmp_path: Path):
    quiet = [{"eval_time": "15m", "alertname": alert, "exp_alerts": []} for alert in ALERTS]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "30s",
        "tests": [{"interval": "30s", "input_series": series([]), "alert_rule_test": quiet}],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(test))
    assert "SUCCESS" in promtool("test", "rules", str(file))


def promtool(*arguments: str, given: str = "") -> str:
    found = shutil.which("promtool")
    assert found, "No promtool: install Debian's package prometheus."
    done = subprocess.run(
        [found, *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + (done.stderr if given else "")


def series(events: list[Change]) -> list[dict[str, str]]:
    """Return all series of a process: quiet at first, then with what happens."""
    return [
        {"series": f"{name}{{{_labels(labels)}}}", "values": _values(name, labels, value, events)}
        for name, labels, value in samples()
    ]


def samples() -> list[tuple[str, dict[str, str], float]]:
    """Return what the exporter has at its start, and what a scrape reads from the store."""
    registry = CollectorRegistry()
    metrics = prometheus.connect(registry)
    registry.unregister(metrics._gauges)
    counted = [
        (sample.name, dict(sample.labels), sample.value)
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
    registry.register(metrics._gauges)
    metrics.disconnect()
    read = [
        (f"resumable_streams_{name}", {"alias": "default", **labels}, value)
        for name, labels, value in GAUGES
    ]
    return counted + read


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(
        f'{name}="{value}"' for name, value in {**labels, "instance": "a:1", "job": "site"}.items()
    )


def _values(name: str, labels: Mapping[str, str], value: float, events: list[Change]) -> str:
    for event, chosen, to in events:
        if name != f"resumable_streams_{event}" or not chosen.items() <= labels.items():
            continue
        if "le" not in labels:
            return f"{value:.0f}+0x{QUIET} {to:.0f}+0x40"
        if float(labels["le"]) > to:
            return f"0+0x{QUIET} 0+10x40"
    return f"{value:.0f}+0x{QUIET + 40}"


def firing(rule: str) -> dict[str, Any]:
    """Return an alert as it has to be."""
    summary, description = (
        re.search(rf"{name}: (.*)", rule)[1].replace("{{ $labels.alias }}", "default")  # type: ignore[index]
        for name in ("summary", "description")
    )
    severity = re.search(r"severity: (\w+)", rule)[1]  # type: ignore[index]
    instance = {"instance": "a:1"} if "instance)" in rule else {}
    return {
        "exp_labels": {"alias": "default", "severity": severity, **instance},
        "exp_annotations": {"summary": summary, "description": description},
    }


def test_every_alert_has_its_event():
    assert sorted(EVENTS) == sorted(ALERTS)
