"""Chats among hostile bodies, unlucky moments and other people's settings."""

import base64
import json
from typing import Any

import pytest

from resumable_streams.contrib.chat.views import ChatView

from .site import Visitor, script

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


CALL = {"type": "tool-input-available", "toolCallId": "t1", "toolName": "ask", "input": {}}


async def called(visitor: Visitor) -> str:
    """Have an answer end with a tool call for the client; return the id of its message."""
    script(CALL)
    return str((await visitor.ask("c"))[0]["messageId"])


def with_parts(key: str, parts: Any) -> dict[str, Any]:
    return {"id": "c", "messages": [{"id": key, "role": "assistant", "parts": parts}]}


def with_result(key: str, output: Any) -> dict[str, Any]:
    part = {"type": "tool-ask", "toolCallId": "t1", "state": "output-available", "output": output}
    return with_parts(key, [part])


@pytest.mark.parametrize("parts", [5, True, {"a": 1}, "no", [5]])
async def test_results_in_no_list_are_refused(visitor: Visitor, parts: Any):
    key = await called(visitor)
    assert (await visitor.post(with_parts(key, parts))).status_code == 400


async def test_results_are_bounded(visitor: Visitor):
    key = await called(visitor)
    refused = await visitor.post(with_result(key, "x" * ChatView.max_message_bytes))
    assert (refused.status_code, refused.json()["error"]) == (413, "too_large")


@pytest.mark.parametrize("levels", [62, 300, 450, 700])
async def test_a_deep_result_is_refused(visitor: Visitor, levels: int):
    """It is copied later on, a call a level: nobody could save that answer, or look at it."""
    key = await called(visitor)
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    assert (await visitor.post(with_result(key, deep))).status_code == 400
    assert (await visitor.get("/c")).status_code == 200
