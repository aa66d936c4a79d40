"""A message that is saved equals the one that the AI SDK builds of the same chunks."""

import json
from typing import Any

import pytest

from resumable_streams.contrib.chat.building import MessageBuilder
from resumable_streams.contrib.chat.replaying import replay
from resumable_streams.formats.ui_message import ui_message
from tests.chat.samples import SAMPLES

from .conftest import Node

VERSIONS = ["ai5", "ai6", "ai"]


def read(node: Node, version: str, body: bytes) -> list[dict[str, Any]]:
    found, _ = node("message.mjs", version=version, body=body.decode()).communicate()
    parts: list[dict[str, Any]] = json.loads(found)["parts"]
    return parts


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SAMPLES)
def test_the_saved_message_is_that_of_the_client(node: Node, version: str, name: str) -> None:
    builder = MessageBuilder()
    for chunk in SAMPLES[name]:
        builder.add(chunk)
    saved = json.loads(json.dumps(builder.parts()))
    assert read(node, version, b"".join(map(ui_message.part, SAMPLES[name]))) == saved
    assert read(node, version, replay("m", saved)) == saved
