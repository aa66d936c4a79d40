"""The generic addresses of streams, for the default alias and for any other."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncClient
from django.urls import include, path, reverse

from resumable_streams import StreamManager
from resumable_streams.urls import stream_urls
from resumable_streams.views import AcquireView
from tests.tools.readers import read_all


class AnswerView(AcquireView):
    async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        yield b"x"


urlpatterns = [
    path("streams/", include("resumable_streams.urls")),
    path("drafts/", include(stream_urls("drafts"), namespace="drafts")),
    path("answer/", AnswerView.as_view()),
    path("draft/", AnswerView.as_view(using="drafts")),
]

pytestmark = pytest.mark.urls(__name__)


def ada(request: object) -> str:
    return "ada"


def test_each_alias_is_reversed_by_its_namespace():
    assert reverse("resumable_streams:stream", args=["s"]) == "/streams/s/"
    assert [reverse(f"drafts:{name}", args=["s"]) for name in ("stream", "status", "cancel")] == [
        "/drafts/s/",
        "/drafts/s/status/",
        "/drafts/s/cancel/",
    ]


@pytest.fixture
def aliases(settings: Any, key_prefix: str, closes_runtime: None) -> None:
    """Configure an alias for answers and one for drafts."""
    entry = {"BACKEND": "resumable_streams.stores.memory.MemoryStore", "OWNER": f"{__name__}.ada"}
    settings.RESUMABLE_STREAMS = {
        "default": {**entry, "KEY_PREFIX": key_prefix},
        "drafts": {**entry, "KEY_PREFIX": f"{key_prefix}:drafts"},
    }


async def test_a_post_names_the_address_of_its_alias(aliases: None, async_client: AsyncClient):
    for path_of_view, prefix in (("/answer/", "/streams/"), ("/draft/", "/drafts/")):
        response: Any = await async_client.post(path_of_view)
        assert response["Location"] == f"{prefix}{response['X-Resumable-Stream-Id']}/"
        assert b"".join([data async for data in response]) == b"x"


async def test_they_lead_to_the_streams_of_their_alias_alone(
    aliases: None, async_client: AsyncClient
):
    await read_all(await StreamManager("drafts").arun("s", [b"draft"], owner="ada"))
    answer: Any = await async_client.get("/drafts/s/")
    assert b"".join([data async for data in answer]) == b"draft"
    assert (await async_client.get("/drafts/s/status/")).json()["status"] == "done"
    assert (await async_client.post("/drafts/s/cancel/")).status_code == 202
    assert (await async_client.get("/streams/s/")).status_code == 404
