"""The parts of a message, from its chunks and back. The SDK's own reading: `tests/servers`."""

from typing import Any

import pytest

from resumable_streams.contrib.chat.building import MessageBuilder, chunks_in
from resumable_streams.contrib.chat.parts import storable
from resumable_streams.contrib.chat.replaying import chunks_of
from resumable_streams.formats.ui_message import ui_message

from .samples import SAMPLES


def built(chunks: Any, parts: Any = ()) -> list[dict[str, Any]]:
    builder = MessageBuilder(parts)
    for chunk in chunks:
        builder.add(chunk)
    return builder.parts()


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_replayed_builds_the_same_parts(name: str):
    parts = built(SAMPLES[name])
    assert parts
    assert built(chunks_of(parts)) == parts


@pytest.mark.parametrize("name", SAMPLES)
def test_a_log_and_a_draft_build_the_same_parts(name: str):
    log = b": comment\n\n" + b"".join(map(ui_message.part, SAMPLES[name]))
    assert built(chunks_in(log + b'data: [DONE]\n\ndata: {"half')) == built(SAMPLES[name])


def test_text_without_chunks_is_a_part_until_a_chunk_comes():
    builder = MessageBuilder()
    for piece in ("Hel", "", "lo"):
        builder.text(piece)
    builder.add({"type": "data-x", "data": 1})
    builder.text("!")
    assert [one.get("text") for one in builder.parts()] == ["Hello", None, "!"]
    assert builder.parts() == builder.parts()


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"type": 7},
        {"type": "unknown"},
        {"type": "parts"},
        {"type": "text-delta", "id": "?", "delta": "lost"},
        {"type": "text-end"},
        {"type": "tool-input-delta", "toolCallId": "?"},
        {"type": "tool-output-available", "toolCallId": "?", "output": 1},
        {"type": "data-x", "data": 1, "transient": True},
    ],
)
def test_a_chunk_that_makes_no_sense_changes_nothing(chunk: dict[str, Any]):
    before = [{"type": "text", "text": "Hello.", "state": "done"}]
    assert built([chunk], before) == before


def test_metadata_is_merged_at_every_depth():
    builder = MessageBuilder()
    builder.add({"type": "start", "messageMetadata": {"a": {"b": 1}, "c": 1}})
    builder.add({"type": "finish", "messageMetadata": {"a": {"d": 2}, "c": 2}})
    assert builder.metadata == {"a": {"b": 1, "d": 2}, "c": 2}


def test_what_is_stored_has_no_character_that_a_database_refuses():
    found = storable({"a\0": ["\ud83d\ude00", "\ud83d", ("x", 1, None, True)]})
    assert found == {"a\ufffd": ["\U0001f600", "\ufffd", ["x", 1, None, True]]}
