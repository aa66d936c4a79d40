"""What is not there, as each format says it: also where there is no id yet, or none that can be."""

import pytest
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import AsyncClient
from django.urls import path
from pytest_django import Settings

from resumable_streams.formats import Missing
from resumable_streams.views import resume_response

IDS = {"none": None, "empty": "", "impossible": "no id", "unknown": "unknown"}


async def reconnect(request: HttpRequest, which: str) -> HttpResponseBase:
    return await resume_response(
        request,
        IDS[which],
        format=request.GET.get("format"),
        missing=Missing(request.GET["missing"]) if "missing" in request.GET else None,
        active="active" in request.GET,
    )


def odd_tenant(request: HttpRequest) -> str:
    return "no slug"


urlpatterns = [path("<str:which>/", reconnect)]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def client(settings: Settings, key_prefix: str) -> AsyncClient:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix}}
    return AsyncClient()


@pytest.mark.parametrize("active", ["", "&active"])
@pytest.mark.parametrize("which", IDS)
async def test_a_format_has_one_answer_for_what_is_not_there(
    client: AsyncClient, which: str, active: str
):
    chat = await client.get(f"/{which}/?format=ui_message{active}")
    assert (chat.status_code, chat.content) == (204, b"")
    raw = await client.get(f"/{which}/?{active}")
    assert (raw.status_code, raw.content) == (404, b'{"error": "stream_not_found"}')
    said = await client.get(f"/{which}/?missing=finish{active}")
    assert (said.status_code, said.content) == (200, b'data: {"type":"finish"}\n\n')


async def test_an_impossible_tenant_has_nothing(client: AsyncClient, settings: Settings):
    settings.RESUMABLE_STREAMS["default"]["TENANT"] = f"{__name__}.odd_tenant"
    settings.RESUMABLE_STREAMS = {**settings.RESUMABLE_STREAMS}
    response = await client.get("/unknown/?format=ui_message")
    assert response.status_code == 204


async def test_who_is_nobody_is_told_so(client: AsyncClient, settings: Settings):
    settings.MIDDLEWARE = []
    assert (await client.get("/none/?format=ui_message")).status_code == 401
