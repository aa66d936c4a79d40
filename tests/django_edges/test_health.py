"""The health views: cheap, for strangers, and without a word too many."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncClient, Client
from django.urls import include, path, reverse
from pytest_django import Settings

from resumable_streams import streams
from resumable_streams.health import ReadinessView
from resumable_streams.operating import readiness
from resumable_streams.process.runtime import runtime
from tests.proxy import Proxy, proxy_to
from tests.tools.readers import read_all
from tests.tools.streams import REDIS, Configure
from tests.tools.waiting import within

NOWHERE = "redis://127.0.0.1:1/0"

urlpatterns = [
    path("health/", include("resumable_streams.health_urls")),
    path("ready/drafts/", ReadinessView.as_view(aliases=["drafts"])),
]

pytestmark = pytest.mark.urls(__name__)

LIVE, READY = "/health/live/", "/health/ready/"


def sync_only(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Make a middleware as they were before Django 3."""
    return lambda request: get_response(request)


async def statuses(client: AsyncClient) -> tuple[int, int]:
    live, ready = [await client.get(address) for address in (LIVE, READY)]
    return live.status_code, ready.status_code


def test_they_are_reversed_by_a_namespace_of_their_own() -> None:
    names = [reverse(f"resumable_streams_health:{name}") for name in ("live", "ready")]
    assert names == [LIVE, READY]


@pytest.mark.parametrize("address", [LIVE, READY])
async def test_a_healthy_process_answers_get_and_head_and_nothing_else(
    configure: Configure, async_client: AsyncClient, address: str
) -> None:
    for answer in (await async_client.get(address), await async_client.head(address)):
        assert answer.status_code == 200
        assert answer["Cache-Control"] == "no-store"
        assert not answer.has_header("Vary")
        assert not answer.cookies
    assert (await async_client.post(address)).status_code == 405


@pytest.mark.parametrize("address", [LIVE, READY])
def test_sync_middleware_wsgi_and_a_login_for_all_other_pages_are_no_obstacle(
    settings: Settings, configure_memory: Configure, client: Client, address: str
) -> None:
    """The database is barred here, so neither a session nor a user is asked for."""
    client.cookies["sessionid"] = "of-somebody"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.sync_only"]
    assert client.get(address).status_code == 200
    # With a cookie, the next middleware would look the user up for any view.
    login = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, login]
    assert Client().get(address).status_code == 200


async def test_a_draining_process_lives_and_is_not_ready(
    configure_memory: Configure, async_client: AsyncClient
) -> None:
    await read_all(await streams.arun("s", [b"x"], owner="ada"))
    assert await statuses(async_client) == (200, 200)
    await runtime.call(runtime.drain)
    assert await statuses(async_client) == (200, 503)


async def test_without_its_store_a_process_lives_and_strangers_learn_no_cause(
    settings: Settings, async_client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    away = {"BACKEND": REDIS, "LOCATION": NOWHERE}
    settings.RESUMABLE_STREAMS = {"default": {}, "drafts": away}
    with caplog.at_level(logging.WARNING, "resumable_streams"):
        assert await statuses(async_client) == (200, 503)
        assert await statuses(async_client) == (200, 503)
    (line,) = [one.getMessage() for one in caplog.records if one.name == "resumable_streams.store"]
    assert "'drafts'" in line
    assert "127.0.0.1:1" in line
    answer = await async_client.get(READY)
    assert answer.content == b"unavailable\n"
    assert (await async_client.get("/ready/drafts/")).status_code == 503


async def test_a_store_that_is_back_makes_the_process_ready(
    settings: Settings, redis_url: str, key_prefix: str, async_client: AsyncClient
) -> None:
    async with proxy_to(int(redis_url.rpartition(":")[2].partition("/")[0])) as proxy:
        settings.RESUMABLE_STREAMS = {"default": entry(proxy, key_prefix)}
        assert await statuses(async_client) == (200, 200)
        proxy.refused = b"HMGET"
        assert await statuses(async_client) == (200, 503)
        proxy.refused = b""
        assert await statuses(async_client) == (200, 200)


async def test_wrong_settings_are_no_reason_to_crash(
    settings: Settings, async_client: AsyncClient
) -> None:
    settings.RESUMABLE_STREAMS = {"default": {}}
    assert (await async_client.get("/ready/drafts/")).status_code == 503


@pytest.fixture
async def silent(redis_url: str) -> AsyncIterator[Proxy]:
    """Open a port that takes what is sent and never answers."""
    async with proxy_to(int(redis_url.rpartition(":")[2].partition("/")[0])) as proxy:
        proxy.open_hole()
        yield proxy


def entry(proxy: Proxy, key_prefix: str) -> dict[str, Any]:
    return {"BACKEND": REDIS, "LOCATION": proxy.location, "KEY_PREFIX": key_prefix}


async def test_many_who_ask_a_silent_store_cost_one_connection_and_wait_no_longer_than_one(
    settings: Settings,
    silent: Proxy,
    key_prefix: str,
    async_client: AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(readiness, "ANSWER_SECONDS", 2.0)  # by when all of them have asked
    settings.RESUMABLE_STREAMS = {"default": entry(silent, key_prefix)}
    asked = [async_client.get(READY) for _ in range(50)]
    async with within(5):
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {503}
    assert "no answer in 2 seconds" in caplog.text
    assert silent.connections == 1
