"""Produce streams in a process of its own, until it is killed: `python -m … URL PREFIX LEASE N`.

Each has a slot. With an N of 0 one stream after the other replaces the last one in the same slot.
"""

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
        slot = f"chat:{stream}"
        await streams.arun(f"s{stream}", partial(numbers, stream), owner="me", slot=slot)
    sys.stdout.write("producing\n")
    sys.stdout.flush()
    while count == "0":
        source = partial(numbers, 0)
        await streams.arun(None, source, owner="me", slot="chat:0", on_busy="replace")
    await asyncio.Event().wait()


if __name__ == "__main__":
    configure(*sys.argv[1:4])
    asyncio.run(main(sys.argv[4]))
