"""The AI SDK's own chat, from npm, in conversations that are kept: after any disconnects, what the
page shows is what the history answers, and what an undisturbed page shows."""

import json
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from tests.docs import test_chat_page
from tests.docs.conftest import Project
from tests.tools.serving import PLAIN

from .conftest import Node

project = test_chat_page.project

VERSIONS = ["ai5", "ai6", "ai7"]
COUNT = 40
CUTS = 30
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
        **more,
    )
    assert chat.stdout is not None
    found: dict[str, Any] = json.loads(chat.stdout.read())
    assert chat.wait() == 0
    return found


def as_browser(url: str) -> dict[str, str]:
    """Return the headers of a browser that has opened the page of a site."""
    with httpx.Client(verify=PLAIN, base_url=url) as browser:
        browser.get("/").raise_for_status()
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        return {"Cookie": cookies, "X-CSRFToken": browser.cookies["csrftoken"]}


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
    slow = question(every=0.08)  # so that there is time for all cuts
    questions = (slow, slow, question(every=0.08, tool="t"), slow)
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


@pytest.mark.parametrize("version", VERSIONS)
def test_the_example_keeps_what_its_client_shows(
    site: Any, redis_url: str, node: Node, version: str
) -> None:
    server = site("daphne", REDIS_URL=redis_url, DEMO_RATE="150")
    headers = as_browser(server.url)
    found = talk(node, server.url, version, "One?", "Two?", headers=headers, cuts=CUTS)
    assert shown(found["messages"]) == shown(found["history"])
    assert [one["metadata"]["status"] for one in found["history"]] == ["complete"] * 4


@pytest.mark.parametrize("version", VERSIONS)
def test_a_project_of_fifteen_lines_keeps_what_its_client_shows(
    project: Project, node: Node, version: str
) -> None:
    headers = as_browser(project.url)
    words = " ".join(map(str, range(200)))
    found = talk(node, project.url, version, words, words, headers=headers, cuts=CUTS)
    assert shown(found["messages"]) == shown(found["history"])
    assert found["history"][3]["parts"][-1]["text"] == f"{words} "
