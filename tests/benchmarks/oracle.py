"""Whether the time of an answer tells a stream of somebody else from one that is not there.

    python -m tests.benchmarks.oracle

2,000 requests of each kind against one real server, in pairs of random order, on one connection.
The answers are compared byte for byte; the times by the Mann-Whitney test and by a bootstrapped
interval of the difference of the medians.
"""

import math
import os
import random
import time
from pathlib import Path
from statistics import NormalDist, median
from tempfile import TemporaryDirectory

import httpx

from example_project.private_redis import private_server
from tests.acceptance.servers import migrate, serve

TRIES = 2_000
WARM_UP = 200
RESAMPLES = 2_000


def ask(client: httpx.Client, stream_id: str) -> tuple[float, tuple[object, ...]]:
    started = time.perf_counter()
    answer = client.get(f"/streams/{stream_id}/")
    seconds = time.perf_counter() - started
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return seconds * 1_000, (answer.status_code, answer.content, tuple(sorted(headers.items())))


def mann_whitney(first: list[float], second: list[float]) -> tuple[float, float]:
    """Return P(first > second) and the two-sided p of its being one half (ties are averaged)."""
    pooled = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    rank_sum, at = 0.0, 0
    while at < len(pooled):
        end = at
        while end < len(pooled) and pooled[end][0] == pooled[at][0]:
            end += 1
        rank = (at + 1 + end) / 2
        rank_sum += rank * sum(1 for _, group in pooled[at:end] if group == 0)
        at = end
    n, m = len(first), len(second)
    u = rank_sum - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return u / (n * m), 2 * (1 - NormalDist().cdf(abs(z)))


def interval(first: list[float], second: list[float]) -> tuple[float, float]:
    """Return the bootstrapped 95 % interval of the difference of the medians."""
    differences = sorted(
        median(random.choices(first, k=len(first))) - median(random.choices(second, k=len(second)))
        for _ in range(RESAMPLES)
    )
    return differences[int(RESAMPLES * 0.025)], differences[int(RESAMPLES * 0.975)]


def compare(url: str) -> None:
    with (
        httpx.Client(base_url=url, headers={"X-User": "victim"}) as victim,
        httpx.Client(base_url=url, headers={"X-User": "thief"}) as thief,
    ):
        with victim.stream("POST", "/start/?id=s-foreign") as response:
            next(response.iter_raw())
        assert victim.head("/streams/s-foreign/").status_code == 200
        for _ in range(WARM_UP):
            ask(thief, "s-missing")
            ask(thief, "s-foreign")
        times: dict[str, list[float]] = {"s-foreign": [], "s-missing": []}
        answers = set()
        for _ in range(TRIES):
            for stream_id in random.sample(sorted(times), 2):
                taken, answer = ask(thief, stream_id)
                times[stream_id].append(taken)
                answers.add(answer)
    foreign, missing = times["s-foreign"], times["s-missing"]
    probability, p = mann_whitney(foreign, missing)
    low, high = interval(foreign, missing)
    print(f"different answers: {len(answers) - 1} ({next(iter(answers))[0]})")
    print(f"median: foreign {median(foreign):.3f} ms, missing {median(missing):.3f} ms")
    print(f"difference of the medians, 95 %: {low * 1000:+.1f} to {high * 1000:+.1f} us")
    print(f"Mann-Whitney: P(foreign slower) = {probability:.4f}, p = {p:.3f}")


def main() -> None:
    random.seed(os.environ.get("SEED"))
    with private_server() as redis, TemporaryDirectory() as folder:
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.incident_site",
            "DEMO_DB": str(Path(folder) / "site.sqlite3"),
            "DEMO_DEBUG": "0",
            "KEY_PREFIX": "oracle",
            "REDIS_URL": redis,
            "TICK_SECONDS": "1",  # a quiet stream: its own work must not be what is measured
        }
        migrate(environment)
        with serve(environment, Path(folder) / "server.log", "uvicorn") as server:
            compare(server.url)


if __name__ == "__main__":
    main()
