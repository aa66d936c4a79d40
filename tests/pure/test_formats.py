"""Formats: what a log becomes on the way to a client, and how its end is told."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from resumable_streams import formats
from resumable_streams.engine.validation import refuse_wrong_settings
from resumable_streams.exceptions import InvalidStoreError
from resumable_streams.formats import (
    Encoder,
    Format,
    format_of,
    get_format,
    raw,
    register,
    registry,
    sse,
    ui_message,
)
from resumable_streams.types import StreamInfo, StreamStatus
from tests.tools.frames import without_ids
from tests.whatwg import events

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\nid: e-end\n\n"


def info(status: str = "done", size: int = 0, **more: Any) -> StreamInfo:
    return StreamInfo(
        stream_id="s",
        tenant="default",
        generation=1,
        owner="me",
        status=StreamStatus(status),
        size=size,
        entries=1,
        created=0,
        expires=0,
        epoch="e",
        **more,
    )


def body(wire_format: Format, log: bytes, offset: int = 0, step: int = 5, **more: Any) -> bytes:
    """Return what a reader of a done stream gets from `offset` on."""
    encoder = wire_format.encoder(info(), offset, **more)
    parts = [encoder.encode(log[at : at + step]) for at in range(offset, len(log), step)]
    return encoder.opening() + b"".join(parts) + encoder.end(info("done", len(log)))


def fed(wire_format: Format, log: bytes) -> Encoder:
    encoder = wire_format.encoder(info(), 0)
    encoder.encode(log)
    return encoder


def test_raw_is_the_log():
    log = bytes(range(256))
    assert body(raw, log) == log
    assert body(raw, log, offset=100) == log[100:]


def test_raw_can_say_nothing_but_a_clean_end():
    encoder = fed(raw, b"x")
    assert encoder.keep_alive() == b""
    assert encoder.end(info("cancelled")) == b""
    assert encoder.failure(info("error"), "producer_lost", "") is None
    assert encoder.interruption() is None
    assert encoder.unseen_interruption() is None


def test_raw_has_the_content_type_of_the_stream():
    assert raw.get_content_type(info()) == "application/octet-stream"
    assert raw.get_content_type(info(attrs={"content_type": "text/plain"})) == "text/plain"


def test_sse_gives_each_frame_the_byte_at_which_it_ends():
    log = b"data: a\n\nevent: x\ndata: b\n\n"
    assert body(sse, log) == (
        b"data: a\nid: e-9\n\n"
        b"event: x\ndata: b\nid: e-27\n\n"
        b'event: done\ndata: {"status":"done"}\nid: e-end\n\n'
    )


def test_sse_has_the_last_word_on_ids():
    assert body(sse, b"id: mine\ndata: a\n\n").startswith(b"id: mine\ndata: a\nid: e-18\n\n")


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("wire", [sse, ui_message])
def test_a_body_resumes_at_every_id_with_what_follows(wire: Format, step: int):
    log = b"".join(b"data: %d\n\n" % number for number in range(20))
    whole = body(wire, log, step=step)
    ids = re.findall(rb"id: e-(\d+)\n\n", whole)
    assert len(ids) == 20
    for seen in ids:
        _, _, after = whole.partition(b"id: e-%b\n\n" % seen)
        assert body(wire, log, offset=int(seen), step=step) == after


def test_sse_passes_the_rest_of_a_frame_on_from_inside_it():
    assert body(sse, b"data: abc\n\ndata: d\n\n", offset=7).startswith(
        b"bc\nid: e-11\n\ndata: d\nid: e-20\n\n"
    )


def test_sse_completes_the_last_frame_of_a_done_stream():
    assert body(sse, b"data: a\n\ndata: b").startswith(
        b"data: a\nid: e-9\n\ndata: b\nid: e-16\n\nevent: done\n"
    )


def test_sse_drops_half_a_frame_before_an_error():
    encoder = fed(sse, b'data: {"half')
    assert encoder.failure(info("error"), "producer_lost", "") == (
        b'event: error\ndata: {"status":"error","code":"producer_lost"}\nid: e-end\n\n'
    )


def test_sse_shows_the_detail_of_an_error_where_there_is_one():
    encoder = fed(sse, b"")
    assert b'"detail":"boom"' in (encoder.failure(info("error"), "source_failed", "boom") or b"")


def test_sse_tells_a_cancelled_stream():
    encoder = fed(sse, b"data: a\n\n")
    assert encoder.end(info("cancelled", 9)).startswith(
        b'event: cancelled\ndata: {"status":"cancel'
    )


def test_sse_starts_again_with_a_reset_that_can_be_resumed_from():
    assert sse.encoder(info(), 0, reset=True).opening() == (
        b'event: reset\ndata: {"offset":0}\nid: e-0\n\n'
    )


def test_extra_blank_lines_are_not_frames():
    assert body(sse, b"data: a\n\n\n\n\n").startswith(b"data: a\nid: e-9\n\nevent: done")


@pytest.mark.parametrize("wire_format", [sse, ui_message])
def test_a_keep_alive_never_stands_inside_a_frame(wire_format: Format):
    encoder = wire_format.encoder(info(), 0)
    assert encoder.keep_alive() == KEEP_ALIVE
    encoder.encode(b"data: half")
    assert encoder.keep_alive() == KEEP_ALIVE  # the half waits here
    encoder.encode(b"x" * 100_000)
    assert encoder.keep_alive() == b""
    encoder.encode(b"\n\n")
    assert encoder.keep_alive() == KEEP_ALIVE


@pytest.mark.parametrize("wire_format", [sse, ui_message])
def test_a_frame_beyond_the_bound_is_ended_before_an_error(wire_format: Format):
    encoder = fed(wire_format, b"data: " + b"x" * 100_000)
    assert (encoder.failure(info("error"), "producer_lost", "") or b"").startswith(b"\n\n")


def test_an_interruption_of_events_says_when_to_come_back_and_is_no_event():
    told = {fed(sse, b"data: a\n\n").interruption() or b"" for _ in range(20)}
    told |= {fed(sse, b"data: a\n\n").unseen_interruption() or b"" for _ in range(20)}
    waits = [int(one.removeprefix(b"retry: ").removesuffix(b"\n\n")) for one in told]
    assert 1_000 <= min(waits) < max(waits) <= 3_000
    assert events(told.pop()) == []
    assert fed(sse, b"data: " + b"x" * 100_000).interruption() == b""  # it would complete the frame


@pytest.mark.parametrize("status", ["done", "cancelled", "error"])
def test_without_an_event_for_the_end_there_is_an_id_alone(status: str):
    state = info(status, 9, attrs={"end_event": "none"})
    encoder = sse.encoder(state, 0)
    body = encoder.encode(b"data: a\n\n")
    body += (encoder.failure(state, "x", "") if status == "error" else encoder.end(state)) or b""
    assert body == b"data: a\nid: e-9\n\nid: e-end\n\n"
    assert [one.data for one in events(body)] == ["a"]


def test_an_interrupted_message_is_cut_or_says_that_there_is_more():
    encoder = fed(ui_message, ui_message.part({"type": "start"}) + b"data: half")
    assert encoder.interruption() is None
    part = json.loads((encoder.unseen_interruption() or b"").removeprefix(b"data: "))
    assert part["type"] == "error"
    assert part["errorText"].endswith(": resume.")
    assert part.keys() == {"type", "errorText"}  # clients refuse what they do not know


def test_a_long_part_is_closed_before_the_word_that_there_is_more():
    encoder = fed(ui_message, b"data: " + b"x" * 100_000)
    assert (encoder.unseen_interruption() or b"").startswith(b"\n\ndata: {")


def test_ui_message_parts_are_compact():
    assert ui_message.part({"type": "finish"}) == b'data: {"type":"finish"}\n\n'
    part = {"type": "text-delta", "id": "0", "delta": "Zürich\n"}
    assert ui_message.part(part) == (
        'data: {"type":"text-delta","id":"0","delta":"Zürich\\n"}\n\n'.encode()
    )


def test_half_a_surrogate_pair_is_escaped():
    frame = ui_message.part({"type": "text-delta", "id": "0", "delta": "\ud83d"})
    assert frame.decode() == 'data: {"type":"text-delta","id":"0","delta":"\\ud83d"}\n\n'


def test_ui_message_gives_the_frames_ids_and_ends_them():
    log = ui_message.part({"type": "start"}) + ui_message.part({"type": "finish"})
    assert body(ui_message, log) == (
        b'data: {"type":"start"}\nid: e-24\n\ndata: {"type":"finish"}\nid: e-49\n\n'
        b"data: [DONE]\nid: e-end\n\n"
    )


def test_ui_message_ends_once_where_the_source_has_said_so():
    log = ui_message.part({"type": "finish"}) + b"data: [DONE]\n\n"
    assert without_ids(body(ui_message, log)) == log


def test_ui_message_tells_an_error_without_its_internals():
    end = fed(ui_message, b'data: {"ha').failure(info("error"), "source_failed", "") or b""
    part, done = end.split(b"\n\n", 1)
    assert done == DONE
    assert json.loads(part.removeprefix(b"data: ")) == {
        "type": "error",
        "errorText": "The stream ended with an error: source_failed.",
    }


def test_ui_message_tells_a_cancelled_stream():
    log = ui_message.part({"type": "start"})
    assert fed(ui_message, log).end(info("cancelled")) == b'data: {"type":"abort"}\n\n' + DONE


def test_ui_message_says_which_protocol_it_speaks():
    assert ui_message.headers == {"x-vercel-ai-ui-message-stream": "v1"}
    assert ui_message.content_type == "text/event-stream"


@pytest.fixture
def restores_formats(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", {})
    yield
    registry._known.cache_clear()


@pytest.mark.usefixtures("restores_formats")
def test_a_format_of_your_own_is_known_by_its_name():
    class Shout(formats.Raw):
        name = "shout"

    shout = register(Shout())
    assert get_format("shout") is shout


def test_the_name_of_a_format_is_known_or_an_error():
    assert get_format("sse") is sse
    with pytest.raises(LookupError, match="Known are 'raw', 'ndjson', 'sse'"):
        get_format("nope")


class Proto(formats.Raw):
    """A format of a project."""

    name = "proto"
    content_type = "application/x-protobuf"


class Nameless(Format):
    content_type = "text/plain"


def configured(*paths: str) -> dict[str, Any]:
    return {"default": {}, "chat": {"FORMATS": [f"{__name__}.{path}" for path in paths]}}


def test_a_format_of_the_settings_is_known_by_its_name(settings: Settings):
    settings.RESUMABLE_STREAMS = configured("Proto")
    assert type(get_format("proto")) is Proto
    assert type(format_of(info(attrs={"format": "proto"}))) is Proto
    settings.RESUMABLE_STREAMS = {"default": {}}
    with pytest.raises(LookupError):
        get_format("proto")


@pytest.mark.parametrize("path", ["Nothing", "Nameless", "configured", "sse", "info"])
def test_a_format_that_cannot_be_loaded_is_missed_by_who_needs_it(settings: Settings, path: str):
    settings.RESUMABLE_STREAMS = configured(path)
    assert get_format("sse") is sse
    with pytest.raises(InvalidStoreError, match=rf"'chat' names '[\w.]+\.{path}'"):
        get_format("proto")
    with pytest.raises(InvalidStoreError, match="Name a subclass of"):
        refuse_wrong_settings()
