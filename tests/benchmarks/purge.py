"""How long a purge of 100,000 among 300,000 streams takes, and what a running stream feels of it.

    python -m tests.benchmarks.purge

Three tenants of 100,000 synthetic streams of 200 bytes. One is purged at full speed, one at a
gentle pace, each by the command in a process of its own, while a stream of the third appends 200
times a second.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from redis import Redis

from example_project.private_redis import private_server
from resumable_streams.stores.redis import RedisStore
from resumable_streams.types import Claim, Limits, StreamKey, Terms
from tests.acceptance.servers import ROOT, migrate

STREAMS = 100_000
PREFIX = "bench"
APPENDS_PER_SECOND = 200

FILL = """
for number = ARGV[2], ARGV[3] do
  local name = ARGV[1] .. ':g1:{s' .. number .. '}:'
  redis.call('HSET', name .. 'meta', 'claim', 'c', 'epoch', '12345678', 'owner', '=user:1',
    'ttl', 3600000, 'finished_ttl', 3600000, 'holder', '', 'grace', 0, 'seen', 0, 'attrs', '{}',
    'created', 0, 'status', 'done', 'size', 200, 'entries', 1, 'error_code', '', 'error', '')
  redis.call('SET', name .. 'data', string.rep('x', 200), 'PX', 3600000)
  redis.call('PEXPIRE', name .. 'meta', 3600000)
end
"""


def fill(url: str) -> None:
    with Redis.from_url(url) as redis:
        for tenant in ("fast", "gentle", "kept"):
            for start in range(0, STREAMS, 1_000):
                redis.eval(FILL, 0, f"{PREFIX}:{tenant}", start, start + 999)


async def append(store: RedisStore, latencies: list[float]) -> None:
    """Append to a running stream at a steady pace, for as long as nobody cancels."""
    key = StreamKey(tenant="kept", generation=1, stream_id=f"live-{time.time_ns()}")
    claim = Claim()
    await store.acquire(key, claim, Terms(owner="a", ttl=600, finished_ttl=600, pending=600))
    size = 0
    while True:
        started = time.perf_counter()
        size = await store.append(key, claim, size, b"x" * 40)
        latencies.append((time.perf_counter() - started) * 1_000)
        await asyncio.sleep(1 / APPENDS_PER_SECOND)


async def purge(environment: dict[str, str], tenant: str, *pace: str) -> tuple[float, int]:
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "manage.py", "resumable_streams", "purge", "--tenant", tenant),
        *("--yes", "--json", *pace),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return time.perf_counter() - started, json.loads(output)["counts"]["purged"]


async def compare(url: str, environment: dict[str, str]) -> None:
    store = RedisStore(alias="default", key_prefix=PREFIX, location=url, limits=Limits())
    runs = {
        "nothing else": None,
        "purge, full speed": ("fast",),
        "purge, --batch 100 --pause 0.02": ("gentle", "--batch", "100", "--pause", "0.02"),
    }
    print(f"{'meanwhile':<34}{'purged':>9}{'seconds':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for title, arguments in runs.items():
        latencies: list[float] = []
        appending = asyncio.create_task(append(store, latencies))
        if arguments is None:
            await asyncio.sleep(5)
            seconds, purged = 5.0, 0
        else:
            seconds, purged = await purge(environment, *arguments)
        appending.cancel()
        await asyncio.gather(appending, return_exceptions=True)
        cuts = quantiles(latencies, n=100)
        print(
            f"{title:<34}{purged:>9,}{seconds:>9.1f}{cuts[49]:>9.2f}{cuts[98]:>9.2f}"
            f"{max(latencies):>9.2f}"
        )
    left = sum([1 async for _ in store.scan("kept")])
    print(f"left of the tenant that nobody purged: {left:,} (with {len(runs)} running streams)")
    await store.aclose()


def main() -> None:
    with private_server() as url, TemporaryDirectory() as folder:
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.site_settings",
            "DEMO_DB": str(Path(folder) / "site.sqlite3"),
            "DEMO_DEBUG": "0",
            "KEY_PREFIX": PREFIX,
            "REDIS_URL": url,
        }
        migrate(environment)
        fill(url)
        asyncio.run(compare(url, environment))


if __name__ == "__main__":
    main()
