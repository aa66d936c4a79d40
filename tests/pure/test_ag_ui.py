"""The format `ag_ui`: a run that its client takes for whole, and how it fails."""

import json
from typing import Any

import pytest

from resumable_streams.formats import ag_ui
from resumable_streams.sse import data_of
from tests.tools.infos import make_info

RUN = {"threadId": "t", "runId": "r"}
ATTRS = {"thread_id": "t", "run_id": "r"}
STARTED, FINISHED = {"type": "RUN_STARTED", **RUN}, {"type": "RUN_FINISHED", **RUN}


def made(*items: Any, **more: Any) -> list[dict[str, Any]]:
    """Return the events that items become, with what is made around them."""
    encoder = ag_ui.item_encoder(make_info(attrs=ATTRS, **more))
    return events(b"".join([*map(encoder.encode, items), encoder.end()]))


def events(log: bytes) -> list[dict[str, Any]]:
    return [json.loads(data_of(frame)) for frame in log.split(b"\n\n")[:-1]]


def kinds(*items: Any) -> list[str]:
    return [event["type"] for event in made(*items)]


def body(log: bytes, status: str = "done", offset: int = 0) -> bytes:
    encoder = ag_ui.encoder(make_info(), offset)
    sent = encoder.opening() + encoder.encode(log[offset:])
    if status == "error":
        return sent + (encoder.failure(make_info(status, len(log)), "producer_lost", "") or b"")
    return sent + encoder.end(make_info(status, len(log)))


def test_plain_text_is_a_whole_run():
    assert made("Hel", "", "lo") == [
        STARTED,
        {"type": "TEXT_MESSAGE_START", "messageId": "e:1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "e:1", "delta": "Hel"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "e:1", "delta": "lo"},
        {"type": "TEXT_MESSAGE_END", "messageId": "e:1"},
        FINISHED,
    ]


def test_a_run_without_a_name_has_that_of_its_stream():
    encoder = ag_ui.item_encoder(make_info())
    assert events(encoder.encode("a"))[0] == {
        "type": "RUN_STARTED", "threadId": "s", "runId": "s"
    }  # fmt: skip


def test_an_event_ends_the_text_before_it():
    assert kinds("a", {"type": "CUSTOM", "name": "x", "value": 1}, "b")[3:6] == [
        *["TEXT_MESSAGE_END", "CUSTOM", "TEXT_MESSAGE_START"],
    ]


def test_a_run_that_the_source_starts_and_ends_is_left_alone():
    items = [{"type": "RUN_STARTED", "threadId": "1", "runId": "2"}, "a", {"type": "RUN_FINISHED"}]
    events = made(*items)
    assert (events[0], events[-1], len(events)) == (items[0], items[-1], 5)
    error = {"type": "RUN_ERROR", "message": "No."}
    assert made(error) == [error]


def test_what_follows_the_end_of_a_run_is_another_run():
    assert kinds("a", {"type": "RUN_FINISHED", **RUN}, {"type": "CUSTOM"}) == [
        *["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"],
        *["RUN_FINISHED", "RUN_STARTED", "CUSTOM", "RUN_FINISHED"],
    ]


def test_what_is_open_at_the_end_is_closed_before_it():
    step = {"type": "STEP_STARTED", "stepName": "s", "subagentRunId": "a"}
    call = {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "look"}
    done = {"type": "TOOL_CALL_START", "toolCallId": "d", "toolCallName": "look"}
    assert made(step, done, {"type": "TOOL_CALL_END", "toolCallId": "d"}, call)[-3:] == [
        {"type": "TOOL_CALL_END", "toolCallId": "c"},
        {"type": "STEP_FINISHED", "stepName": "s", "subagentRunId": "a"},
        FINISHED,
    ]


def test_nothing_is_made_around_the_bytes_of_a_source():
    frame = ag_ui.part(STARTED)
    encoder = ag_ui.item_encoder(make_info())
    assert encoder.encode(frame) + encoder.end() == frame


def test_a_whole_run_is_closed_by_nothing():
    log = ag_ui.part(STARTED) + ag_ui.part(FINISHED)
    assert body(log) == (
        b'data: {"type":"RUN_STARTED","threadId":"t","runId":"r"}\nid: e-57\n\n'
        b'data: {"type":"RUN_FINISHED","threadId":"t","runId":"r"}\nid: e-115\n\n'
    )


@pytest.mark.parametrize("log", [b"", ag_ui.part(STARTED), b'data: {"half'])
def test_a_failed_run_ends_with_its_error_and_a_cancelled_one_says_so(log: bytes):
    assert events(body(log, "error"))[-1] == {
        "type": "RUN_ERROR",
        "message": "The run ended with an error: producer_lost.",
        "code": "producer_lost",
    }
    cancelled = body(log, "cancelled")
    assert events(cancelled)[-1]["code"] == "cancelled"
    assert cancelled.endswith(b"\nid: e-end\n\n")


@pytest.mark.parametrize("status", ["error", "cancelled"])
@pytest.mark.parametrize("last", [FINISHED, {"type": "RUN_ERROR", "message": "No."}])
def test_a_run_that_is_over_gets_no_second_end(status: str, last: dict[str, Any]):
    log = ag_ui.part(STARTED) + ag_ui.part(last)
    assert events(body(log, status)) == [STARTED, last]


def test_a_body_that_is_interrupted_is_cut_or_says_that_there_is_more():
    encoder = ag_ui.encoder(make_info(), 0)
    assert encoder.interruption() is None
    told = encoder.unseen_interruption() or b""
    assert (events(told)[0]["code"], b"\nid:" in told) == ("resume", False)
