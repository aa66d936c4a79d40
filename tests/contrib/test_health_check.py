"""The check for django-health-check, on that package's own view."""

from typing import Any

import pytest
from django.test import AsyncClient
from django.urls import path
from health_check.views import HealthCheckView
from pytest_django import Settings

from tests.tools.streams import REDIS

CHECK = "resumable_streams.contrib.health_check.StreamStore"

urlpatterns = [
    path("health/", HealthCheckView.as_view(checks=[CHECK, (CHECK, {"alias": "drafts"})]))
]

pytestmark = pytest.mark.urls(__name__)


async def report(client: AsyncClient) -> tuple[int, dict[str, Any]]:
    answer = await client.get("/health/?format=json")
    return answer.status_code, answer.json()


async def test_a_store_that_answers_is_ok_and_another_is_named_without_details(
    settings: Settings, key_prefix: str, async_client: AsyncClient
) -> None:
    memory = {"LOCATION": key_prefix}
    settings.RESUMABLE_STREAMS = {"default": memory, "drafts": memory}
    status, found = await report(async_client)
    assert status == 200
    assert len(found) == 2
    away = {"BACKEND": REDIS, "LOCATION": "redis://:secret@127.0.0.1:1/0"}
    settings.RESUMABLE_STREAMS = {"default": memory, "drafts": away}
    status, found = await report(async_client)
    assert status == 500
    assert sorted("does not answer" in str(one) for one in found.values()) == [False, True]
    assert "secret" not in str(found)
    assert "127.0.0.1" not in str(found)
