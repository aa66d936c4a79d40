"""The AI SDK's own chat, from npm: a deploy in mid-answer never makes a part of it the whole."""

import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.acceptance.servers import ROOT, Server

from .conftest import Node, Proxy
from .nginx import BLOCKS

CLIENT = ROOT / "resumable_streams" / "static" / "resumable_streams" / "client.js"
VERSIONS = ["ai5", "ai6", "ai"]
COUNT = 100  # at the pace below, longer than it takes to hear of the first words
WHOLE = "".join(f"{number} " for number in range(COUNT))

Start = Callable[..., Server]


@pytest.fixture
def start(site: Any, redis_url: str) -> Start:
    """Return what starts a server of the site."""
    return partial(
        site,
        DJANGO_SETTINGS_MODULE="tests.acceptance.frames_site",
        REDIS_URL=redis_url,
        DRAIN_TIMEOUT="20",
    )


def seen(
    node: Node, version: str, url: str, *, every: float = 0.05, plain: bool = False, **more: Any
) -> Iterator[dict[str, str | None]]:
    """Ask a question; yield what the user sees, as it changes."""
    chat = node(
        "chat.mjs",
        version=version,
        api=f"{url}/chat",
        headers={"X-User": "me"},
        body={"id": uuid.uuid4().hex, "count": COUNT, "every": every, "plain": plain},
        **more,
    )
    assert chat.stdout is not None
    for line in chat.stdout:
        yield json.loads(line)
    assert chat.wait() == 0


def is_part(view: dict[str, str | None]) -> bool:
    return bool(view["text"]) and view["text"] != WHOLE


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_deploy_in_mid_answer_is_no_end(
    start: Start, proxy: Proxy, node: Node, version: str, block: str
) -> None:
    old, new = start("uvicorn"), start("uvicorn")
    views = []
    for view in seen(node, version, proxy(old.url, new.url, block=block)):
        views.append(view)
        if is_part(view) and old.process.poll() is None:
            old.process.terminate()
    assert [view for view in views if is_part(view) and view["status"] == "ready"] == []
    assert "error" in [view["status"] for view in views]  # it was cut, and came back
    assert (views[-1]["status"], views[-1]["text"]) == ("ready", WHOLE)


@pytest.mark.parametrize("kind", ["daphne", "hypercorn", "granian", "runserver (WSGI)"])
def test_a_response_that_has_lived_long_enough_is_no_end(
    start: Start, node: Node, kind: str
) -> None:
    server = start(kind, MAX_RESPONSE_SECONDS="1")
    views = list(seen(node, "ai6", server.url))
    assert [view for view in views if is_part(view) and view["status"] == "ready"] == []
    assert "error" in [view["status"] for view in views]
    assert (views[-1]["status"], views[-1]["text"]) == ("ready", WHOLE)


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_text_is_a_whole_message(start: Start, node: Node, version: str) -> None:
    *_, last = seen(node, version, start("uvicorn").url, every=0, plain=True)
    assert (last["status"], last["error"], last["text"]) == ("ready", None, WHOLE)


@pytest.mark.parametrize("version", ["ai6", "ai"])
@pytest.mark.parametrize("block", BLOCKS)
def test_with_resumable_fetch_a_deploy_is_not_even_seen(
    start: Start, proxy: Proxy, node: Node, version: str, block: str
) -> None:
    old, new = start("uvicorn"), start("uvicorn")
    url = proxy(old.url, new.url, block=block)
    statuses = []
    for view in seen(node, version, url, client=CLIENT.as_uri()):
        statuses.append(view["status"])
        if is_part(view) and old.process.poll() is None:
            old.process.terminate()
    assert old.process.wait(30) is not None
    assert "error" not in statuses
    assert (view["status"], view["text"]) == ("ready", WHOLE)


@pytest.mark.parametrize("version", ["ai6", "ai"])
def test_with_resumable_fetch_thirty_cuts_are_not_even_seen(
    start: Start, node: Node, version: str
) -> None:
    cuts = [37 * number % 250 for number in range(30)]
    views = list(seen(node, version, start("uvicorn").url, client=CLIENT.as_uri(), cuts=cuts))
    assert "error" not in [view["status"] for view in views]
    assert (views[-1]["status"], views[-1]["text"]) == ("ready", WHOLE)
