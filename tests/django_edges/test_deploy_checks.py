"""The checks for the traps of production: one test an id, with settings that are right, too."""

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import CheckMessage, Warning, run_checks  # noqa: A004
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import include, path
from pytest_django import Settings

from resumable_streams import checks
from resumable_streams.conf import AliasSettings
from resumable_streams.sse import event
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.views import AcquireView
from tests.tools.streams import MEMORY, REDIS

NOWHERE = "redis://127.0.0.1:1/0"

Ids = Callable[..., list[str]]


@pytest.fixture
def ids(settings: Settings) -> Ids:
    """Return a function from aliases to the ids of what the checks find, the deployment's or not.

    The pointer to the doctor is left out, as it is there for every server.
    """
    settings.DEBUG = True
    others = [
        check
        for check in (*checks.CHECKS, *checks.DEPLOYMENT_CHECKS)
        if check not in (checks.check_deployed_stores, checks.check_doctor)
    ]

    def found(*only: Callable[..., Any], **aliases: dict[str, Any]) -> list[str]:
        settings.RESUMABLE_STREAMS = aliases
        messages = [message for check in only or others for message in check(None)]
        assert all(message.hint for message in messages)
        return sorted(str(message.id).removeprefix("resumable_streams.") for message in messages)

    return found


def redis(**entry: Any) -> dict[str, Any]:
    return {"BACKEND": REDIS, "LOCATION": NOWHERE, **entry}


def test_nothing_is_wrong_with_the_defaults_on_redis(ids: Ids):
    assert ids(default=redis()) == []


@pytest.mark.parametrize("debug", [True, False])
def test_w001_streams_in_memory_are_told_once_with_deploy(settings: Settings, debug: bool):
    settings.DEBUG = debug
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": MEMORY}}
    found = run_checks(tags=[checks.TAG], include_deployment_checks=True)
    assert [message.id for message in found].count("resumable_streams.W001") == 1


@pytest.mark.parametrize(("debug", "expected"), [(True, []), (False, ["W001"])])
def test_w001_streams_in_memory_are_for_development(
    ids: Ids, settings: Settings, debug: bool, expected: list[str]
):
    settings.DEBUG = debug
    assert ids(*checks.CHECKS, default={"BACKEND": MEMORY}) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (redis(), redis(TTL=60), ["W002"]),
        ({"BACKEND": REDIS}, {"BACKEND": REDIS}, ["W002"]),
        (redis(), redis(KEY_PREFIX="other"), []),
        (redis(), redis(LOCATION="redis://127.0.0.1:1/1"), []),
        ({"BACKEND": MEMORY}, {"BACKEND": MEMORY}, []),
        ({"LOCATION": "same"}, {"LOCATION": "same"}, ["W002"]),
    ],
)
def test_w002_two_aliases_share_their_keys(
    ids: Ids, one: dict[str, Any], other: dict[str, Any], expected: list[str]
):
    assert ids(checks.check_shared_keys, default=one, other=other) == expected


def test_w003_a_finished_stream_would_live_longer_than_a_running_one(ids: Ids):
    assert ids(default=redis(TTL=600, FINISHED_TTL=601)) == ["W003"]
    assert ids(default=redis(TTL=600, FINISHED_TTL=600)) == []


def test_w004_a_producer_waits_for_its_store_longer_than_its_lease_lasts(ids: Ids):
    assert ids(default=redis(LEASE=10, STORE_TIMEOUT=10)) == ["W004"]
    assert ids(default=redis(LEASE=10, STORE_TIMEOUT=9)) == []


def test_w005_readers_look_less_often_than_producers_die(ids: Ids):
    assert ids(default=redis(SWEEP=16)) == ["W005"]
    assert ids(default=redis(SWEEP=15)) == []


def test_w006_the_streams_of_a_visitor_outlive_its_session(ids: Ids, settings: Settings):
    settings.SESSION_COOKIE_AGE = 3_600
    assert ids(default=redis(TTL=3_601)) == ["W006"]
    assert ids(default=redis(TTL=3_600)) == []
    assert ids(default=redis(OWNER=f"{__name__}.sync_only")) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https")), ("USE_X_FORWARDED_HOST", 1)],
)
def test_w007_there_is_a_proxy_that_the_audit_log_is_not_told_of(
    ids: Ids, settings: Settings, name: str, value: object
):
    setattr(settings, name, value)
    assert ids(default=redis()) == ["W007"]
    assert ids(default=redis(TRUSTED_PROXIES=1)) == []


class StoreOfTheirs(MemoryStore):
    """A store with checks of its own."""

    def check(self, settings: AliasSettings, *, deploy: bool) -> list[CheckMessage]:
        return [Warning(self.alias, hint="-", id="W999" if deploy else "W998")]


def test_a_store_of_yours_has_checks_of_its_own(ids: Ids):
    entry = {"BACKEND": f"{__name__}.StoreOfTheirs"}
    assert ids(checks.check_stores, default=entry, other=entry) == ["W998", "W998"]
    assert ids(checks.check_deployed_stores, default=entry) == ["W999"]


@pytest.mark.parametrize("deploy", [False, True])
def test_nothing_is_connected(settings: Settings, deploy: bool):
    """Nobody is there, a name is not looked up, and the database is barred."""
    settings.RESUMABLE_STREAMS = {"default": redis(RECORDS=True, LOCATION="redis://no.invalid/0")}
    found = run_checks(tags=[checks.TAG], include_deployment_checks=deploy)
    assert [message.id for message in found] == ["resumable_streams.I001"] * deploy


async def test_nothing_is_connected_inside_a_loop(settings: Settings):
    settings.RESUMABLE_STREAMS = {"default": redis(RECORDS=True)}
    run_checks(tags=[checks.TAG], include_deployment_checks=True)


def test_i001_server_and_database_are_for_the_doctor(ids: Ids):
    assert ids(checks.check_doctor, default=redis(), chat=redis()) == ["I001"]
    assert ids(checks.check_doctor, default={"BACKEND": MEMORY}) == []


def sync_only(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Make a middleware as they were before Django 3."""
    return lambda request: get_response(request)


def test_checks_that_cannot_work_leave_it_to_the_errors(ids: Ids):
    assert ids(default={"TTL": "60", "LEASE": 1, "SWEEP": 5}) == ["E005"]


# Why there is no check for GZipMiddleware: it leaves what has a Content-Encoding alone.


class Answer(AcquireView):
    format = "sse"

    async def produce(self, request: HttpRequest) -> Any:
        return [event("ready. " * 100) for _ in range(3)]


async def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page " * 1_000)


urlpatterns = [
    path("answer/", Answer.as_view()),
    path("page/", page),
    path("streams/", include("resumable_streams.urls")),
]


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("sync_too", [False, True])
async def test_gzip_and_sync_middleware_leave_the_bytes_of_streams_alone(
    settings: Settings, key_prefix: str, sync_too: bool
):
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix}}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    extra = [f"{__name__}.sync_only"] if sync_too else []
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *extra, *settings.MIDDLEWARE]
    client, headers = AsyncClient(), {"Accept-Encoding": "gzip"}
    page = await client.get("/page/", headers=headers)
    assert b"page" in gzip.decompress(page.content)
    started: Any = await client.post("/answer/", headers=headers)
    address = f"/streams/{started['X-Resumable-Stream-Id']}/"
    resumed: Any = await client.get(address, headers=headers)
    for response in (started, resumed):
        assert response["Content-Encoding"] == "identity"
        body = b"".join([part async for part in response])
        assert body.count(b"data: ready.") == 3


def test_w014_the_default_owner_has_no_sessions(ids: Ids, settings: Settings) -> None:
    assert "W014" not in ids(default={})
    settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
    assert ids(default={}) == ["W014"]
    assert "W014" not in ids(default={"OWNER": f"{__name__}.anybody"})


def anybody(request: HttpRequest) -> str:
    return "anybody"
