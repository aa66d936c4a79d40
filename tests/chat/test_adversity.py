"""Chats among hostile bodies, unlucky moments and other people's settings."""

import base64
import json
from typing import Any

import pytest

from resumable_streams.contrib.chat.views import ChatView

from .site import Visitor

pytestmark = [pytest.mark.urls("tests.chat.site"), pytest.mark.django_db(transaction=True)]


async def test_lists_have_pages_without_time_zones(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, settings: Any
):
    settings.USE_TZ = False
    monkeypatch.setattr(ChatView, "page_size", 1)
    for name in ("a", "b"):
        await visitor.ask(name)
    page = (await visitor.get("")).json()
    rest = await visitor.get(f"?cursor={page['next']}")
    assert rest.status_code == 200, rest.content
    assert [one["id"] for one in rest.json()["conversations"]] == ["a"]


@pytest.mark.parametrize("updated", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_cursor_at_the_end_of_time_is_no_failure(visitor: Visitor, updated: str):
    cursor = base64.urlsafe_b64encode(json.dumps([updated, 1]).encode()).decode()
    assert (await visitor.get(f"?cursor={cursor}")).status_code in (200, 400)
