"""A cut after every byte of a body, headers and chunks of HTTP aside, through a real proxy."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from resumable_streams.client import AsyncRemoteStream
from tests.tools.sources import finished

from .conftest import MakeClient
from .cutting import cutting_proxy_to

pytestmark = pytest.mark.lengthy

AT_ONCE = 8
CHARACTERS = "aé漢🙂"  # of one to four bytes
TEXT = [CHARACTERS * 4] * 52  # 2 KiB
EVENTS = [CHARACTERS * 2] * 48  # the same on the wire, where each has an id


async def _bytes(stream: AsyncRemoteStream) -> str:
    return b"".join([data async for data in stream.bytes()]).decode()


async def _text(stream: AsyncRemoteStream) -> str:
    return "".join([text async for text in stream.text()])


async def _events(stream: AsyncRemoteStream) -> list[str]:
    return [event.data async for event in stream.events()]


async def _lines(stream: AsyncRemoteStream) -> list[str]:
    return [line async for line in stream.parts()]


async def _deltas(stream: AsyncRemoteStream) -> list[str]:
    return [part["delta"] async for part in stream.parts() if "delta" in part]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "cuts",
    [
        pytest.param(slice(None, None, 19), id="some"),
        pytest.param(slice(None), id="all", marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize(
    ("wire_format", "produced", "read", "expected"),
    [
        ("raw", TEXT, _bytes, "".join(TEXT)),
        ("raw", TEXT, _text, "".join(TEXT)),
        ("ndjson", EVENTS * 2, _lines, EVENTS * 2),
        ("sse", EVENTS, _events, EVENTS),
        ("ui_message", EVENTS[:20], _deltas, EVENTS[:20]),
        ("ag_ui", EVENTS[:14], _deltas, EVENTS[:14]),
    ],
)
async def test_a_cut_at_any_byte_loses_nothing_and_doubles_nothing(
    make: MakeClient,
    sources: dict[str, Any],
    port: int,
    cuts: slice,
    wire_format: str,
    produced: list[str],
    read: Any,
    expected: Any,
) -> None:
    sources["text"] = lambda: finished(produced)
    first = await make().acquire(f"/answer/text/?format={wire_format}")
    assert await read(first) == expected
    size = 0
    async with make().http.stream("GET", first.url, headers={"Authorization": "Bearer ada"}) as one:
        async for data in one.aiter_raw():
            size += len(data)
    assert size > 2_000

    async def reads(places: Iterator[int]) -> None:
        async with cutting_proxy_to(port) as proxy:
            for cut in places:
                proxy.cuts.append(cut)
                # No connection is used again: each meets its cut.
                client = make(base_url=proxy.url)
                assert await read(client.stream(first.id)) == expected, cut
                await client.http.aclose()

    places = iter(range(size + 1)[cuts])
    await asyncio.gather(*(reads(places) for _ in range(AT_ONCE)))
