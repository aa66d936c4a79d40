"""A process that produces one live stream and, asked to, prints the metrics of all of them."""

import asyncio
import sys

import django

django.setup()

from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

from resumable_streams import streams  # noqa: E402
from resumable_streams.contrib import prometheus  # noqa: E402
from resumable_streams.process.runtime import runtime  # noqa: E402
from tests.tools.readers import read_until  # noqa: E402
from tests.tools.sources import Tap  # noqa: E402


async def main() -> None:
    prometheus.connect()
    reader = await streams.arun("chat", Tap(b"x"), owner="a")
    await read_until(reader, 1)
    print("ready", flush=True)  # noqa: T201
    if await asyncio.to_thread(sys.stdin.readline) == "report\n":
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        registry.register(prometheus.StoreGauges())
        print((await asyncio.to_thread(generate_latest, registry)).decode())  # noqa: T201
    await runtime.aclose()


asyncio.run(main())
