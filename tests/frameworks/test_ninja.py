"""Django Ninja: its authenticators, throttles and schema around a stream."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import AsyncClient
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError
from ninja.security import APIKeyCookie, APIKeyHeader, HttpBearer, django_auth
from ninja.throttling import AuthRateThrottle

from resumable_streams import urls
from resumable_streams.contrib.ninja import authenticated_owner, stream_response, stream_router
from resumable_streams.views import AcquireView

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

ID = "X-Resumable-Stream-Id"
ADA = {"authorization": "Bearer ada"}


class Bearer(HttpBearer):
    async def authenticate(self, request: Any, token: str) -> User | None:
        if token == "teapot":
            raise HttpError(418, "I am one.")
        return await User.objects.filter(username=token).afirst()


class Setting(HttpBearer):
    """One that returns the token, and sets the user."""

    def authenticate(self, request: Any, token: str) -> str:
        request.user = User.objects.get(username=token)
        return token


class Key(APIKeyHeader):
    param_name = "X-Key"

    def authenticate(self, request: Any, key: str | None) -> str | None:
        return key


class Cookie(APIKeyCookie):
    param_name = "jwt"

    def authenticate(self, request: Any, key: str | None) -> User | None:
        return User.objects.filter(username=key).first()


class Unchecked(Cookie):
    """A cookie whose authenticator does not ask for the CSRF token."""

    def __init__(self) -> None:
        super().__init__(csrf=False)


class Question(Schema):
    question: str


api = NinjaAPI(urls_namespace="tests", auth=[Bearer(), django_auth])
owner = authenticated_owner(Bearer(), Cookie(), django_auth)


async def words(question: str) -> AsyncIterator[str]:
    yield question


@api.post("/answer/")
async def answer(request: Any, question: Question) -> Any:
    return await stream_response(request, words(question.question), format="sse")


@api.post("/setting/", auth=Setting())
async def setting(request: Any) -> Any:
    return await stream_response(request, words("x"))


@api.post("/key/", auth=Key())
async def key(request: Any) -> Any:
    return await stream_response(request, words("x"))


@api.post("/open/", auth=None)
async def opened_to_all(request: Any) -> Any:
    return await stream_response(request, words("x"))


@api.post("/unchecked/", auth=Unchecked())
async def unchecked(request: Any) -> Any:
    return await stream_response(request, words("x"))


api.add_router("/streams/", stream_router())
api.add_router("/cookie-streams/", stream_router("plain", auth=Unchecked()))
api.add_router("/throttled/", stream_router("plain", throttle=[AuthRateThrottle("2/m")]))


class Plain(AcquireView):
    async def produce(self, request: Any) -> AsyncIterator[bytes]:
        yield b"x"


urlpatterns = [
    path("api/", api.urls),
    path("plain/", Plain.as_view(using="plain")),
    path("exempt/", csrf_exempt(Plain.as_view(using="plain"))),
    path("plain-streams/", include(urls.stream_urls("plain"), "plain")),
]


@pytest.fixture
async def client(settings: Any, key_prefix: str, closes_runtime: None) -> AsyncClient:
    settings.RESUMABLE_STREAMS = {
        "default": {"LOCATION": key_prefix},
        "plain": {"LOCATION": key_prefix, "KEY_PREFIX": "plain", "OWNER": f"{__name__}.owner"},
    }
    cache.clear()
    await User.objects.acreate_user("ada")
    await User.objects.acreate_user("bob")
    return AsyncClient(enforce_csrf_checks=True)


async def body(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join([data async for data in response])


def ask(client: AsyncClient, **headers: str) -> Any:
    text = '{"question": "why?"}'
    return client.post("/api/answer/", text, content_type="application/json", headers=headers)


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json", "*/*"])
async def test_streams_and_errors_are_what_they_are_for_all_who_accept_anything(
    client: AsyncClient, accept: str
):
    headers = {**ADA, "accept": accept}
    response = await ask(client, **headers)
    assert b"data: why?" in await body(response)
    address = response["Location"]
    assert address == f"/api/streams/{response[ID]}/"
    assert b"data: why?" in await body(await client.get(address, headers=headers))
    assert (await client.head(address, headers=headers))["X-Resumable-Stream-Status"] == "done"
    missing: Any = await client.get("/api/streams/missing/", headers=headers)
    assert (missing.status_code, missing.json()) == (404, {"error": "stream_not_found"})
    nobody: Any = await client.get(address, headers={"accept": accept})
    assert (nobody.status_code, nobody["Content-Type"].split(";")[0]) == (401, "application/json")


async def test_a_user_whom_an_authenticator_sets_counts(client: AsyncClient):
    response: Any = await client.post("/api/setting/", headers=ADA)
    assert await body(response) == b"x"
    address = f"/api/streams/{response[ID]}/"
    assert await body(await client.get(address, headers=ADA)) == b"x"
    bob = {"authorization": "Bearer bob"}
    assert (await client.get(address, headers=bob)).status_code == 404


async def test_a_key_that_is_nobodys_makes_no_visitor(client: AsyncClient):
    response: Any = await client.post("/api/key/", headers={"x-key": "k"})
    assert (response.status_code, response.json()) == (401, {"error": "no_owner"})
    assert not client.cookies


async def test_throttles_come_first(client: AsyncClient):
    address = "/api/throttled/missing/"
    for _ in range(2):
        assert (await client.get(address, headers=ADA)).status_code == 404
    assert (await client.get(address, headers=ADA)).status_code == 429


async def test_a_cookie_needs_the_csrf_token_whatever_its_authenticator_says(client: AsyncClient):
    response: Any = await client.post("/plain/", headers=ADA)
    assert await body(response) == b"x"
    address = f"/api/cookie-streams/{response[ID]}/"
    client.cookies["jwt"] = "ada"
    assert (await client.get(address)).status_code == 200
    assert (await client.post(f"{address}cancel/")).status_code == 403
    assert (await client.delete(address)).status_code == 403
    client.cookies["csrftoken"] = proof = "a" * 32
    assert (await client.delete(address, headers={"x-csrftoken": proof})).status_code == 204


# --- Addresses that are not of ninja


async def test_plain_addresses_know_the_users_of_tokens(client: AsyncClient):
    response: Any = await client.post("/plain/", headers=ADA)
    assert await body(response) == b"x"
    address = response["Location"]
    assert (await client.get(address, headers={"authorization": "Bearer bob"})).status_code == 404
    assert (await client.delete(address, headers=ADA)).status_code == 204


async def test_plain_addresses_know_whom_a_cookie_stands_for(client: AsyncClient):
    client.cookies["jwt"] = "ada"
    assert (await client.post("/plain/")).status_code == 403
    client.cookies["csrftoken"] = proof = "a" * 32
    response: Any = await client.post("/plain/", headers={"x-csrftoken": proof})
    assert (await client.get(response["Location"], headers=ADA)).status_code == 200


async def test_a_token_that_nobody_knows_is_nobody(client: AsyncClient):
    response: Any = await client.post("/plain/", headers={"authorization": "Bearer unknown"})
    assert (response.status_code, response.json()) == (401, {"error": "no_owner"})


async def test_an_exempt_view_takes_no_word_of_a_cookie_that_its_authenticator_refuses(
    client: AsyncClient,
):
    client.cookies["jwt"] = "ada"
    assert (await client.post("/exempt/")).status_code == 403


async def test_a_visitor_is_one_at_plain_addresses(client: AsyncClient):
    client.cookies["csrftoken"] = proof = "a" * 32
    response: Any = await client.post("/plain/", headers={"x-csrftoken": proof})
    assert (await client.get(response["Location"])).status_code == 200


async def test_what_an_authenticator_raises_is_raised(client: AsyncClient):
    with pytest.raises(HttpError, match="I am one"):
        await client.post("/plain/", headers={"authorization": "Bearer teapot"})


# --- The schema


def test_the_schema_shows_streams():
    schema: Any = api.get_openapi_schema()
    stream = schema["paths"]["/api/streams/{stream_id}/"]
    assert set(stream) == {"get", "head", "delete"}
    assert "text/event-stream" in stream["get"]["responses"][200]["content"]
    names = [parameter["name"] for parameter in stream["get"]["parameters"]]
    assert sorted(names) == ["epoch", "offset", "stream_id"]
    state = schema["paths"]["/api/streams/{stream_id}/status/"]["get"]["responses"][200]
    assert state["content"]["application/json"]["schema"]["$ref"].endswith("/StreamState")
    assert set(schema["components"]["schemas"]["StreamState"]["properties"]) == {
        "id", "status", "size", "created", "expires", "error", "slot", "detail",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/api/open/", "/api/unchecked/"])
async def test_no_page_of_another_site_starts_a_stream(client: AsyncClient, path: str):
    await client.aforce_login(await User.objects.aget(username="ada"))
    client.cookies["jwt"] = "ada"
    forged = await client.post(path)
    assert (forged.status_code, ID in forged) == (403, False)
    token = client.cookies["csrftoken"] = "t" * 32
    assert await body(await client.post(path, headers={"x-csrftoken": str(token)})) == b"x"


async def test_a_stream_of_a_client_with_a_token_starts_without_that_of_csrf(client: AsyncClient):
    assert await body(await client.post("/api/setting/", headers=ADA)) == b"x"
