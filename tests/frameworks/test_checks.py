"""The checks for projects whose users come by a framework, or from another origin."""

from typing import Any

import pytest
from django.urls import include, path
from ninja import NinjaAPI
from ninja.security import HttpBearer, django_auth
from rest_framework.authentication import (
    BasicAuthentication,
    SessionAuthentication,
    TokenAuthentication,
)

from resumable_streams import urls
from resumable_streams.checks import check_exposed_headers, check_token_users
from resumable_streams.contrib.ninja import stream_router
from resumable_streams.contrib.rest_framework import ResumeAPIView, StatusAPIView, stream_urls
from resumable_streams.http import response


class Bearer(HttpBearer):
    def authenticate(self, request: Any, token: str) -> None: ...


class OfToday(SessionAuthentication):
    pass


class WithTokens(StatusAPIView):
    authentication_classes = [TokenAuthentication]


with_tokens = NinjaAPI(urls_namespace="with-tokens", auth=[Bearer(), django_auth])
with_cookies = NinjaAPI(urls_namespace="with-cookies", auth=[django_auth])
broken = NinjaAPI(urls_namespace="broken", auth=[Bearer()])
for api in (with_tokens, with_cookies, broken):
    api.add_router("/streams/", stream_router())
broken.get_openapi_schema = lambda **named: 1 / 0  # type: ignore[assignment]

PLAIN = path("streams/", include("resumable_streams.urls"))
OTHER = path("other/", include(urls.stream_urls("other"), "other"))
REST = path("s/", WithTokens.as_view())
REST_BY_KEYWORD = path("s/", ResumeAPIView.as_view(authentication_classes=[TokenAuthentication]))
REST_OF_BROWSERS = path(
    "s/", ResumeAPIView.as_view(authentication_classes=[OfToday, BasicAuthentication])
)
BELOW = path("below/", include([path("further/", include([REST]))]))


class Site:
    """A module of addresses."""

    def __init__(self, *patterns: Any) -> None:
        self.urlpatterns = patterns


def found(settings: Any, *patterns: Any, owner: str = "") -> list[str]:
    settings.ROOT_URLCONF = Site(*patterns)
    entry = {"OWNER": owner} if owner else {}
    settings.RESUMABLE_STREAMS = {"default": entry, "other": {"KEY_PREFIX": "other"}}
    messages = check_token_users(None)
    assert all(message.id == "resumable_streams.W015" for message in messages)
    return [str(message.msg) for message in messages]


@pytest.mark.parametrize("there", [REST, REST_BY_KEYWORD, BELOW], ids=["class", "keyword", "below"])
def test_w015_plain_addresses_do_not_know_the_users_of_rest_framework(settings: Any, there: Any):
    (message,) = found(settings, there, PLAIN)
    assert "['default']" in message
    assert "TokenAuthentication (REST framework)" in message


def test_w015_plain_addresses_do_not_know_the_users_of_ninja(settings: Any):
    (message,) = found(settings, path("api/", with_tokens.urls), OTHER)
    assert "['other']" in message
    assert "Bearer (ninja)" in message


@pytest.mark.parametrize(
    "patterns",
    [
        [PLAIN],
        [REST],
        [REST, path("streams/", include(stream_urls()))],
        [REST_OF_BROWSERS, PLAIN],
        [path("api/", with_tokens.urls)],
        [path("api/", with_cookies.urls), PLAIN],
        [path("api/", broken.urls), PLAIN],
    ],
)
def test_nothing_is_wrong_without_tokens_or_without_plain_addresses(
    settings: Any, patterns: list[Any]
):
    assert found(settings, *patterns) == []


def test_addresses_that_cannot_be_imported_are_for_other_checks(settings: Any):
    settings.ROOT_URLCONF = "no.such.module"
    assert check_token_users(None) == []


def test_nothing_is_wrong_where_the_owner_asks_authenticators(settings: Any):
    owner = "resumable_streams.contrib.rest_framework.authenticated_owner"
    assert found(settings, REST, PLAIN, owner=owner) == []


OURS = [*response.EXPOSED, "Retry-After"]
CORS = "corsheaders.middleware.CorsMiddleware"


@pytest.mark.parametrize(
    ("exposed", "middleware", "missing"),
    [
        ([], [CORS], []),
        (["X-Mine"], [], []),
        (["X-Mine", *map(str.lower, OURS)], [CORS], []),
        (["X-Mine", *OURS[1:]], [CORS], [OURS[0]]),
        (["X-Mine"], [CORS], OURS),
    ],
)
def test_w016_our_headers_are_exposed_no_more(
    settings: Any, exposed: list[str], middleware: list[str], missing: list[str]
):
    settings.MIDDLEWARE = [*middleware, *settings.MIDDLEWARE]
    settings.CORS_EXPOSE_HEADERS = exposed
    messages = check_exposed_headers(None)
    assert [message.id for message in messages] == ["resumable_streams.W016"] * bool(missing)
    for message in messages:
        assert str(message.msg).endswith(f": {', '.join(missing)}.")
