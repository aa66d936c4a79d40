"""What of mine is running, over HTTP: the slot of a view, and the list of one's own streams."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import AsyncClient
from django.urls import include, path
from pytest_django import Settings

from resumable_streams import PUBLIC
from resumable_streams.signals import stream_refused
from resumable_streams.types import RefusalReason
from resumable_streams.urls import stream_urls
from resumable_streams.views import AcquireView, stream_response

ID = "X-Resumable-Stream-Id"


async def endless() -> AsyncIterator[bytes]:
    yield b"a"
    await asyncio.Event().wait()


class Chat(AcquireView):
    async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        async for data in endless():
            yield data

    def get_slot(self, request: HttpRequest) -> str | None:
        return request.GET.get("slot")


class Refusing(AcquireView):
    on_busy = "refuse"

    async def produce(self, request: HttpRequest) -> Any:
        return endless()

    async def get_slot(self, request: HttpRequest) -> str | None:
        return request.GET.get("slot")


class Replacing(Chat):
    on_busy = "replace"


class Short(AcquireView):
    async def produce(self, request: HttpRequest) -> Any:
        return [b"all"]


async def plain(request: HttpRequest) -> HttpResponseBase:
    return await stream_response(request, endless, slot="chat:42", on_busy="refuse")


urlpatterns = [
    path("chat/", Chat.as_view()),
    path("refusing/", Refusing.as_view()),
    path("replacing/", Replacing.as_view()),
    path("short/", Short.as_view()),
    path("plain/", plain),
    path("streams/", include("resumable_streams.urls")),
    path("public/", include(stream_urls("public"), "public")),
]

pytestmark = pytest.mark.urls(__name__)


def owner_in_header(request: Any, *, acquire: bool = False) -> Any:
    return request.headers.get("X-Who")


def nobody_in_particular(request: Any, *, acquire: bool = False) -> Any:
    return PUBLIC


@pytest.fixture(autouse=True)
def streams_of_the_test(settings: Settings, key_prefix: str, closes_runtime: None) -> None:
    entry = {"LOCATION": key_prefix, "DRAIN_TIMEOUT": 0}
    settings.RESUMABLE_STREAMS = {
        "default": {**entry, "OWNER": f"{__name__}.owner_in_header"},
        "public": {**entry, "OWNER": f"{__name__}.nobody_in_particular"},
    }


class Person(AsyncClient):
    """A client whose requests are in the name of somebody."""

    def __init__(self, who: str):
        super().__init__()
        self.who = who

    async def request(self, **request: Any) -> Any:
        request["headers"] = [*request["headers"], (b"x-who", self.who.encode())]
        return await super().request(**request)


def as_(who: str) -> Person:
    return Person(who)


async def post(client: AsyncClient, at: str) -> Any:
    response: Any = await client.post(at)
    if response.streaming:
        async for _ in response:
            break
        response.close()
    return response


async def post_and_read(client: AsyncClient, at: str) -> Any:
    """Return a response whose stream has ended."""
    response: Any = await client.post(at)
    async for _ in response:
        pass
    return response


async def listed(client: AsyncClient, query: str = "") -> dict[str, Any]:
    response = await client.get(f"/streams/{query}")
    assert response.status_code == 200
    assert response["Cache-Control"] == "private, no-store, no-transform"
    answer: dict[str, Any] = response.json()
    return answer


async def test_a_second_request_for_the_slot_joins() -> None:
    ada = as_("ada")
    first = await post(ada, "/chat/?slot=chat:42")
    assert (await post(ada, "/chat/?slot=chat:42"))[ID] == first[ID]
    assert (await post(ada, "/chat/?slot=chat:43"))[ID] != first[ID]
    assert (await post(ada, "/chat/"))[ID] != first[ID]
    assert (await post(as_("eve"), "/chat/?slot=chat:42"))[ID] != first[ID]


@pytest.mark.parametrize("at", ["/refusing/?slot=chat:42", "/plain/"])
async def test_a_busy_slot_is_409_and_names_the_stream(
    at: str, hear: Callable[..., list[dict[str, Any]]]
) -> None:
    ada, told = as_("ada"), hear(stream_refused)
    first = await post(ada, at)
    assert first.status_code == 200
    second = await post(ada, at)
    assert second.status_code == 409
    assert second.json() == {"error": "slot_busy"}
    assert second[ID] == first[ID]
    (one,) = told
    assert (one["reason"], one["status"]) == (RefusalReason.SLOT_BUSY, 409)


async def test_a_replaced_stream_says_so() -> None:
    ada = as_("ada")
    first = await post(ada, "/replacing/?slot=chat:42")
    second = await post(ada, "/replacing/?slot=chat:42")
    assert second[ID] != first[ID]
    state = (await ada.get(f"/streams/{first[ID]}/status/")).json()
    assert (state["status"], state["error"], state["slot"]) == ("cancelled", "replaced", "chat:42")


async def test_an_impossible_slot_is_a_400() -> None:
    response = await post(as_("ada"), f"/chat/?slot={'x' * 257}")
    assert response.status_code == 400
    assert response.json() == {"error": "invalid_slot"}


async def test_the_list_has_ones_own_streams_in_pages() -> None:
    ada = as_("ada")
    running = [(await post(ada, f"/chat/?slot={number}"))[ID] for number in range(3)]
    ended = (await post_and_read(ada, "/short/"))[ID]
    await post(as_("eve"), "/chat/")
    answer = await listed(ada, "?status=streaming")
    assert {one["id"] for one in answer["streams"]} == set(running)
    assert {one["slot"] for one in answer["streams"]} == {"0", "1", "2"}
    assert {one["status"] for one in answer["streams"]} == {"streaming"}
    assert answer["next"] is None
    assert {one["id"] for one in (await listed(ada))["streams"]} == {*running, ended}
    found, cursor = [], ""
    while cursor is not None:
        answer = await listed(ada, f"?status=streaming&limit=2&cursor={cursor}")
        assert len(answer["streams"]) <= 2
        found += [one["id"] for one in answer["streams"]]
        cursor = answer["next"]
    assert sorted(found) == sorted(running)


async def test_the_list_is_for_somebody(client: Any) -> None:
    for at in ("/streams/", "/public/"):  # what belongs to nobody is read by its id alone
        response = await AsyncClient().get(at)
        assert response.status_code == 401
        assert response.json() == {"error": "no_owner"}


@pytest.mark.parametrize(
    "query", ["?status=running", "?limit=0", "?limit=1001", "?limit=x", "?cursor=x", "?limit=-1"]
)
async def test_a_list_that_cannot_be_is_a_400(query: str) -> None:
    response = await as_("ada").get(f"/streams/{query}")
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_page"
    assert response.json()["detail"].endswith(".")
