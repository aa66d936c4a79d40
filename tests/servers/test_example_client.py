"""The client of the example: it counts bytes, and comes back wherever a body ends too early."""

import json
import uuid
from typing import Any

import pytest

from tests.acceptance.servers import ROOT

from .conftest import Node, Proxy
from .nginx import BLOCKS

CLIENT = ROOT / "example_project" / "chat" / "static" / "chat" / "stream.js"
COUNT = 20


@pytest.mark.parametrize("block", BLOCKS)
def test_an_answer_in_several_bodies_is_whole(
    site: Any, redis_url: str, proxy: Proxy, node: Node, block: str
) -> None:
    server = site(
        "uvicorn",
        DJANGO_SETTINGS_MODULE="tests.acceptance.frames_site",
        REDIS_URL=redis_url,
        MAX_RESPONSE_SECONDS="1",
        KEEP_ALIVE="0.1",
    )
    following = node(
        "example.mjs",
        client=CLIENT.as_uri(),
        url=proxy(server.url, block=block),
        headers={"X-User": "me"},
        body={"id": uuid.uuid4().hex, "count": COUNT, "every": 0.15},
    )
    assert following.stdout is not None
    end = json.loads(following.stdout.read())
    assert end["outcome"] == "ended"
    assert end["text"] == "".join(f"{number} " for number in range(COUNT))
    assert "offline" in end["states"]  # it was cut, and came back
