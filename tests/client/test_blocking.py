"""The client for sync code, in threads beside the server."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from resumable_streams.client import (
    GaveUp,
    NotFound,
    RemoteFailure,
    RemoteStream,
    SiteClient,
    WrongFormat,
)
from tests.tools.serving import PLAIN
from tests.tools.sources import Tap, finished

from . import site
from .conftest import QUICK
from .cutting import cutting_proxy_to

pytestmark = pytest.mark.lengthy

WORDS = ["Hé", "llo ", "🙂"]
THREADS = 8


@pytest.fixture(autouse=True)
def words(sources: dict[str, Any]) -> None:
    sources["words"] = lambda: finished(WORDS)


def client_of(url: str, **options: Any) -> SiteClient:
    http = httpx.Client(verify=PLAIN, timeout=10)
    return SiteClient(url, **{"http": http, "token": "ada", "backoff": QUICK, **options})


async def in_threads(work: Any, *arguments: Any) -> list[Any]:
    """Return what a function returns in each of some threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(pool, work, *arguments) for _ in range(THREADS)]
        return await asyncio.gather(*calls)


async def test_threads_share_a_client(port: int) -> None:
    def read(client: SiteClient) -> list[Any]:
        with client.acquire("/answer/words/", json={}) as raw:
            text = "".join(raw.text())
        events = [event.data for event in client.acquire("/answer/words/?format=sse").events()]
        parts = list(client.acquire("/answer/words/?format=ndjson").parts())
        ended = [raw.status().status, raw.cancel().status]
        raw.delete()
        return [text, events, parts, *ended]

    client = client_of(f"http://127.0.0.1:{port}")
    found = await in_threads(read, client)
    client.http.close()
    assert found == [["".join(WORDS), WORDS, WORDS, "done", "done"]] * THREADS
    assert site.calls["words"] == 3 * THREADS


async def test_cuts_and_a_loop_that_is_left(port: int) -> None:
    def read(url: str) -> tuple[list[str], list[str]]:
        client = client_of(url)
        stream = client.acquire("/answer/words/?format=sse")
        found = []
        while not stream.ended:
            for event in stream.events():
                found.append(event.data)
                break
        again = client.stream(stream.id, after=None)
        rest = [event.data for event in again.events()]
        client.http.close()
        return found, rest

    async with cutting_proxy_to(port, [0, 30, 5, 70, 0, 30]) as proxy:
        found = await in_threads(read, proxy.url)
    assert found == [(WORDS, WORDS)] * THREADS


async def test_errors(port: int, sources: dict[str, Any]) -> None:
    async def failing() -> Any:
        yield "first"
        raise ConnectionError

    sources["failing"] = failing

    def read(client: SiteClient) -> RemoteStream:
        stream = client.acquire("/answer/failing/")
        with pytest.raises(RemoteFailure, match="source_failed"):
            list(stream.bytes())
        with pytest.raises(WrongFormat):
            list(client.stream(stream.id).events())
        with pytest.raises(NotFound):
            client.stream("missing").status()
        with pytest.raises(GaveUp):
            list(client_of("http://127.0.0.1:1").stream(stream.id).bytes())
        return stream

    client = client_of(f"http://127.0.0.1:{port}", token=lambda: "ada")
    stream = await asyncio.to_thread(read, client)
    client.http.close()
    assert (stream.ended, stream.position) == ("error", f"{stream.epoch}-5")
    assert stream.id in repr(stream)


async def test_cancel_from_another_thread(port: int, sources: dict[str, Any]) -> None:
    sources["tap"] = tap = Tap("first")

    def read(client: SiteClient) -> str:
        stream = client.acquire("/answer/tap/?format=sse")
        for _ in stream.events():
            client.stream(stream.id).cancel()
        return stream.ended

    with client_of(f"http://127.0.0.1:{port}") as client:
        assert await asyncio.to_thread(read, client) == "cancelled"
        client.http.close()
    await tap.closed.wait()
