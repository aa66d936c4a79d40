"""Pages of other origins, with django-cors-headers set as docs/clients.md says."""

import re
from typing import Any

import pytest
from django.test import AsyncClient

from resumable_streams.http.response import EXPOSED

from . import origins, origins_settings

pytestmark = pytest.mark.urls(origins.__name__)

ORIGIN = "https://app.example.com"
BEARER = {"authorization": "Bearer ada", "origin": ORIGIN}


@pytest.fixture
def client(settings: Any, key_prefix: str, closes_runtime: None) -> AsyncClient:
    settings.MIDDLEWARE = origins_settings.MIDDLEWARE
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    for name, value in origins_settings.documented().items():
        setattr(settings, name, value)
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix}}
    return AsyncClient(enforce_csrf_checks=True)


async def body(response: Any) -> bytes:
    return b"".join([data async for data in response])


def names_in(response: Any, header: str) -> set[str]:
    return {name.strip().lower() for name in response[header].split(",")}


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_browser_is_told_that_it_may_send_what_a_client_of_streams_sends(
    client: AsyncClient, method: str
):
    asked = "authorization, cache-control, content-type, idempotency-key, if-range, last-event-id"
    response: Any = await client.options(
        "/streams/x/",
        headers={
            "origin": ORIGIN,
            "access-control-request-method": method,
            "access-control-request-headers": asked,
        },
    )
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert method.lower() in names_in(response, "Access-Control-Allow-Methods")
    assert set(asked.split(", ")) <= names_in(response, "Access-Control-Allow-Headers")


async def test_a_script_may_read_what_it_needs_to_come_back(client: AsyncClient):
    started: Any = await client.post("/ask/", headers=BEARER)
    assert started.status_code == 200
    await body(started)
    address = started["Location"]
    for response in (started, await client.get(address, headers=BEARER)):
        assert response["Access-Control-Allow-Origin"] == ORIGIN
        assert {name.lower() for name in EXPOSED} <= names_in(
            response, "Access-Control-Expose-Headers"
        )


async def test_what_the_page_says_of_the_setting_that_replaces_ours_is_so(
    client: AsyncClient, settings: Any
):
    settings.CORS_EXPOSE_HEADERS = ["X-Mine"]
    started: Any = await client.post("/ask/", headers=BEARER)
    assert started["Access-Control-Expose-Headers"] == "X-Mine"
    await body(started)
    _, _, text = origins_settings.PAGE.partition("\n- Leave `CORS_EXPOSE_HEADERS` out")
    named = re.findall(r"`(X-Resumable[\w-]+|Location|Retry-After)`", text.partition("\n- ")[0])
    assert set(named) == {*EXPOSED, "Retry-After"}


async def test_a_script_may_read_when_to_come_back(client: AsyncClient, settings: Any):
    limits = {"MAX_STREAMS_PER_OWNER": 1}
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": "quota", "LIMITS": limits}}
    started: Any = await client.post("/endless/", headers=BEARER)
    refused: Any = await client.post("/endless/", headers=BEARER)
    assert refused.status_code == 429
    assert refused["Retry-After"]
    assert "retry-after" in names_in(refused, "Access-Control-Expose-Headers")
    await client.post(f"{started['Location']}cancel/", headers=BEARER)


async def test_another_origin_is_allowed_nothing(client: AsyncClient):
    foreign = {**BEARER, "origin": "https://foreign.example.com"}
    response: Any = await client.get("/streams/x/", headers=foreign)
    assert "Access-Control-Allow-Origin" not in response


async def test_a_session_needs_its_origin_to_be_trusted(client: AsyncClient, settings: Any):
    client.cookies["csrftoken"] = proof = "a" * 32
    headers = {"origin": ORIGIN, "x-csrftoken": proof}
    assert (await client.post("/ask/", headers=headers)).status_code == 403
    settings.CORS_ALLOW_CREDENTIALS, settings.CSRF_TRUSTED_ORIGINS = True, [ORIGIN]
    response: Any = await client.post("/ask/", headers=headers)
    assert response["Access-Control-Allow-Credentials"] == "true"
    assert await body(response)
    again: Any = await client.get(response["Location"], headers=headers)
    assert again.status_code == 200
