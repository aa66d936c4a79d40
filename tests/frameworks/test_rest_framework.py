"""Django REST framework: what it does around a stream, and what it would have done to it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from adrf.views import APIView as AsyncAPIView
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection, connections
from django.test import AsyncClient, Client
from django.urls import include, path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.authentication import (
    BaseAuthentication,
    BasicAuthentication,
    SessionAuthentication,
    TokenAuthentication,
)
from rest_framework.authtoken.models import Token
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.throttling import UserRateThrottle

from resumable_streams import urls
from resumable_streams.conf import USER_OWNERS
from resumable_streams.contrib.rest_framework import (
    AcquireAPIMixin,
    AcquireAPIView,
    authenticated_owner,
    stream_urls,
)
from resumable_streams.exceptions import StreamLimitExceeded
from resumable_streams.views import AcquireView
from tests.tools.sources import Tap

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

ID = "X-Resumable-Stream-Id"


class Cookie(BaseAuthentication):
    """A token in a cookie, as some packages have it."""

    def authenticate(self, request: Any) -> tuple[User, str] | None:
        name = request.COOKIES.get("jwt")
        return None if name is None else (User.objects.get(username=name), name)


class TwoAMinute(UserRateThrottle):
    rate = "2/min"


class NotOnSundays(BasePermission):
    message = "not on Sundays"

    def has_permission(self, request: Any, view: Any) -> bool:
        return "sunday" not in request.query_params


class Question(serializers.Serializer[Any]):
    question = serializers.CharField()


class Echo:
    """What the views of both kinds do."""

    authentication_classes: Any = [
        TokenAuthentication,
        SessionAuthentication,
        BasicAuthentication,
        Cookie,
    ]
    permission_classes: Any = [IsAuthenticated, NotOnSundays]
    throttle_classes: Any = [TwoAMinute]
    parser_classes: Any = [JSONParser, MultiPartParser]
    renderer_classes: Any = [JSONRenderer, BrowsableAPIRenderer]
    serializer_class: Any = Question
    format = "sse"

    async def produce(self, request: Any) -> AsyncIterator[str]:
        yield request.data["question"]
        for upload in request.FILES.values():
            yield str(len(await sync_to_async(upload.read)()))


class Rest(Echo, AcquireAPIView):
    """Answer a question."""


class AsyncRest(Echo, AcquireAPIMixin, AsyncAPIView):
    """Answer a question, later."""


class Refusing(Rest):
    throttle_classes = []

    def refuse(self, request: Any) -> None:
        assert User.objects.filter(pk=request.user.pk).exists()  # sync code, in its thread
        raise StreamLimitExceeded("questions", 1, retry_after=7)


tap = Tap()


class Long(AcquireAPIView):
    authentication_classes = [TokenAuthentication]

    def produce(self, request: Any) -> AsyncIterator[bytes]:
        return tap()


class Plain(AcquireView):
    async def produce(self, request: Any) -> AsyncIterator[bytes]:
        yield b"x"


BEHIND: dict[str, Any] = {
    "authentication_classes": Echo.authentication_classes,
    "permission_classes": [IsAuthenticated],
}
urlpatterns = [
    path("rest/", Rest.as_view()),
    path("async/", AsyncRest.as_view()),
    path("refusing/", Refusing.as_view()),
    path("long/", Long.as_view()),
    path("plain/", Plain.as_view(using="plain")),
    path("streams/", include(stream_urls(**BEHIND))),
    path("plain-streams/", include(urls.stream_urls("plain"), "plain")),
]

BOTH = pytest.mark.parametrize("at", ["/rest/", "/async/"])


@pytest.fixture
def site(settings: Any, key_prefix: str, closes_runtime: None) -> None:
    owner = "resumable_streams.contrib.rest_framework.authenticated_owner"
    settings.RESUMABLE_STREAMS = {
        "default": {"LOCATION": key_prefix},
        "plain": {"LOCATION": key_prefix, "KEY_PREFIX": "plain", "OWNER": owner},
    }
    classes = ("TokenAuthentication", "SessionAuthentication")
    settings.REST_FRAMEWORK = {
        "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
        "DEFAULT_AUTHENTICATION_CLASSES": [
            f"rest_framework.authentication.{one}" for one in classes
        ],
    }
    cache.clear()


class TokenClient(AsyncClient):
    """A client that shows the same header with each request, and proves nothing."""

    def __init__(self, authorization: str) -> None:
        super().__init__(enforce_csrf_checks=True)
        self.shown = {"authorization": authorization}

    def generic(self, *args: Any, headers: Any = None, **named: Any) -> Any:
        return super().generic(*args, headers={**self.shown, **(headers or {})}, **named)


@pytest.fixture
async def ada(site: None) -> AsyncClient:
    user = await User.objects.acreate_user("ada", password="ada")
    token = await Token.objects.acreate(user=user)
    return TokenClient(f"Token {token.key}")


@pytest.fixture
def ada_by_wsgi(site: None) -> Client:
    token = Token.objects.create(user=User.objects.create_user("ada"))
    return Client(enforce_csrf_checks=True, headers={"authorization": f"Token {token.key}"})


def ask(client: AsyncClient, at: str, **headers: str) -> Any:
    body = json.dumps({"question": "why?"})
    return client.post(at, body, content_type="application/json", headers=headers)


async def body(response: Any) -> bytes:
    return b"".join([data async for data in response])


@BOTH
@pytest.mark.parametrize("accept", ["text/event-stream", "*/*", "application/json", "image/png"])
async def test_a_stream_is_sent_whatever_is_accepted(ada: AsyncClient, at: str, accept: str):
    response = await ask(ada, at, accept=accept)
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/event-stream")
    assert b"data: why?" in await body(response)
    address = f"/streams/{response[ID]}/"
    assert response["Location"] == address
    again: Any = await ada.get(address, headers={"accept": accept})
    assert b"data: why?" in await body(again)


@BOTH
async def test_errors_are_json_for_those_who_accept_events_alone(ada: AsyncClient, at: str):
    events = {"accept": "text/event-stream"}
    missing: Any = await ada.get("/streams/missing/", headers=events)
    assert (missing.status_code, missing.json()) == (404, {"error": "stream_not_found"})
    nobody: Any = await AsyncClient().post(at, headers=events)
    assert nobody.status_code == 401
    assert nobody["Content-Type"] == "application/json"
    assert nobody["WWW-Authenticate"] == "Token"
    method: Any = await ada.patch(at, headers=events)
    assert (method.status_code, method["Content-Type"]) == (405, "application/json")


@BOTH
async def test_permissions_come_first(ada: AsyncClient, at: str):
    refused = await ask(ada, f"{at}?sunday", accept="text/event-stream")
    assert (refused.status_code, refused.json()) == (403, {"detail": "not on Sundays"})


@BOTH
async def test_throttles_come_first(ada: AsyncClient, at: str):
    for _ in range(2):
        assert await body(await ask(ada, at))
    refused = await ask(ada, at, accept="text/event-stream")
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0


@BOTH
async def test_what_cannot_be_parsed_is_refused_before_anything_is_produced(
    ada: AsyncClient, at: str
):
    response: Any = await ada.post(at, "{", content_type="application/json")
    assert response.status_code == 400
    assert "JSON parse error" in response.json()["detail"]
    assert ID not in response


@BOTH
async def test_files_are_there_for_as_long_as_it_produces(ada: AsyncClient, at: str):
    boundary, text = "limit", "x" * 3_000_000  # more than is kept in memory
    form = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="question"\r\n\r\nwhy?\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        f"{text}\r\n--{boundary}--\r\n"
    )
    kind = f"multipart/form-data; boundary={boundary}"
    response: Any = await ada.generic("POST", at, form, content_type=kind)
    assert b"data: 3000000" in await body(response)


async def test_what_a_hook_refuses_is_an_answer(ada: AsyncClient):
    response = await ask(ada, "/refusing/")
    assert (response.status_code, response["Retry-After"]) == (429, "7")


@BOTH
async def test_whoever_comes_by_a_cookie_proves_that_it_is_no_forgery(
    ada: AsyncClient, at: str, settings: Any
):
    strict = AsyncClient(enforce_csrf_checks=True)
    strict.cookies["jwt"] = "ada"
    refused = await ask(strict, at)
    assert refused.status_code == 403
    assert "CSRF Failed" in refused.json()["detail"]
    strict.cookies["csrftoken"] = proof = "a" * 32
    assert (await ask(strict, at, **{"x-csrftoken": proof})).status_code == 200


async def test_what_a_browser_sends_by_itself_is_no_proof(ada: AsyncClient):
    strict = AsyncClient(enforce_csrf_checks=True)
    basic = {"authorization": "Basic YWRhOmFkYQ=="}
    assert (await ask(strict, "/rest/", **basic)).status_code == 403
    response = await ask(ada, "/rest/")
    await body(response)
    address = f"/streams/{response[ID]}/"
    assert (await strict.get(address, headers=basic)).status_code == 200
    assert (await strict.delete(address, headers=basic)).status_code == 403
    assert (await ada.delete(address)).status_code == 204


async def test_no_connection_is_held_while_a_stream_is_live(ada: AsyncClient):
    await Token.objects.acount()  # what middleware or a permission would do
    assert await sync_to_async(lambda: connection.connection)() is not None
    tap.give(b"first")
    response = await ask(ada, "/long/")
    parts = aiter(response)
    while not await anext(parts):
        pass
    assert await sync_to_async(lambda: connection.connection)() is None
    tap.end(b"last")
    assert await anext(parts) == b"last"


def test_a_stream_is_sent_under_wsgi(ada_by_wsgi: Client):
    body = '{"question": "why?"}'
    response: Any = ada_by_wsgi.post("/rest/", body, content_type="application/json")
    assert b"data: why?" in b"".join(response)
    again: Any = ada_by_wsgi.get(response["Location"])
    assert b"data: why?" in b"".join(again)
    assert ada_by_wsgi.delete(response["Location"]).status_code == 204


@BOTH
async def test_requests_that_are_atomic_leave_streams_out(
    ada: AsyncClient, at: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert b"data: why?" in await body(await ask(ada, at))


# --- Addresses that are not of REST framework


async def test_plain_addresses_know_the_users_of_tokens(ada: AsyncClient):
    response: Any = await ada.post("/plain/")
    assert await body(response) == b"x"
    address = response["Location"]
    assert address.startswith("/plain-streams/")
    assert (await AsyncClient().get(address)).status_code == 404
    assert (await ada.post(f"{address}cancel/")).status_code == 202
    assert (await ada.delete(address)).status_code == 204


def test_the_owner_is_known_to_the_settings_as_one_of_ours():
    assert USER_OWNERS[1] == f"{authenticated_owner.__module__}.{authenticated_owner.__name__}"


@pytest.mark.parametrize("header", ["Token unknown", "Token a b", "Bearer whatever"])
async def test_a_token_that_rest_framework_refuses_is_nobody(site: None, header: str):
    response: Any = await TokenClient(header).post("/plain/")
    assert (response.status_code, response.json()) == (401, {"error": "no_owner"})


async def test_a_session_behind_a_proxy_that_adds_a_token_needs_the_proof(site: None):
    client = TokenClient("Bearer of-the-proxy")
    await client.aforce_login(await User.objects.acreate_user("eve"))
    assert (await client.post("/plain/")).status_code == 403
    client.cookies["csrftoken"] = proof = "a" * 32
    response: Any = await client.post("/plain/", headers={"x-csrftoken": proof})
    assert await body(response) == b"x"


async def test_a_session_and_a_visitor_are_known_at_plain_addresses_as_ever(site: None):
    visitor = AsyncClient()
    address = (await visitor.post("/plain/"))["Location"]
    assert (await visitor.get(address)).status_code == 200
    await visitor.aforce_login(await User.objects.acreate_user("eve"))
    address = (await visitor.post("/plain/"))["Location"]
    assert (await visitor.get(address)).status_code == 200
    assert (await AsyncClient().get(address)).status_code == 404


async def test_a_session_beside_a_token_needs_no_proof(ada: AsyncClient):
    """As the token says who asks, whatever the cookie says."""
    await ada.aforce_login(await User.objects.acreate_user("eve"))
    address = (await ada.post("/plain/"))["Location"]
    del ada.cookies["sessionid"]
    assert (await ada.delete(address)).status_code == 204


# --- The schema


def test_the_schema_shows_streams(site: None, monkeypatch: pytest.MonkeyPatch):
    for pattern in (*urlpatterns, *stream_urls()[0]):
        view = getattr(getattr(pattern, "callback", None), "cls", None)
        if view is not None:
            monkeypatch.setattr(view, "schema", AutoSchema())
    schema = SchemaGenerator(patterns=[*urlpatterns[:3], *stream_urls()[0]]).get_schema(
        request=None, public=True
    )
    start = schema["paths"]["/rest/"]["post"]
    assert start["description"] == "Answer a question."
    assert list(start["responses"]["200"]["content"]) == ["text/event-stream"]
    assert start["requestBody"]["required"]
    assert schema["paths"]["/async/"]["post"]["description"] == "Answer a question, later."
    resume = schema["paths"]["/{stream_id}/"]["get"]
    names = {parameter["name"] for parameter in resume["parameters"]}
    assert names == {"stream_id", "offset", "epoch", "Last-Event-ID"}
    assert set(resume["responses"]) == {"200", "404"}
    assert set(schema["paths"]["/{stream_id}/"]["delete"]["responses"]) == {"204", "404"}
    assert set(schema["paths"]["/{stream_id}/cancel/"]["post"]["responses"]) == {"202", "404"}
    state = schema["components"]["schemas"]["StreamState"]["properties"]
    assert set(state) == {"id", "status", "size", "created", "expires", "error", "detail"}
