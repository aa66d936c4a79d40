"""Refused requests: what receivers are told, and what the client never is."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import AsyncClient
from django.urls import include, path
from pytest_django import Settings

from resumable_streams import PUBLIC, streams
from resumable_streams.exceptions import StoreUnavailable, StreamLimitExceeded
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import inline, stream_refused, stream_resumed
from resumable_streams.types import Owner, RefusalReason
from resumable_streams.views import AcquireView, resume_response
from tests.tools.readers import read_all

Told = list[tuple[str, str, int, str | None]]


def by_query(request: HttpRequest) -> Owner | None:
    return None if "nobody" in request.GET else "me"


class Start(AcquireView):
    def produce(self, request: HttpRequest) -> Any:
        return [b"x"]

    def get_stream_id(self, request: HttpRequest) -> str | None:
        return request.GET.get("id")

    def refuse(self, request: HttpRequest) -> None:
        if "away" in request.GET:
            raise StoreUnavailable("default")
        if limit := request.GET.get("limit"):
            raise StreamLimitExceeded(limit, 1)


async def live_only(request: HttpRequest, stream_id: str) -> HttpResponseBase:
    return await resume_response(request, stream_id, format="ui_message", active=True)


urlpatterns = [
    path("start/", Start.as_view()),
    path("live/<str:stream_id>/", live_only),
    path("streams/", include("resumable_streams.urls")),
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def client(settings: Settings, key_prefix: str) -> AsyncClient:
    entry = {"LOCATION": key_prefix, "OWNER": f"{__name__}.by_query", "DRAIN_TIMEOUT": 0}
    settings.RESUMABLE_STREAMS = {"default": entry}
    settings.MIDDLEWARE = []
    return AsyncClient()


@pytest.fixture
def told() -> Iterator[Told]:
    """Return what receivers are told: operation, reason, status, stream id."""
    found: Told = []

    @inline
    def receiver(
        operation: str, reason: str, status: int, stream_id: str | None, **named: Any
    ) -> None:
        assert isinstance(named["error"], named["sender"])
        assert named["alias"] == "default"
        assert isinstance(named["request"], HttpRequest)
        found.append((operation, reason, status, stream_id))

    stream_refused.connect(receiver)
    yield found
    stream_refused.disconnect(receiver)


async def end(stream_id: str, owner: Owner) -> None:
    await read_all(await streams.arun(stream_id, [b"x"], owner=owner))


async def test_what_is_granted_is_not_refused(client: AsyncClient, told: Told):
    (await client.post("/start/?id=s")).close()
    (await client.get("/streams/s/")).close()
    assert (await client.get("/streams/s/status/")).status_code == 200
    assert told == []


async def test_a_request_of_nobody(client: AsyncClient, told: Told):
    response = await client.post("/start/?nobody")
    assert response.status_code == 401
    assert told == [("run", "no_owner", 401, None)]


async def test_the_reason_of_a_404_is_told_and_not_sent(client: AsyncClient, told: Told):
    await end("foreign", "other")
    await end("revoked", "me")
    await streams.arevoke(owner="me")
    answers = [
        await client.get(f"/streams/{name}/") for name in ("missing", "foreign", "revoked", "a b")
    ]
    assert told == [
        ("resume", "missing", 404, "missing"),
        ("resume", "foreign", 404, "foreign"),
        ("resume", "revoked", 404, "revoked"),
        ("resume", "invalid_stream_id", 404, "a b"),
    ]
    assert len({(one.status_code, one.content, str(one.headers)) for one in answers}) == 1


async def test_each_operation_is_named(client: AsyncClient, told: Told):
    await end("s", "other")
    await client.post("/start/?id=s")
    await client.head("/streams/s/")
    await client.get("/streams/s/status/")
    await client.post("/streams/s/cancel/")
    await client.delete("/streams/s/")
    assert [(operation, reason) for operation, reason, *_ in told] == [
        ("run", "foreign"),
        ("status", "foreign"),
        ("status", "foreign"),
        ("cancel", "foreign"),
        ("delete", "foreign"),
    ]


async def test_a_public_stream_that_somebody_would_cancel(client: AsyncClient, told: Told):
    await end("s", PUBLIC)
    await client.post("/streams/s/cancel/")
    assert told == [("cancel", "foreign", 404, "s")]


async def test_the_status_is_that_of_the_answer(client: AsyncClient, told: Told):
    await end("s", "me")
    assert (await client.get("/live/s/")).status_code == 204
    assert told == [("resume", "ended", 204, "s")]


async def test_a_resume_that_is_refused_is_not_told_as_one(client: AsyncClient):
    resumed: list[str] = []

    @inline
    def receiver(stream_id: str, **named: Any) -> None:
        resumed.append(stream_id)

    stream_resumed.connect(receiver)
    try:
        await end("s", "me")
        assert (await client.get("/live/s/")).status_code == 204
        assert resumed == []
        assert (await client.get("/streams/s/")).status_code == 200
        assert resumed == ["s"]
    finally:
        stream_resumed.disconnect(receiver)


@pytest.mark.parametrize(
    ("query", "reason", "status"),
    [
        ("away", "unavailable", 503),
        ("limit=MAX_STREAMS", "too_many_streams", 429),
        ("limit=MAX_CHUNK_BYTES", "too_large", 413),
        ("id=a b", "invalid_stream_id", 400),
    ],
)
async def test_why_nothing_is_started(
    client: AsyncClient, told: Told, query: str, reason: str, status: int
):
    assert (await client.post(f"/start/?{query}")).status_code == status
    assert told == [("run", reason, status, None)]


async def test_positions(client: AsyncClient, told: Told):
    await end("s", "me")
    for query in ("offset=x", "offset=9", "epoch=ffff"):
        await client.get(f"/streams/s/?{query}")
    assert [(reason, status) for _, reason, status, _ in told] == [
        ("invalid_position", 400),
        ("beyond_the_end", 416),
        ("stream_replaced", 412),
    ]


async def test_a_drain_is_a_503_even_where_an_event_source_gets_200(
    client: AsyncClient, told: Told
):
    await end("s", "me")
    runtime.start_drain()
    browser = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    assert (await client.get("/streams/s/")).status_code == 503
    assert (await client.get("/streams/s/", headers=browser)).status_code == 200
    assert [(reason, status) for _, reason, status, _ in told] == [
        ("shutting_down", 503),
        ("shutting_down", 200),
    ]


async def test_a_receiver_that_raises_changes_no_answer(client: AsyncClient, caplog: Any):
    def receiver(**named: Any) -> None:
        raise ValueError("mine")

    connect: Callable[..., None] = stream_refused.connect
    connect(receiver)
    try:
        assert (await client.get("/streams/missing/")).status_code == 404
    finally:
        stream_refused.disconnect(receiver)
    assert "test_refusals" in caplog.text


def test_every_error_that_is_answered_has_a_reason():
    from resumable_streams.http.response import ANSWERS

    assert {word for _, word in ANSWERS.values()} <= set(RefusalReason)
