"""assistant-ui, from npm, over `useChat` in a page that reloads: after any disconnects, its thread
has the messages of the history, and those of an undisturbed thread."""

import json
import uuid
from typing import Any

import pytest

from .adopters import as_browser
from .conftest import Node
from .test_conversations import CUTS, shown

QUESTION = " ".join(map(str, range(100)))
LONGEST = 3000  # shorter than an answer: each cut can be made


def talk(node: Node, url: str, *questions: str, **more: Any) -> dict[str, Any]:
    """Ask these questions, one after the other; return the messages of the page and the history."""
    page = node(
        "assistant.mjs",
        url=url,
        headers=as_browser(url),
        id=uuid.uuid4().hex,
        questions=questions,
        seed=7,
        longest=LONGEST,
        **more,
    )
    assert page.stdout is not None
    found: dict[str, Any] = json.loads(page.stdout.read())
    assert page.wait() == 0
    return found


@pytest.mark.timeout(180)
def test_any_disconnects_change_nothing(adopter: str, node: Node) -> None:
    disturbed = talk(node, adopter, QUESTION, QUESTION, cuts=CUTS)
    undisturbed = talk(node, adopter, QUESTION, cuts=0)
    assert disturbed["cuts"] == CUTS
    assert shown(disturbed["messages"]) == shown(disturbed["history"])
    assert shown(disturbed["messages"]) == shown(undisturbed["messages"]) * len(disturbed["asked"])
    assert shown(undisturbed["messages"]) == shown(undisturbed["history"])


def test_an_edited_question_replaces_the_former_one(fresh: str, node: Node) -> None:
    found = talk(node, fresh, "one", "two", cuts=0, edit="three")
    assert shown(found["messages"]) == shown(found["history"])
    texts = [one["parts"][-1]["text"] for one in found["history"]]
    assert texts == ["one", "one ", "three", "three "]
