"""The signed cookie: it remembers a stream for as long as that lives, and is no right to it."""

from time import time
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from resumable_streams.cookies import delete_stream_cookie, get_stream_cookie, set_stream_cookie
from resumable_streams.types import StreamInfo, StreamStatus


def info(**named: Any) -> StreamInfo:
    known = {
        "stream_id": "chat:1",
        "tenant": "acme",
        "generation": 1,
        "owner": "user:42",
        "status": StreamStatus.STREAMING,
        "size": 0,
        "entries": 0,
        "created": 0.0,
        "expires": 0.0,
        "epoch": "e1",
        "ttl": 1800.7,
    }
    return StreamInfo(**{**known, **named})


def after(response: HttpResponse, name: str = "resumable_stream") -> HttpRequest:
    """Return the next request of the browser."""
    request = RequestFactory().get("/")
    request.COOKIES[name] = response.cookies[name].value
    return request


def test_the_cookie_lives_as_long_as_the_stream():
    response = HttpResponse()
    set_stream_cookie(response, info())
    assert response.cookies["resumable_stream"]["max-age"] == 1800
    assert response.cookies["resumable_stream"]["httponly"]
    assert get_stream_cookie(after(response)) == "chat:1"


def test_a_browser_that_keeps_it_longer_is_not_believed(monkeypatch: pytest.MonkeyPatch):
    response = HttpResponse()
    set_stream_cookie(response, info())
    then = time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: then + 1799)
    assert get_stream_cookie(after(response)) == "chat:1"
    monkeypatch.setattr("django.core.signing.time.time", lambda: then + 1802)
    assert get_stream_cookie(after(response)) is None


@pytest.mark.parametrize("value", ["", "chat:1", "1800:chat:1", "1800:chat:1:a:b"])
def test_a_cookie_that_was_not_signed_here_is_none(value: str):
    request = RequestFactory().get("/")
    assert get_stream_cookie(request) is None
    request.COOKIES["resumable_stream"] = value
    assert get_stream_cookie(request) is None


def test_a_cookie_of_another_kind_does_not_pass():
    response = HttpResponse()
    response.set_signed_cookie("resumable_stream", "1800:chat:1", salt="another")
    assert get_stream_cookie(after(response)) is None


def test_the_cookie_says_nothing_of_the_owner_or_tenant():
    response = HttpResponse()
    set_stream_cookie(response, info())
    assert "42" not in response.cookies["resumable_stream"].value.rsplit(":", 2)[0]
    assert "acme" not in response.cookies["resumable_stream"].value


def test_the_cookie_travels_as_the_session_cookie_does(settings: Settings):
    settings.SESSION_COOKIE_SECURE, settings.SESSION_COOKIE_SAMESITE = True, "Strict"
    settings.SESSION_COOKIE_PATH, settings.SESSION_COOKIE_DOMAIN = "/app/", "example.org"
    response = HttpResponse()
    set_stream_cookie(response, info(), name="mine")
    attributes = ("secure", "samesite", "path", "domain")
    cookie = response.cookies["mine"]
    assert [cookie[name] for name in attributes] == [True, "Strict", "/app/", "example.org"]
    delete_stream_cookie(response, name="mine")
    cookie = response.cookies["mine"]
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", 0, "/app/")
