"""Fragments that a template makes: from a view, and of a worker that goes on with a stream."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import AsyncClient
from django.urls import include, path
from pytest_django import Settings

from resumable_streams import streams
from resumable_streams.views import AcquireView
from tests.behaviour import test_holdings
from tests.behaviour.test_holdings import at_rest
from tests.tools.frames import without_ids
from tests.tools.readers import read_until
from tests.whatwg import events

LIST = "{% for user in users %}<li>{{ user.username }}</li>{% endfor %}"


opened = test_holdings.opened


class Users(AcquireView):
    format = "html"
    fragment_template = "users.html"

    async def produce(self, request: HttpRequest) -> AsyncIterator[Any]:
        yield "<b> & "
        yield {"users": User.objects.order_by("pk")}
        await asyncio.sleep(0)
        yield {"users": User.objects.none()}
        yield "."


class OthersTemplate(Users):
    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        return {"fragment_template": request.GET["template"]}


class InTheSource(AcquireView):
    format = "html"
    fragment_template = "users.html"

    def produce(self, request: HttpRequest) -> Iterator[Any]:
        return iter([{"users": User.objects.all()}])


urlpatterns: list[Any] = [
    path("users/", Users.as_view()),
    path("other/", OthersTemplate.as_view()),
    path("sync/", InTheSource.as_view()),
    path("streams/", include("resumable_streams.urls")),
]
pytestmark = [
    pytest.mark.urls(__name__),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("closes_runtime"),
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, settings: Settings, key_prefix: str) -> None:
    """Provide two templates, and a store."""
    (tmp_path / "users.html").write_text(LIST)
    (tmp_path / "other.html").write_text("<p>{{ users|length }}</p>")
    backend = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": backend, "DIRS": [tmp_path]}]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix}}


async def asked(client: AsyncClient, address: str, **headers: str) -> tuple[Any, bytes]:
    post = client.get if address.startswith("/streams") else client.post
    response: Any = await post(address, headers=headers)
    return response, b"".join([data async for data in response])


async def users() -> None:
    for name in ("ada", "<bob>"):
        await User.objects.acreate(username=name)


@pytest.mark.parametrize("address", ["/users/", "/sync/"])
async def test_a_template_may_query_the_database(address: str):
    await users()
    response, body = await asked(AsyncClient(), address)
    assert response["Content-Type"] == "text/event-stream"
    rendered = b"event: fragment\ndata: <li>ada</li><li>&lt;bob&gt;</li>\n\n"
    assert rendered in without_ids(body)
    assert events(body)[-1].type == "done"


async def test_a_stream_that_rests_after_a_template_holds_no_connection(opened: Any):
    async def source() -> AsyncIterator[Any]:
        yield {"users": User.objects.order_by("pk")}
        await asyncio.Event().wait()

    await users()
    opened.clear()  # what the test itself opened is its own
    attrs = {"format": "html", "fragment_template": "users.html"}
    reader = await streams.arun("s", source, owner="me", attrs=attrs)
    assert b"<li>ada</li>" in await read_until(reader, 1)
    await at_rest(opened)
    assert opened
    await streams.acancel("s", owner="me")
    reader.close()


async def test_fragments_are_resumed_by_their_ids_and_an_empty_one_is_none():
    client = AsyncClient()
    response, body = await asked(client, "/users/")
    found = events(body)
    assert [one.data for one in found] == ["&lt;b&gt; &amp; ", ".", '{"status":"done"}']
    address = f"/streams/{response['X-Resumable-Stream-Id']}/"
    _, rest = await asked(client, address, **{"last-event-id": found[0].last_event_id})
    assert events(rest) == found[1:]
    over = await client.get(address, headers={"last-event-id": found[-1].last_event_id})
    assert over.status_code == 204


async def test_a_request_may_choose_another_template():
    await users()
    _, body = await asked(AsyncClient(), "/other/?template=other.html")
    assert [one.data for one in events(body)[1:3]] == ["<p>2</p>", "<p>0</p>"]


async def test_a_template_that_is_missing_fails_the_stream(caplog: pytest.LogCaptureFixture):
    _, body = await asked(AsyncClient(), "/other/?template=no.html")
    assert [one.type for one in events(body)] == ["fragment", "error"]
    assert "TemplateDoesNotExist: no.html" in caplog.text
