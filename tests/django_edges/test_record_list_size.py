"""The list of records takes milliseconds among a million rows, on PostgreSQL: `make records`."""

import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median, quantiles
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from resumable_streams.identifiers import owner_digest
from tests.tools.streams import MEMORY

urlpatterns = [path("admin/", admin.site.urls)]

pytestmark = [
    pytest.mark.urls(__name__),
    pytest.mark.django_db(transaction=True),
    pytest.mark.benchmark,
]

RECORDS = 1_000_000
MOST_MILLISECONDS = 50
TIMES = 20

# One in ten is of one owner, one in ten of a tenant; the errors are the oldest, and few run.
FILL = """
INSERT INTO resumable_streams_streamrecord
    (alias, tenant, generation, stream_id, epoch, owner, owner_digest, "user", request_id, ip,
     acquired, ended, status, error_code, size, duration)
SELECT 'default',
    CASE WHEN n %% 5000 = 0 THEN 'tiny' WHEN n %% 10 = 3 THEN 'acme' ELSE 'default' END,
    1, 'stream-' || n, 'e' || n, o.owner,
    substr(encode(sha256(('=' || o.owner)::bytea), 'hex'), 1, 32), o.number, 'r-' || n,
    ('10.0.' || (n / 256) %% 256 || '.' || n %% 256)::inet,
    now() - n * interval '1 second', now() - n * interval '1 second' + interval '10 second',
    CASE WHEN n <= 20 THEN 'streaming' WHEN n > 990000 THEN 'error' ELSE 'done' END,
    CASE WHEN n > 990000 THEN 'source_failed' ELSE '' END, 10000, 10
FROM generate_series(1, %s) AS n,
LATERAL (SELECT CASE WHEN n %% 10 = 0 THEN 1 ELSE n %% 10007 + 2 END) AS chosen (number),
LATERAL (SELECT 'user:' || chosen.number, chosen.number::text) AS o (owner, number)
"""


def day(ago: int) -> str:
    return (timezone.now() - timedelta(days=ago)).date().isoformat()


LISTS: dict[str, dict[str, str | int]] = {
    "all": {},
    "last page": {"p": 19},
    "oldest first": {"o": "6"},
    "running": {"status__exact": "streaming"},
    "errors": {"status__exact": "error"},
    "done": {"status__exact": "done"},
    "tenant": {"tenant": "acme"},
    "small tenant": {"tenant": "tiny"},
    "tenant that is not": {"tenant": "nobody"},
    "errors of a tenant": {"tenant": "acme", "status__exact": "error"},
    "alias": {"alias": "default"},
    "empty alias": {"alias": "second"},
    "one day": {"from": day(5), "until": day(5)},
    "before": {"until": day(10)},
    "no day": {"from": day(-5)},
    "busy owner": {"owner_digest": owner_digest("user:1")},
    "owner": {"owner_digest": owner_digest("user:77")},
    "search of a busy owner": {"q": "user:1"},
    "search of an owner": {"q": "user:77"},
    "search of a user": {"q": "77"},
    "search of a busy user": {"q": "1"},
    "search of a stream": {"q": "stream-500000"},
    "search of an address": {"q": "10.0.7.7"},
    "search of a request": {"q": "r-900000"},
    "search of nothing": {"q": "nothing"},
    "search in a tenant": {"q": "user:78", "tenant": "acme", "status__exact": "done"},
}


def fill() -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL, [RECORDS])
        cursor.execute("VACUUM ANALYZE resumable_streams_streamrecord")


@dataclass(slots=True)
class Times:
    """Milliseconds of whole answers, and of the queries in them."""

    answers: list[float] = field(default_factory=list)
    queries: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        p50, p95 = median(self.answers), quantiles(self.answers, n=20)[-1]
        asked = median(self.queries)
        return f"database {asked:.1f} ms, whole answer p50 {p50:.0f}, p95 {p95:.0f} ms"


def measure(client: Client, query: dict[str, str | int]) -> Times:
    """Time some answers, after the first, which fills caches."""
    where, times = reverse("admin:resumable_streams_streamrecord_changelist"), Times()
    for _ in range(TIMES + 1):
        with CaptureQueriesContext(connection) as captured:
            started = time.perf_counter()
            assert client.get(where, query).status_code == 200
            times.answers.append(1_000 * (time.perf_counter() - started))
        times.queries.append(1_000 * sum(float(one["time"]) for one in captured.captured_queries))
    del times.answers[0], times.queries[0]
    return times


def test_every_list_and_search_is_fast_among_a_million_records(
    settings: Any, client: Client, capsys: pytest.CaptureFixture[str]
):
    assert connection.vendor == "postgresql"
    settings.RESUMABLE_STREAMS = {alias: {"BACKEND": MEMORY} for alias in ("default", "second")}
    fill()
    client.force_login(User.objects.create_superuser("jane"))
    figures = {name: measure(client, query) for name, query in LISTS.items()}
    with capsys.disabled():
        sys.stdout.write("\n")
        sys.stdout.writelines(f"{name}: {times}\n" for name, times in figures.items())
    # The rest of an answer is the same for a table of thirty rows.
    assert not [n for n, times in figures.items() if median(times.queries) >= MOST_MILLISECONDS]
