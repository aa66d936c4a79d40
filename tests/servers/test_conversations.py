"""The AI SDK's own chat, from npm, in conversations that are kept: after any disconnects, what the
page shows is what the history answers, and what an undisturbed page shows."""

import json
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from .adopters import as_browser
from .conftest import Node

VERSIONS = ["ai5", "ai6", "ai"]
COUNT = 40
CUTS = 30
LONGEST = 3000  # shorter than an answer: each cut can be made
WORDS = "".join(f"{number} " for number in range(COUNT))


def question(**more: Any) -> str:
    return json.dumps({"count": COUNT, "every": 0.03, **more})


def talk(
    node: Node,
    url: str,
    version: str,
    *questions: str,
    headers: Mapping[str, str] = MappingProxyType({"X-User": "me"}),
    **more: Any,
) -> dict[str, Any]:
    """Ask these questions, one after the other; return the messages of the page and the history."""
    chat = node(
        "conversation.mjs",
        version=version,
        api=f"{url}/api/chat",
        headers=dict(headers),
        id=uuid.uuid4().hex,
        questions=questions,
        seed=7,
        longest=LONGEST,
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


@pytest.mark.timeout(180)
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
    assert disturbed["cuts"] == CUTS
    assert shown(disturbed["messages"]) == shown(disturbed["history"])
    once, again = shown(undisturbed["messages"]), len(disturbed["asked"]) - len(questions)
    assert shown(disturbed["messages"]) == once + again * once[-2:]
    assert shown(undisturbed["messages"]) == shown(undisturbed["history"])
    ids = [[one["id"] for one in disturbed[name]] for name in ("messages", "history")]
    assert ids[0] == ids[1]
    texts = [
        "".join(part["text"] for part in one["parts"] if part["type"] == "text")
        for one in disturbed["history"]
        if one["role"] == "assistant"
    ]
    assert texts[2] == f"Let me see.{WORDS}"
    assert {*texts[:2], *texts[3:]} == {WORDS}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("version", VERSIONS)
def test_adopters_keep_what_their_clients_show(adopter: str, node: Node, version: str) -> None:
    headers = as_browser(adopter)
    words = " ".join(map(str, range(100)))
    disturbed = talk(node, adopter, version, words, words, headers=headers, cuts=CUTS)
    undisturbed = talk(node, adopter, version, words, headers=headers, cuts=0)
    assert disturbed["cuts"] == CUTS
    assert shown(disturbed["messages"]) == shown(disturbed["history"])
    assert shown(disturbed["messages"]) == shown(undisturbed["messages"]) * len(disturbed["asked"])
    statuses = [one["metadata"]["status"] for one in disturbed["history"]]
    assert statuses == ["complete"] * len(statuses)
