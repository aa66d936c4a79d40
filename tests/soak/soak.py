"""The soak: a site of two servers lives through its life; one that survives is looked at."""

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from redis import Redis

from example_project.private_redis import private_server
from resumable_streams.stores.redis.keys import KeySpace

from ..acceptance.servers import Server, migrate, serve
from .troubles import Troubles
from .visits import Visits
from .vitals import Vitals, growth, look

__all__ = ["Outcome", "Plan", "soak"]

LEASE, SWEEP, STORE_TIMEOUT = 3.0, 1.0, 2.0
PATIENCE_SECONDS = 60.0
SILENCE_SECONDS = 10.0
SETTLE_SECONDS = 3.0
SECONDS_A_LINE = 1.0  # at most: half of that, and some more where the process is busy
GROWTH_MIB = 8.0
OBJECTS_GROW = 1.02  # what is cached late


@dataclass(frozen=True)
class Plan:
    """How long, how much, on what."""

    server: str
    seconds: float
    streams: int
    longest: int = 40  # lines of an answer, which come twice a second or so
    ttl: float = 15.0  # seconds; longer than a visitor needs to come back

    @property
    def trouble_every(self) -> float:
        return min(5.0, self.seconds / 12)


@dataclass
class Outcome:
    """What came of it; `complaints` is empty if all is well."""

    before: Vitals
    after: Vitals
    resident: list[float]
    visits: Visits
    met: Counter[str]
    left_keys: list[str] = field(default_factory=list)
    traceback: str = ""

    def complaints(self) -> list[str]:
        grown = growth(self.resident)
        before, after = self.before, self.after
        problems = {
            "a reader hung": self.visits.ends["hung"] > 0,
            "wrong bytes": bool(self.visits.wrong),
            f"no reason for {_listed(self.visits.unexplained)}": bool(self.visits.unexplained),
            f"{self.visits.silences} long silences": self.visits.silences > 0,
            "nothing was finished": not self.visits.ends["done"],
            "tasks leaked": after.tasks > before.tasks,
            "files leaked": after.files > before.files,
            "connections leaked": after.connections > before.connections,
            "objects leaked": after.objects > before.objects * OBJECTS_GROW,
            f"keys leaked: {self.left_keys}": bool(self.left_keys),
            f"memory grew by {grown:.1f} MiB": grown > GROWTH_MIB,
            f"the server wrote {self.traceback}": bool(self.traceback),
        }
        return [text for text, is_true in problems.items() if is_true]

    def __str__(self) -> str:
        return "\n".join(
            [
                (
                    f"visits:  {sum(self.visits.fates.values()):,} ({_listed(self.visits.fates)}), "
                    f"{self.visits.bytes_read:,} bytes"
                ),
                f"ends:    {_listed(self.visits.ends)}",
                f"trouble: {_listed(self.met)}",
                f"before:  {self.before}",
                f"after:   {self.after}; grown by {growth(self.resident):.1f} MiB under load",
                f"verdict: {'; '.join(self.complaints()) or 'nothing leaked, nobody hung'}",
            ]
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())


@dataclass
class _Site:
    """The server that survives, and what the other one needs to be started again."""

    survivor: Server
    start: Callable[[], Server]
    environment: dict[str, str]
    store: Redis
    client: httpx.AsyncClient
    prefix: str
    folder: Path

    async def look(self, *, closely: bool = False) -> Vitals:
        return await look(self.survivor, self.client, self.store, self.prefix, closely=closely)

    def traceback(self) -> str:
        """Return the first one that any server has written."""
        for log in sorted(self.folder.glob("*.log")):
            _, found, rest = log.read_text(errors="replace").partition("Traceback")
            if found:
                return f"{found}{rest[:2_000]}"
        return ""


@asynccontextmanager
async def _site(plan: Plan) -> AsyncIterator[_Site]:
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory(prefix="resumable-soak-")))
        url = running.enter_context(private_server())
        prefix = f"soak-{uuid.uuid4().hex}"
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.deploy_site",
            "DEMO_DB": str(folder / "site.sqlite3"),
            "DEMO_DEBUG": "0",
            "REDIS_URL": url,
            "KEY_PREFIX": prefix,
            "LEASE": str(LEASE),
            "SWEEP": str(SWEEP),
            "STORE_TIMEOUT": str(STORE_TIMEOUT),
            "TTL": str(plan.ttl),
            "DRAIN_TIMEOUT": "0",
        }

        def start() -> Server:
            log = folder / f"server-{len(list(folder.glob('*.log')))}.log"
            return running.enter_context(serve(environment, log, plan.server))

        await asyncio.to_thread(migrate, environment)
        survivor = await asyncio.to_thread(start)
        store = running.enter_context(Redis.from_url(url, client_name="soak"))
        async with _client() as client:
            yield _Site(survivor, start, environment, store, client, prefix, folder)


def _client() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(limits=limits, timeout=SILENCE_SECONDS)


async def soak(plan: Plan, *, say: Callable[[str], None] = lambda text: None) -> Outcome:
    """Let a site live through `plan`; return what came of it."""
    async with _site(plan) as site:
        mortal = await asyncio.to_thread(site.start)
        addresses = [site.survivor.url, mortal.url]
        troubles = Troubles(
            mortal, site.start, site.environment, addresses, site.store, plan.trouble_every
        )
        await _once(site)
        before = await site.look(closely=True)
        async with _client() as visitors:
            visits = Visits(
                visitors,
                addresses,
                plan.streams,
                plan.longest,
                plan.ttl,
                PATIENCE_SECONDS,
                troubles.marks,
            )
            visiting = asyncio.create_task(visits.run())
            resident = await _live(site, plan, visits, troubles, say)
            await visiting
        await asyncio.sleep(2 * plan.ttl + SETTLE_SECONDS)  # lists and slots last as long
        await _until_keys_are_gone(site, plan)
        after = await site.look(closely=True)
        return Outcome(
            before,
            after,
            resident,
            visits,
            troubles.met,
            left_keys=_left_keys(site),
            traceback=site.traceback(),
        )


async def _live(
    site: _Site, plan: Plan, visits: Visits, troubles: Troubles, say: Callable[[str], None]
) -> list[float]:
    """Have visits and trouble for as long as the plan says; then no more of either."""
    async with asyncio.TaskGroup() as group:
        group.create_task(troubles.run())
        try:
            return await _watch(site, plan, visits, say)
        finally:
            troubles.end()
            visits.end()


async def _once(site: _Site) -> None:
    """Have the survivor make what it keeps: connections, threads, the caches of Django."""
    async with _client() as visitors:
        addresses = [site.survivor.url]
        quiet = Visits(visitors, addresses, 5, 5, math.inf, PATIENCE_SECONDS, Counter())
        quiet.end()
        await asyncio.gather(*map(quiet.visit, range(quiet.count)))
    await asyncio.sleep(SETTLE_SECONDS)


async def _watch(
    site: _Site, plan: Plan, visits: Visits, say: Callable[[str], None]
) -> list[float]:
    """Look at the survivor now and then, for as long as the plan says."""
    began, resident = time.monotonic(), []
    while (passed := time.monotonic() - began) < plan.seconds:
        await asyncio.sleep(plan.seconds / 60)
        vitals = await site.look()
        resident.append(vitals.resident)
        if len(resident) % 6 == 0:
            say(f"{passed:4.0f} s: {vitals}; {_listed(visits.ends)}")
    return resident


async def _until_keys_are_gone(site: _Site, plan: Plan) -> None:
    """Wait while streams may have lasted that visitors had left, and renewed their places."""
    for _ in range(plan.longest):
        if not _left_keys(site):
            return
        await asyncio.sleep(SECONDS_A_LINE)


def _left_keys(site: _Site) -> list[str]:
    """Return the keys that have no lifetime or outlived it.

    The control of the tenant stays, and for a week what processes share; but nothing is held, and
    no end is being told, when all have ended.
    """
    keys = KeySpace(site.prefix)
    shared = [keys.shared(name) for name in ("news", "processes", "judged")]
    kept = {keys.control("default"), *(name for name in shared if site.store.pttl(name) > 0)}
    names = {name.decode() for name in site.store.scan_iter(f"{site.prefix}:*")}
    return sorted(names - kept)
