"""Over HTTP, one incarnation of a stream is never taken for another, nor an offset for an event."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import AsyncClient
from pytest_django import Settings

from resumable_streams.formats import ui_message
from resumable_streams.signals import owner_checked, stream_resumed
from resumable_streams.sse import event

from . import test_views as site
from .test_views import ID, OFFSET, finished, live, outcome, read, start

pytestmark = pytest.mark.urls(site.__name__)
client, streams_of_the_test = site.client, site.streams_of_the_test  # fixtures

EPOCH = "X-Resumable-Stream-Epoch"
PRIVATE = "private, no-store, no-transform"


async def begun_again(client: AsyncClient, *, at: str = "/raw/") -> tuple[str, str, str]:
    """Delete a stream and begin it again; return its address, and its epochs."""
    key = {"idempotency-key": "k"}
    old = await start(client, event("old"), None, at=at, headers=key)
    await read(old)
    address = f"/streams/{old[ID]}/"
    await client.delete(address)
    new = await start(client, event("new, and longer"), None, at=at, headers=key)
    await read(new)
    assert new[ID] == old[ID]
    assert new[EPOCH] != old[EPOCH]
    return address, old[EPOCH], new[EPOCH]


async def test_every_answer_names_the_incarnation(client: AsyncClient):
    address, _, epoch = await begun_again(client, at="/events/")
    last = {"last-event-id": f"{epoch}-{len(event('new, and longer'))}"}
    answers = [
        await client.get(address),
        await client.get(address, {"offset": "0", "epoch": epoch}),
        await client.head(address),
        await client.get(f"{address}status/"),
        await client.post(f"{address}cancel/"),
        await client.get(address, headers=last),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 202, 204]
    for answer in answers:
        assert answer[EPOCH] == epoch
        assert EPOCH in answer["Access-Control-Expose-Headers"]
        assert answer["Cache-Control"] == PRIVATE
        assert not answer.has_header("ETag")


@pytest.mark.parametrize("at", ["/raw/", "/events/", "/messages/"])
async def test_what_is_meant_for_another_incarnation_is_refused(client: AsyncClient, at: str):
    address, old, new = await begun_again(client, at=at)
    asks: list[Any] = [
        lambda query: client.get(f"{address}?offset=11&{query}"),
        lambda query: client.get(f"{address}?{query}"),
        lambda query: client.get(f"{address}?{query}", headers={"range": "bytes=3-"}),
        lambda query: client.head(f"{address}?offset=11&{query}"),
        lambda query: client.get(f"{address}status/?{query}"),
        lambda query: client.post(f"{address}cancel/?{query}"),
        lambda query: client.delete(f"{address}?{query}"),
    ]
    for ask in asks:
        refused = await ask(f"epoch={old}")
        assert refused.status_code == 412
        assert refused[EPOCH] == new
        assert refused["Cache-Control"] == PRIVATE
    assert (await client.get(f"{address}?epoch={old}")).json() == {"error": "stream_replaced"}
    assert (await client.get(f"{address}?epoch={new}")).status_code == 200
    assert (await client.delete(f"{address}?epoch={new}")).status_code == 204


async def test_a_foreign_stream_has_no_incarnations(client: AsyncClient):
    address, old, new = await begun_again(client)
    for epoch in (old, new, ""):
        foreign = await outcome(await AsyncClient().get(f"{address}?offset=1&epoch={epoch}"))
        missing = await outcome(
            await AsyncClient().get(f"/streams/nothing/?offset=1&epoch={epoch}")
        )
        assert foreign == missing
        assert EPOCH not in foreign[2]


async def test_a_range_of_another_incarnation_is_the_whole(client: AsyncClient):
    address, old, new = await begun_again(client)
    same = await client.get(address, headers={"range": "bytes=6-", "if-range": f'"{new}"'})
    assert (same.status_code, await read(same)) == (206, b"new, and longer\n\n")
    for condition in (f'"{old}"', new, "Wed, 21 Oct 2015 07:28:00 GMT"):
        other = await client.get(address, headers={"range": "bytes=6-", "if-range": condition})
        assert (other.status_code, other[OFFSET]) == (200, "0")
        assert await read(other) == event("new, and longer")


@pytest.mark.parametrize("at", ["/messages/", "/agents/"])
async def test_the_parts_of_a_chat_cannot_be_reset_so_another_incarnation_is_refused(
    client: AsyncClient, at: str
):
    address, old, new = await begun_again(client, at=at)
    assert (await client.get(address, headers={"last-event-id": f"{old}-11"})).status_code == 412
    seen = {"last-event-id": f"{new}-{len(event('new, and longer'))}"}
    assert (await client.get(address, headers=seen)).status_code == 204


async def test_an_event_source_whose_address_names_the_old_one_is_reset_and_stays(
    client: AsyncClient,
):
    address, old, new = await begun_again(client, at="/events/")
    url = f"{address}?offset=0&epoch={old}"
    body = await read(await client.get(url, headers={"last-event-id": f"{old}-11"}))
    assert body.startswith(b"event: reset\n")
    again = await client.get(url, headers={"last-event-id": f"{new}-0"})
    assert again.status_code == 200
    assert await read(again) == body.partition(b"\n\n")[2]


async def test_no_middleware_makes_a_304_of_a_body(client: AsyncClient, settings: Settings):
    settings.MIDDLEWARE = ["django.middleware.http.ConditionalGetMiddleware", *settings.MIDDLEWARE]
    address = await finished(client, b"0123456789")
    first = await client.get(address)
    assert await read(first) == b"0123456789"
    for etag in ("*", f'"{first[EPOCH]}"', f'W/"{first[EPOCH]}"'):
        response = await client.get(f"{address}?offset=4", headers={"if-none-match": etag})
        assert (response.status_code, await read(response)) == (200, b"456789")


# --- offsets and frames


@pytest.mark.parametrize("at", ["/events/", "/messages/"])
@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.lengthy
async def test_an_offset_inside_a_frame_is_refused(
    client: AsyncClient,
    at: str,
    is_live: bool,
):
    part = ui_message.part({"type": "start"})
    address = await (live if is_live else finished)(client, part, part, at=at)
    for offset in range(2 * len(part) + 1):
        answers = [
            await client.get(address, {"offset": str(offset)}),
            await client.head(address, query_params={"offset": str(offset)}),
        ]
        expected = 400 if offset % len(part) else 200
        assert [answer.status_code for answer in answers] == [expected] * 2, offset
        if expected == 400:
            told = answers[0].json()
            assert told["error"] == "inside_a_frame"
            assert "Last-Event-ID" in told["detail"]


async def test_an_event_id_inside_a_frame_is_refused(client: AsyncClient):
    response = await start(client, event("a"), event("b"), None, at="/events/")
    await read(response)
    address, epoch = f"/streams/{response[ID]}/", response[EPOCH]
    for offset in (1, 8, 10, 17):
        answer = await client.get(address, headers={"last-event-id": f"{epoch}-{offset}"})
        assert (answer.status_code, answer.json()["error"]) == (400, "inside_a_frame")


async def test_the_end_of_a_stream_is_a_position_even_inside_a_frame(client: AsyncClient):
    address = await finished(client, event("a"), b"data: half", at="/events/")
    answer = await client.get(address, {"offset": "19"})
    assert answer.status_code == 200
    assert (await read(answer)).startswith(b"event: done\n")
    assert (await client.get(address, {"offset": "18"})).status_code == 400


async def test_bytes_of_raw_can_be_resumed_anywhere(client: AsyncClient):
    address = await finished(client, event("a"))
    for offset in range(10):
        body = await read(await client.get(address, {"offset": str(offset)}))
        assert body == event("a")[offset:]


# --- one look


@pytest.mark.parametrize(
    ("headers", "offset"),
    [
        ({"last-event-id": "old-5"}, 0),
        ({"last-event-id": "old-5000"}, 0),
        ({"range": "bytes=3-4"}, 3),
        ({"range": "bytes=3-", "if-range": '"old"'}, 0),
        ({}, 0),
    ],
)
async def test_one_request_is_one_resume(
    client: AsyncClient, headers: dict[str, str], offset: int, heard: list[tuple[str, Any]]
):
    at = "/events/" if "last-event-id" in headers else "/raw/"
    address = await finished(client, event("a"), event("b"), at=at)
    heard.clear()
    response = await client.get(address, headers=headers)
    assert response[OFFSET] == str(offset)
    response.close()
    assert heard == [("resume", "match"), ("resumed", offset)]


async def test_a_refused_position_is_no_resume(client: AsyncClient, heard: list[tuple[str, Any]]):
    address = await finished(client, event("a"), at="/events/")
    heard.clear()
    for query in ("offset=3", "offset=900", "offset=0&epoch=old"):
        assert (await client.get(f"{address}?{query}")).status_code >= 400
    assert heard == [("resume", "match")] * 3


@pytest.mark.django_db(transaction=True)
async def test_a_reload_after_the_login_is_not_logged_as_foreign(
    client: AsyncClient, heard: list[tuple[str, Any]], django_user_model: Any
):
    address = await live(client, b"as a visitor")
    user = await django_user_model.objects.acreate_user("ann")
    await client.aforce_login(user)
    heard.clear()
    (await client.get(f"{address}?offset=3")).close()
    await client.head(address)
    await client.get(f"{address}status/")
    await client.post(f"{address}cancel/")
    await client.delete(address)
    assert heard == [
        ("resume", "match"),
        ("resumed", 3),
        ("status", "match"),
        ("status", "match"),
        ("cancel", "match"),
        ("delete", "match"),
    ]


@pytest.fixture
def heard() -> Iterator[list[tuple[str, Any]]]:
    """Collect who was checked, and what was resumed from which byte."""
    found: list[tuple[str, Any]] = []

    def checked(*, operation: str, outcome: str, **named: Any) -> None:
        found.append((operation, outcome))

    def resumed(*, offset: int, **named: Any) -> None:
        found.append(("resumed", offset))

    owner_checked.connect(checked)
    stream_resumed.connect(resumed)
    yield found
    owner_checked.disconnect(checked)
    stream_resumed.disconnect(resumed)


# --- where to come back


async def test_a_post_says_where_to_come_back(client: AsyncClient):
    response = await start(client, b"x", None)
    await read(response)
    assert response["Location"] == f"/streams/{response[ID]}/"
    assert await read(await client.get(response["Location"])) == b"x"
    assert not (await client.get(response["Location"])).has_header("Location")


@pytest.mark.urls("tests.django_edges.urls_without_streams")
async def test_without_our_addresses_a_post_names_none(client: AsyncClient):
    response = await start(client, b"x", None)
    assert not response.has_header("Location")
    await read(response)
