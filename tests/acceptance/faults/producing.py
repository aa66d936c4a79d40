"""Produce streams in a process of its own, until it is killed: `python -m … URL PREFIX LEASE N`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from functools import partial

import django
from django.conf import settings

PAUSE_SECONDS = 0.02


def chunk(stream: int, number: int) -> bytes:
    return b"%d:%d;" % (stream, number)


async def numbers(stream: int) -> AsyncIterator[bytes]:
    number = 0
    while True:
        yield chunk(stream, number)
        number += 1
        await asyncio.sleep(PAUSE_SECONDS)


def configure(url: str, prefix: str, lease: str) -> None:
    entry = {
        "BACKEND": "resumable_streams.stores.redis.RedisStore",
        "LOCATION": url,
        "KEY_PREFIX": prefix,
        "LEASE": float(lease),
    }
    settings.configure(
        SECRET_KEY="tests",
        INSTALLED_APPS=["resumable_streams"],
        USE_TZ=True,
        RESUMABLE_STREAMS={"default": entry},
    )
    django.setup()


async def main(count: str) -> None:
    from resumable_streams import streams

    for stream in range(int(count)):
        await streams.arun(f"s{stream}", partial(numbers, stream), owner="me")
    sys.stdout.write("producing\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    configure(*sys.argv[1:4])
    asyncio.run(main(sys.argv[4]))
