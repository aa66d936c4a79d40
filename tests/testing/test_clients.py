"""The clients of `testing`: they start, read, are cut and resume, in every format."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from pytest_django import Settings

from resumable_streams.sse import comment, event
from resumable_streams.testing import HANG, AsyncStreamClient, Moment, StreamClient, produced
from resumable_streams.testing.bookmarks import Bookmark

from . import site

pytestmark = [pytest.mark.urls(site.__name__), pytest.mark.usefixtures("resumable_streams")]

PIECES = {
    "/raw/": [b"first ", b"second ", b"third"],
    "/events/": [event("first"), event("second"), event("third", "last")],
    "/messages/": [event(f'{{"type":"x","n":"{n}"}}') for n in ("first", "second", "third")],
}
formats = pytest.mark.parametrize("path", PIECES)


@pytest.fixture(autouse=True)
def sessions_without_a_database(settings: Settings) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"


@formats
async def test_a_reading_that_was_cut_goes_on_and_has_all_of_it(path: str):
    first, second, third = PIECES[path]
    client = AsyncStreamClient()
    source = site.play(first, go_on := Moment(), second, third)
    reading = await client.start(path)
    assert b"first" in await reading.read_until("first")
    await reading.cut()
    go_on.set()
    assert (await reading.resume()).status_code == 200
    body = await reading.read()
    assert not reading.is_broken
    assert body == await (await client.follow(reading.address)).read()
    assert [body.count(word) for word in (b"first", b"second", b"third")] == [1, 1, 1]
    assert source.calls == 1


@formats
def test_a_sync_reading_that_was_cut_goes_on_and_has_all_of_it(path: str):
    first, second, third = PIECES[path]
    client = StreamClient()
    source = site.play(first, go_on := Moment(), second, third)
    reading = client.start(path)
    assert b"first" in reading.read_until("first")
    reading.cut()
    go_on.set()
    assert reading.resume().status_code == 200
    body = reading.read()
    assert not reading.is_broken
    assert body == client.follow(reading.address).read()
    assert [body.count(word) for word in (b"first", b"second", b"third")] == [1, 1, 1]
    assert source.calls == 1


async def test_events_are_told_apart():
    site.play(event("Hello"), event("two\nlines", "text"))
    reading = await AsyncStreamClient().start("/events/")
    await reading.read()
    assert reading.events == [
        ("message", "Hello"),
        ("text", "two\nlines"),
        ("done", '{"status":"done"}'),
    ]


async def test_a_body_that_is_broken_off_is_told_from_a_whole_one():
    site.play(b"some", ValueError())
    reading = await AsyncStreamClient().start("/raw/")
    assert await reading.read() == b"some"
    assert reading.is_broken


def test_a_sync_body_that_is_broken_off_is_told_from_a_whole_one():
    site.play(b"some", ValueError())
    reading = StreamClient().start("/raw/")
    assert reading.read() == b"some"
    assert reading.is_broken


async def test_text_that_does_not_come_is_told_with_what_came():
    client = AsyncStreamClient()
    site.play(b"some")
    with pytest.raises(AssertionError, match="b'other' is not in the body of 200: b'some'"):
        await (await client.start("/raw/")).read_until("other")
    with pytest.raises(AssertionError, match=r"in the body of 404: .*stream_not_found"):
        await (await client.follow("/streams/missing/")).read_until("other")
    site.play(b"some", HANG)
    reading = await client.start("/raw/")
    with pytest.raises(TimeoutError):
        await reading.read_until("other", timeout=0.05)
    assert await client.cancel(reading) == 202


def test_a_sync_client_cancels():
    client, source = StreamClient(), site.play(b"some", HANG)
    reading = client.start("/raw/")
    reading.read_until(b"some")
    assert client.cancel(reading) == 202
    assert reading.read() == b"some"
    produced()
    assert source.reason == "cancelled"
    with pytest.raises(AssertionError, match="b'other' is not"):
        reading.read_until("other")


def test_the_csrf_token_is_sent_and_checked(settings: Settings):
    settings.CSRF_COOKIE_NAME, settings.CSRF_HEADER_NAME = "token", "HTTP_X_OUR_TOKEN"
    client = StreamClient()
    assert client.client.post("/raw/").status_code == 403
    site.play(b"some")
    assert client.start("/raw/").status_code == 200
    token = client.client.cookies["token"].value
    site.play(b"some")
    assert client.start("/raw/", headers={"X-Other": "1"}).status_code == 200
    assert client.client.cookies["token"].value == token


@pytest.mark.django_db
async def test_users_have_streams_of_their_own():
    ada = await AsyncStreamClient().login(await User.objects.acreate(username="ada"))
    bob = await AsyncStreamClient().login(await User.objects.acreate(username="bob"))
    site.play(b"some")
    reading = await ada.start("/raw/")
    await reading.read()
    assert (await bob.follow(reading.address)).status_code == 404
    assert await bob.cancel(reading) == 404


@pytest.mark.django_db
def test_users_of_sync_clients_have_streams_of_their_own():
    ada = StreamClient().login(User.objects.create(username="ada"))
    bob = StreamClient().login(User.objects.create(username="bob"))
    site.play(b"some")
    reading = ada.start("/raw/")
    reading.read()
    assert bob.follow(reading.address).status_code == 404


@pytest.mark.parametrize("make", [AsyncClient, Client])
def test_a_client_of_ones_own_is_used_as_it_is(make: Callable[..., Any]):
    theirs = make(headers={"X-Mine": "1"})
    ours: Any = StreamClient(theirs) if make is Client else AsyncStreamClient(theirs)
    assert ours.client is theirs


# The bookmark


def begun(**headers: str) -> Bookmark:
    bookmark = Bookmark()
    bookmark.begin({name.replace("_", "-"): value for name, value in headers.items()})
    bookmark.address = "/streams/x/"
    return bookmark


SSE = {"Content-Type": "text/event-stream"}
RAW = {"Accept-Ranges": "bytes", "X-Resumable-Stream-Epoch": "abc"}


def test_bytes_go_on_where_they_stopped():
    bookmark = begun()
    bookmark.begin({**RAW, "X-Resumable-Stream-Offset": "10"})
    bookmark.take(b"12345")
    assert bookmark.way_back() == ("/streams/x/?offset=15&epoch=abc", {})
    bookmark.address = "/streams/x/?token=t"
    assert bookmark.way_back() == ("/streams/x/?token=t&offset=15&epoch=abc", {})
    bookmark.begin({**RAW, "X-Resumable-Stream-Offset": "15"})
    bookmark.take(b"6")
    assert bookmark.body == b"123456"


def test_bytes_from_elsewhere_take_the_place_of_all_before():
    bookmark = begun()
    bookmark.begin(RAW)
    bookmark.take(b"12345")
    bookmark.begin(RAW)
    bookmark.take(b"new")
    assert bookmark.body == b"new"


def test_half_a_frame_and_frames_without_data_are_not_kept():
    bookmark = Bookmark()
    bookmark.begin(SSE)
    bookmark.take(b"data: a\nid: abc-9\n\n" + comment("keep-alive") + b"retry: 9\n\ndata: ha")
    assert bookmark.body == b"data: a\nid: abc-9\n\ndata: ha"
    assert bookmark.way_back() == ("", {"Last-Event-ID": "abc-9"})
    bookmark.begin({**SSE, "X-Resumable-Stream-Offset": "9"})
    bookmark.take(b"data: half\n\n")
    assert bookmark.events == [("message", "a"), ("message", "half")]


def test_events_without_ids_or_from_the_start_begin_anew():
    for frame in (b"data: a\n\n", b"data: a\nid: abc-9\n\n"):
        bookmark = Bookmark()
        bookmark.begin(SSE)
        bookmark.take(frame)
        bookmark.begin({**SSE, "X-Resumable-Stream-Offset": "0"})
        bookmark.take(b"data: new\n\n")
        assert bookmark.events == [("message", "new")]


def test_events_in_a_raw_stream_are_bytes():
    bookmark = begun()
    bookmark.begin({**RAW, **SSE})
    bookmark.take(b"data: ha")
    assert bookmark.way_back()[0].startswith("/streams/x/?offset=8")
