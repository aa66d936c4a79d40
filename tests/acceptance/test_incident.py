"""The runbook (`docs/operations.md`), replayed: three server processes, many streams, 3 tenants.

A user's stream ids have leaked, then a whole tenant's. What each command promises is looked at
from outside, over HTTP at every server, from the moment at which the command has returned.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from resumable_streams.identifiers import owner_digest
from resumable_streams.stores.redis import RedisStore
from resumable_streams.types import Claim, Limits, StreamKey, StreamStatus, Terms
from tests.tools.serving import PLAIN
from tests.tools.waiting import A_SECOND, pass_time_sync, until

from .servers import ROOT, Server, migrate, serve

SCALE = 10 if os.environ.get("FAULTS") == "full" else 3  # `make faults` has more time
TENANTS = {"acme": 80 * SCALE, "acme-2": 70 * SCALE, "4": 50 * SCALE}
USERS = 10

Stream = tuple[str, str, str]  # tenant, id, user


def body(tenant: str, stream_id: str) -> bytes:
    """Say what a stream holds: nobody else's bytes look the same."""
    return hashlib.sha256(f"{tenant}/{stream_id}".encode()).hexdigest().encode() * 16


def streams_of(tenant: str) -> list[Stream]:
    return [(tenant, f"s-{number}", str(number % USERS)) for number in range(TENANTS[tenant])]


async def fill(url: str, prefix: str) -> None:
    """Store finished streams, at the store: the servers have better things to do."""
    store = RedisStore(alias="default", key_prefix=prefix, location=url, limits=Limits())

    async def write(stream: Stream) -> None:
        tenant, stream_id, user = stream
        key = StreamKey(tenant=tenant, generation=1, stream_id=stream_id)
        claim = Claim()
        terms = Terms(owner=f"user:{user}", ttl=900, finished_ttl=900, pending=900)
        await store.acquire(key, claim, terms)
        await store.append(key, claim, 0, body(tenant, stream_id))
        await store.finalize(key, claim, StreamStatus.DONE)

    everything = [stream for tenant in TENANTS for stream in streams_of(tenant)]
    for start in range(0, len(everything), 200):
        await asyncio.gather(*map(write, everything[start : start + 200]))
    await store.aclose()


@dataclass
class Site:
    """Be the servers, and the operator beside them."""

    servers: list[Server]
    environment: dict[str, str]
    client: httpx.Client = field(
        default_factory=lambda: httpx.Client(
            verify=PLAIN,
            timeout=10,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
        )
    )

    def operate(self, *arguments: str) -> dict[str, Any]:
        """Run the command in a process of its own; return what it counted."""
        done = subprocess.run(
            [sys.executable, "manage.py", "resumable_streams", *arguments, "--yes", "--json"],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            check=True,
            text=True,
            timeout=30,
        )
        counts: dict[str, Any] = json.loads(done.stdout)["counts"]
        return counts

    def get(self, server: int, tenant: str, stream_id: str, user: str) -> httpx.Response:
        return self.client.get(
            f"{self.servers[server].url}/streams/{stream_id}/",
            headers={"X-User": user, "X-Tenant": tenant},
        )

    def readable(self, streams: list[Stream]) -> int:
        """Ask for each stream at some server; return how many are there, each byte compared."""

        def look(numbered: tuple[int, Stream]) -> bool:
            number, (tenant, stream_id, user) = numbered
            answer = self.get(number % 3, tenant, stream_id, user)
            if answer.status_code == 404:
                return False
            assert answer.content == body(tenant, stream_id)
            return True

        with ThreadPoolExecutor(6) as pool:
            return sum(pool.map(look, enumerate(streams)))


class Reading(threading.Thread):
    """Read a running stream of somebody at one server, until it ends."""

    def __init__(self, site: Site, server: int, tenant: str, stream_id: str, user: str):
        super().__init__(daemon=True)
        self.received = 0
        self.ended_at: float | None = None
        self._site = site
        self._arguments = (server, tenant, stream_id, user)
        self.start()

    def run(self) -> None:
        server, tenant, stream_id, user = self._arguments
        address = f"{self._site.servers[server].url}/streams/{stream_id}/"
        headers = {"X-User": user, "X-Tenant": tenant}
        try:
            with self._site.client.stream("GET", address, headers=headers) as response:
                for data in response.iter_raw():
                    self.received += len(data)
        except httpx.HTTPError:
            pass
        self.ended_at = time.monotonic()

    def wait_for_bytes(self) -> None:
        until(lambda: self.received)


def begin(site: Site, server: int, tenant: str, stream_id: str, user: str) -> list[Reading]:
    """Start a stream at one server, leave, and read it at all three."""
    with site.client.stream(
        "POST",
        f"{site.servers[server].url}/start/?id={stream_id}",
        headers={"X-User": user, "X-Tenant": tenant},
    ) as response:
        assert response.status_code == 200
        next(response.iter_raw())
    readings = [Reading(site, at, tenant, stream_id, user) for at in range(3)]
    for reading in readings:
        reading.wait_for_bytes()
    return readings


def assert_ended_within_a_second(readings: list[Reading], since: float) -> None:
    for reading in readings:
        reading.join(timeout=30)
        assert reading.ended_at is not None, "A reader is still attached."
        assert reading.ended_at - since < A_SECOND


def state(site: Site, prefix: str, tenant: str, stream_id: str, redis: Any) -> tuple[str, int]:
    """Return the state and size of a stream of generation 1 as the store has it."""
    status, size = redis.hmget(f"{prefix}:{tenant}:g1:{{{stream_id}}}:meta", "status", "size")
    return status.decode(), int(size)


@pytest.fixture
def site(tmp_path: Path, key_prefix: str, redis_url: str) -> Iterator[Site]:
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.acceptance.incident_site",
        "DEMO_DB": str(tmp_path / "site.sqlite3"),
        "DEMO_DEBUG": "0",
        "KEY_PREFIX": key_prefix,
        "REDIS_URL": redis_url,
    }
    migrate(environment)
    asyncio.run(fill(redis_url, key_prefix))
    with ExitStack() as running, ThreadPoolExecutor(3) as pool:

        def start(number: int) -> Server:
            context = serve(environment, tmp_path / f"{number}.log", "uvicorn")
            return running.enter_context(context)

        site = Site(list(pool.map(start, range(3))), environment)
        running.callback(site.client.close)
        yield site


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_incident_of_the_runbook(site: Site, key_prefix: str, redis_server: Any) -> None:
    acme, others = streams_of("acme"), [*streams_of("acme-2"), *streams_of("4")]
    of_5 = [stream for stream in acme if stream[2] == "5"]
    not_of_5 = [stream for stream in acme if stream[2] != "5"]
    leaked = begin(site, 0, "acme", "live-5", "5")
    innocent = begin(site, 1, "acme", "live-6", "6")
    neighbour = begin(site, 2, "4", "live", "5")

    # Suspect, audit.
    found = site.operate("audit", "--all-tenants")["tenants"]
    assert {tenant: one["streams"] for tenant, one in found.items()} == {
        "acme": TENANTS["acme"] + 2,
        "acme-2": TENANTS["acme-2"],
        "4": TENANTS["4"] + 1,
    }
    found = site.operate("audit", "--tenant", "acme", "--user", "5", "--owners")["tenants"]["acme"]
    assert found["streams_by_owner"] == {owner_digest("user:5"): len(of_5) + 1}

    # Revoke: the user is cut off at every server, nobody else is.
    site.operate("revoke", "--tenant", "acme", "--user", "5")
    assert_ended_within_a_second(leaked, time.monotonic())
    assert site.readable(of_5) == 0
    assert site.readable(not_of_5) == len(not_of_5)
    assert site.readable(others[::3]) == len(others[::3])
    assert state(site, key_prefix, "acme", "live-5", redis_server)[0] == "cancelled"
    again = begin(site, 1, "acme", "new-5", "5")  # a new acquire works

    # Purge what was revoked: the bytes are gone; the new stream is the user's, so it goes too.
    assert site.operate("purge", "--tenant", "acme", "--user", "5") == {"purged": len(of_5) + 2}
    assert_ended_within_a_second(again, time.monotonic())
    assert not list(redis_server.scan_iter(f"{key_prefix}:acme:g1:{{*5}}:data", count=1000))
    assert site.readable(not_of_5[::5]) == len(not_of_5[::5])

    # More has leaked than one user's: rotate the tenant.
    cut_off = {"generation": 2, "streams": len(not_of_5) + 1}
    assert site.operate("rotate", "--tenant", "acme") == cut_off
    returned = time.monotonic()
    assert site.readable(acme[:60]) == 0
    assert_ended_within_a_second(innocent, returned)
    status, size = state(site, key_prefix, "acme", "live-6", redis_server)
    pass_time_sync(0.2)
    assert (status, size) == state(site, key_prefix, "acme", "live-6", redis_server)
    assert status == "cancelled"
    assert site.readable(acme) == 0
    fresh = begin(site, 2, "acme", "live-6", "6")  # the same id, in the new generation

    # Purge the old generation, verify, report.
    before = site.operate("purge", "--tenant", "acme", "--generation", "1", "--dry-run")
    assert before == site.operate("purge", "--tenant", "acme", "--generation", "1")
    assert before == {"purged": len(not_of_5) + 1}
    assert site.operate("purge", "--tenant", "acme", "--generation", "1") == {"purged": 0}
    assert site.operate("retire", "--tenant", "acme", "--ttl", "300", "--existing") == {
        "ttl": 300,
        "shortened": 1,
    }
    found = site.operate("audit", "--tenant", "acme")["tenants"]["acme"]
    assert (found["generations"], found["reachable"]) == ({"2": 1}, 1)

    # The other tenants have lost nothing, and what runs in them has gone on all the time.
    assert site.readable(others) == len(others)
    for reading in [*neighbour, *fresh]:
        assert reading.ended_at is None
        seen = reading.received
        until(lambda reading=reading, seen=seen: reading.received > seen)  # type: ignore[misc]
    found = site.operate("cancel", "--tenant", "4")
    assert found == {"looked_at": TENANTS["4"] + 1, "cancelled": 1}
    assert_ended_within_a_second(neighbour, time.monotonic())
    assert site.operate("cancel", "--tenant", "acme")["cancelled"] == 1
    assert_ended_within_a_second(fresh, time.monotonic())
