"""Clients of real server processes: cut at random, sent elsewhere by deploys, under WSGI, too.

wsgiref speaks HTTP/1.0: its bodies end when the connection does, so that a cut looks like an end.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from resumable_streams.client import (
    AsyncSiteClient,
    Backoff,
    RemoteFailure,
    RemoteStream,
    SiteClient,
)
from tests.acceptance.conftest import Serve
from tests.acceptance.servers import Server
from tests.proxy import proxy_to
from tests.tools.serving import PLAIN
from tests.tools.waiting import eventually

from .cutting import cutting_proxy_to

pytestmark = pytest.mark.lengthy

SITE = "tests.acceptance.frames_site"
ME = {"X-User": "me"}
KINDS = ["uvicorn", "daphne", "gunicorn sync", "gunicorn gthread", "runserver (WSGI)"]
FORMATS = ["raw", "sse", "ui_message"]
BACKOFF = Backoff(attempts=12, first=0.05, longest=1.0)  # more than there are cuts
COUNT = 20
THREADS = 2


def numbers(count: int) -> list[str]:
    return [f"{number} " for number in range(count)]


def read(
    url: str,
    wire_format: str,
    *,
    count: int = COUNT,
    every: float = 0.02,
    begun: Callable[[], object] = lambda: None,
) -> list[str]:
    """Return what a sync client makes of a stream of numbered words; tell when it has begun."""
    with httpx.Client(verify=PLAIN, timeout=30, headers=ME) as http:
        client = SiteClient(url, http=http, backoff=BACKOFF)
        stream = client.acquire(f"/produce?format={wire_format}&count={count}&every={every}")
        found = []
        for word in WORDS_OF[wire_format](stream):
            found.append(word)
            begun()
        return found


def lines_of(stream: RemoteStream) -> Iterator[str]:
    """Yield the events of a raw stream, which the site makes of events, too."""
    body = ""
    for text in stream.text():
        *lines, body = (body + text).split("\n\n")
        yield from (line.removeprefix("data: ") for line in lines)


def events_of(stream: RemoteStream) -> Iterator[str]:
    return (event.data for event in stream.events())


def deltas_of(stream: RemoteStream) -> Iterator[str]:
    return (part["delta"] for part in stream.parts() if part["type"] == "text-delta")


WORDS_OF = {"raw": lines_of, "sse": events_of, "ui_message": deltas_of}


async def in_a_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


def port_of(server: Server) -> int:
    port = urlsplit(server.url).port
    assert port
    return port


@pytest.mark.parametrize("kind", KINDS)
async def test_cuts_at_random_places(passing: Serve, redis_url: str, kind: str) -> None:
    server = passing(kind, DJANGO_SETTINGS_MODULE=SITE, REDIS_URL=redis_url)
    for wire_format in FORMATS:
        cuts = [random.randint(0, 400) for _ in range(THREADS * 5)]
        async with cutting_proxy_to(port_of(server), cuts) as proxy:
            work = partial(read, proxy.url, wire_format)
            found = await asyncio.gather(*(in_a_thread(work) for _ in range(THREADS)))
            assert found == [numbers(COUNT)] * THREADS, (wire_format, cuts)
    assert "Traceback" not in server.written()


@pytest.mark.parametrize("kind", ["uvicorn", "daphne", "gunicorn gthread", "runserver (WSGI)"])
async def test_a_deploy_sends_clients_to_another_server(
    passing: Serve, redis_url: str, kind: str
) -> None:
    site = {"DJANGO_SETTINGS_MODULE": SITE, "REDIS_URL": redis_url, "DRAIN_TIMEOUT": "8"}
    ending, other = passing(kind, **site), passing("uvicorn", **site)
    async with proxy_to(port_of(ending)) as proxy:
        begun = {name: threading.Event() for name in FORMATS}
        work = [
            partial(read, proxy.url, name, count=40, every=0.1, begun=begun[name].set)
            for name in FORMATS
        ]
        reading = [asyncio.create_task(in_a_thread(one)) for one in work]
        await eventually(lambda: all(event.is_set() for event in begun.values()))
        ending.process.terminate()
        proxy.upstream = port_of(other)
        assert await asyncio.gather(*reading) == [numbers(40)] * len(FORMATS)
    assert ending.process.wait(timeout=30) is not None


@pytest.mark.parametrize("wire_format", FORMATS)
async def test_a_deploy_without_another_server_is_waited_for(
    passing: Serve, redis_url: str, wire_format: str
) -> None:
    site = {"DJANGO_SETTINGS_MODULE": SITE, "REDIS_URL": redis_url, "DRAIN_TIMEOUT": "0"}
    ending = passing("uvicorn", **site)
    async with proxy_to(port_of(ending)) as proxy:
        http = httpx.AsyncClient(verify=PLAIN, timeout=30, headers=ME)
        client = AsyncSiteClient(proxy.url, http=http, backoff=Backoff(attempts=30, longest=0.5))
        address = f"/produce?format={wire_format}&count=1000&every=0.05"
        stream = await client.acquire(address)
        reading = stream.bytes()
        found = await anext(reading)
        ending.process.terminate()

        async def read_on() -> None:
            nonlocal found
            async for data in reading:
                found += data

        rest = asyncio.create_task(read_on())
        await eventually(lambda: ending.process.poll() is not None, seconds=30)
        proxy.upstream = port_of(passing("uvicorn", **site))
        with pytest.raises(RemoteFailure, match="interrupted"):
            await rest
        size = (await stream.status()).size
        assert size == int(stream.position.rpartition("-")[2])
        if wire_format == "raw":
            assert size == len(found)
        await http.aclose()


@pytest.mark.parametrize("kind", ["uvicorn", "runserver (WSGI)"])
async def test_bodies_of_a_second_each(passing: Serve, redis_url: str, kind: str) -> None:
    server = passing(
        kind, DJANGO_SETTINGS_MODULE=SITE, REDIS_URL=redis_url, MAX_RESPONSE_SECONDS="1"
    )
    work = [partial(read, server.url, name, count=30, every=0.1) for name in FORMATS]
    found = await asyncio.gather(*map(in_a_thread, work))
    assert found == [numbers(30)] * len(FORMATS)
