"""ATOMIC_REQUESTS, with which Django calls no async view that has not opted out."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from pytest_django import Settings

from resumable_streams.checks import check_atomic_requests
from resumable_streams.views import AcquireView, stream_response


class Answer(AcquireView):
    async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        yield b"x"


async def refused(request: HttpRequest) -> HttpResponseBase:
    return await stream_response(request, [b"x"])


@transaction.non_atomic_requests
async def allowed(request: HttpRequest) -> HttpResponseBase:
    return await stream_response(request, [b"x"])


def sync(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


inner = [path("refused/", refused), path("allowed/", allowed), path("sync/", sync)]
urlpatterns = [
    path("answer/", Answer.as_view()),
    path("exempt/", csrf_exempt(Answer.as_view())),
    path("streams/", include("resumable_streams.urls")),
    path("functions/", include(inner)),
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def atomic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


@pytest.fixture
def client(atomic: None, settings: Settings, key_prefix: str) -> AsyncClient:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix, "DRAIN_TIMEOUT": 0}}
    return AsyncClient()


async def read(response: Any) -> bytes:
    return b"".join([part async for part in response])


@pytest.mark.parametrize("at", ["/answer/", "/exempt/", "/functions/allowed/"])
async def test_streams_are_started_found_and_ended(client: AsyncClient, at: str):
    response = await client.post(at)
    assert await read(response) == b"x"
    address = f"/streams/{response['X-Resumable-Stream-Id']}/"
    assert await read(await client.get(address)) == b"x"
    assert (await client.get(f"{address}status/")).status_code == 200
    assert (await client.post(f"{address}cancel/")).status_code == 202
    assert (await client.delete(address)).status_code == 204


async def test_django_refuses_a_function_that_has_not_opted_out(client: AsyncClient):
    with pytest.raises(RuntimeError, match="ATOMIC_REQUESTS"):
        await client.post("/functions/refused/")


def found() -> list[CheckMessage]:
    return check_atomic_requests(None)


def test_w012_names_the_functions_that_django_refuses(atomic: None):
    (message,) = found()
    assert message.id == "resumable_streams.W012"
    assert f"{__name__}.refused" in message.msg
    assert re.search(r"@transaction\.non_atomic_requests\.$", message.hint or "")


def test_w012_names_every_database(atomic: None, monkeypatch: pytest.MonkeyPatch):
    options = {**connections.settings["default"]}
    monkeypatch.setitem(connections.settings, "other", options)
    hints = {message.msg.split()[3]: message.hint for message in found()}
    other = "@transaction.non_atomic_requests(using='other')"
    assert other in str(hints[f"{__name__}.refused"])
    assert str(hints[f"{__name__}.allowed"]) == f"Decorate it with {other}."


def test_nothing_is_said_without_atomic_requests(settings: Settings):
    assert found() == []


def test_nothing_is_said_of_a_project_without_addresses(atomic: None, settings: Settings):
    settings.ROOT_URLCONF = None
    assert found() == []
