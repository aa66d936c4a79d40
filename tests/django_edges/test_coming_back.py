"""A body that ends before its stream: who can see that, and how the others are told."""

from typing import Any

import pytest
from django.test import AsyncClient, AsyncRequestFactory, RequestFactory

from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.formats import RESUME, ui_message
from resumable_streams.http.response import BodyCut, ResumableStreamResponse
from resumable_streams.http.transports import transport_of
from resumable_streams.process.runtime import runtime
from resumable_streams.sse import event
from resumable_streams.stores.memory import MemoryStore
from tests.tools.frames import without_ids

from . import test_views as site
from .test_views import live, read, read_until, start

pytestmark = pytest.mark.urls(site.__name__)
client, streams_of_the_test = site.client, site.streams_of_the_test  # fixtures

EVENT_SOURCE = {"accept": "text/event-stream", "cache-control": "no-cache"}


# --- a cut


def of_scope(**changes: Any) -> Any:
    request: Any = AsyncRequestFactory().get("/")
    request.scope.update(changes)
    return request


@pytest.mark.parametrize(
    ("version", "shown"),
    [("0.9", False), ("1.0", False), ("1", False), ("1.1", True), ("2", True), ("3", True)],
)
def test_a_cut_is_seen_where_bodies_have_chunks(version: str, shown: bool):
    assert transport_of(of_scope(http_version=version)).shows_cut is shown


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({"SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "gunicorn/23.0"}, True),
        ({"SERVER_PROTOCOL": "HTTP/1.0", "SERVER_SOFTWARE": "gunicorn/23.0"}, False),
        ({"SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "WSGIServer/0.2"}, False),
        ({"SERVER_PROTOCOL": "HTTP/1.1"}, True),
    ],
)
def test_a_cut_is_seen_where_a_wsgi_server_sends_chunks(environ: dict[str, str], shown: bool):
    request = RequestFactory().get("/")
    request.META.update(environ)
    assert transport_of(request).shows_cut is shown


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every body end soon, as planned."""
    monkeypatch.setattr(ResumableStreamResponse, "max_seconds", 0.05, raising=False)


@pytest.mark.usefixtures("short_lived")
async def test_a_message_that_goes_on_is_cut(client: AsyncClient):
    part = ui_message.part({"type": "start"})
    assert without_ids(await read_until_cut(await start(client, part, at="/messages/"))) == part


@pytest.mark.usefixtures("short_lived")
@pytest.mark.parametrize("at", ["/messages/", "/raw/"])
async def test_where_a_cut_is_not_seen_a_message_says_that_it_goes_on_and_raw_cannot(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch, at: str
):
    monkeypatch.setattr("resumable_streams.http.transports.WITHOUT_CHUNKS", ("1.1",))
    part = ui_message.part({"type": "start"})
    response = await start(client, part, at=at)
    if at == "/raw/":
        assert await read_until_cut(response) == part
    else:
        told = ui_message.part({"type": "error", "errorText": RESUME})
        body = await read(response)
        assert body.endswith(told)  # without an id: it stands nowhere in the log
        assert without_ids(body.removesuffix(told)) == part


async def read_until_cut(response: Any) -> bytes:
    received = []
    try:
        async for data in response:
            received.append(data)
    except BodyCut:
        return b"".join(received)
    pytest.fail("The body was not cut.")


# --- an EventSource


@pytest.mark.parametrize("at", ["/events/", "/silent/"])
@pytest.mark.parametrize("end", [None, OSError("down")])
async def test_an_event_source_stops_after_the_last_id_however_the_stream_ended(
    client: AsyncClient, at: str, end: Exception | None
):
    response = await start(client, event("a"), end, at=at)
    body = await read(response)
    assert (body.count(b"event: ") == 0) == (at == "/silent/")
    last_id = body.rpartition(b"id: ")[2].strip().decode()
    assert last_id.endswith("-end")
    again = await client.get(
        f"/streams/{response[site.ID]}/", headers={**EVENT_SOURCE, "last-event-id": last_id}
    )
    assert (again.status_code, again.content) == (204, b"")


@pytest.mark.usefixtures("short_lived")
async def test_a_body_that_has_lived_long_enough_says_when_to_come_back(client: AsyncClient):
    body = await read(await start(client, event("a"), at="/events/"))
    frames = body.split(b"\n\n")
    assert (len(frames), frames[1][:7], frames[2]) == (3, b"retry: ", b"")


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a drain wait for nobody; other tests may have made the process more patient."""
    monkeypatch.setattr(runtime, "grace", 0)


def assert_told_when_to_come_back(response: Any) -> int:
    """Check the answer to an EventSource; return the milliseconds it is to wait."""
    assert response.status_code == 200
    assert response["Content-Type"] == "text/event-stream"
    assert response["Cache-Control"] == "private, no-store, no-transform"
    word, _, number = response.content.decode().partition(": ")
    assert (word, number[-2:]) == ("retry", "\n\n")
    return int(number)


@pytest.mark.usefixtures("no_grace")
async def test_in_a_drain_an_event_source_comes_back_and_others_see_503(client: AsyncClient):
    address = await live(client, event("a"), at="/events/")
    await runtime.drain()
    waits = {
        assert_told_when_to_come_back(await client.get(address, headers=EVENT_SOURCE))
        for _ in range(20)
    }
    assert len(waits) > 1  # all of them come back, and not all at once
    assert 1_000 <= min(waits) <= max(waits) <= 3_000
    for headers in (
        {},
        {"accept": "text/event-stream"},
        {"cache-control": "no-cache"},
        {**EVENT_SOURCE, "accept": "text/event-stream, */*"},
    ):
        response = await client.get(address, headers=headers)
        assert (response.status_code, response["Retry-After"]) == (503, "1")


async def test_while_the_store_is_away_an_event_source_comes_back(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    address = await live(client, event("a"), at="/events/")

    async def away(store: Any, keys: Any) -> Any:
        raise StoreUnavailable("default")

    with monkeypatch.context() as broken:
        broken.setattr(MemoryStore, "status", away)
        assert_told_when_to_come_back(await client.get(address, headers=EVENT_SOURCE))
        assert (await client.get(address)).status_code == 503
        assert (await client.head(address, headers=EVENT_SOURCE)).status_code == 503
    again = await client.get(address, headers=EVENT_SOURCE)
    assert (await read_until(again, 20)).startswith(b"data: a\n")


async def test_a_missing_stream_ends_an_event_source(client: AsyncClient):
    assert (await client.get("/streams/nothing/", headers=EVENT_SOURCE)).status_code == 404
