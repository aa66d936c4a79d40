"""The AI SDK's own chat, from npm, in conversations that are kept: after any disconnects, what the
page shows is what the history answers, and what an undisturbed page shows."""

import json
import uuid
from typing import Any

import pytest

from .conftest import Node

VERSIONS = ["ai5", "ai6", "ai7"]
COUNT = 40
CUTS = 30
WORDS = "".join(f"{number} " for number in range(COUNT))


def question(**more: Any) -> str:
    return json.dumps({"count": COUNT, "every": 0.03, **more})


def talk(node: Node, url: str, version: str, *questions: str, **more: Any) -> dict[str, Any]:
    """Ask these questions, one after the other; return the messages of the page and the history."""
    chat = node(
        "conversation.mjs",
        version=version,
        api=f"{url}/api/chat",
        headers={"X-User": "me"},
        id=uuid.uuid4().hex,
        questions=questions,
        seed=7,
        **more,
    )
    assert chat.stdout is not None
    found: dict[str, Any] = json.loads(chat.stdout.read())
    assert chat.wait() == 0
    return found


def shown(messages: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return what a reader sees: roles and parts, without what is undefined."""
    return [
        (one["role"], [{k: v for k, v in part.items() if v is not None} for part in one["parts"]])
        for one in messages
    ]


@pytest.mark.parametrize(
    ("version", "keep"),
    [
        *((version, False) for version in VERSIONS),
        *((version, True) for version in VERSIONS if version != "ai5"),  # it doubles parts then
    ],
)
def test_any_disconnects_change_nothing(
    site: Any, redis_url: str, node: Node, version: str, keep: bool
) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.chat_site", "REDIS_URL": redis_url}
    server = site("uvicorn", **settings)
    questions = (question(), question(), question(tool="t"), question())
    disturbed = talk(node, server.url, version, *questions, cuts=CUTS, keep=keep)
    undisturbed = talk(node, server.url, version, *questions, cuts=0, keep=keep)
    assert disturbed["left"] == 0
    assert shown(disturbed["messages"]) == shown(disturbed["history"])
    assert shown(disturbed["messages"]) == shown(undisturbed["messages"])
    assert shown(undisturbed["messages"]) == shown(undisturbed["history"])
    ids = [[one["id"] for one in disturbed[name]] for name in ("messages", "history")]
    assert ids[0] == ids[1]
    texts = [
        "".join(part["text"] for part in one["parts"] if part["type"] == "text")
        for one in disturbed["history"]
        if one["role"] == "assistant"
    ]
    assert texts == [WORDS, WORDS, f"Let me see.{WORDS}", WORDS]
