"""Answers of every provider as events of AG-UI."""

import json
from typing import Any

import pytest
from ag_ui.core import Event
from pydantic import TypeAdapter

from resumable_streams.contrib import ag_ui
from resumable_streams.views import AcquireView

from .conftest import data_of
from .server import HANG, Reply
from .test_parts import APIS, collected
from .wires import WIRES, Chat, Wire

pytestmark = pytest.mark.lengthy

RUN_INPUT: dict[str, Any] = {
    "threadId": "t1",
    "runId": "r1",
    "state": {},
    "messages": [{"id": "m1", "role": "user", "content": "Why?"}],
    "tools": [],
    "context": [],
    "forwardedProps": {},
}


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def wire(api: str) -> Wire:
    return WIRES[api]()


def view_of(api: str) -> type[AcquireView]:
    """Return a view that answers in AG-UI, from one API."""
    module, ask = APIS[api]

    class Answer(AcquireView):
        format = "ag_ui"

        async def produce(self, request: Any) -> Any:
            return ag_ui.events(module.parts(ask()))

    return Answer


def checked(body: bytes) -> list[dict[str, Any]]:
    """Return the events of a body, each of which is one of the protocol."""
    events = data_of(body)
    for event in events:
        TypeAdapter(Event).validate_python(event)
    return events


async def test_events_of_ag_ui_are_events_of_the_protocol(ask, api, wire, provider):
    body = [
        wire.start(),
        wire.reasoning("So"),
        wire.text("Hel", "lo"),
        wire.call("c1", "look", '{"place":', '"Lima"}'),
        wire.end("tools"),
    ]
    provider.replies(Reply(body=body))
    async with ask(view_of(api)) as visit:
        events = checked(await visit.whole())
    assert [event["type"] for event in events] == [
        "RUN_STARTED",
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "CUSTOM",
        "RUN_FINISHED",
    ]
    assert len({event["messageId"] for event in events if "messageId" in event}) == 2


async def test_outputs_of_tools_are_results_in_ag_ui():
    async def parts() -> Any:
        call = {"toolCallId": "c1"}
        yield {"type": "tool-input-start", **call, "toolName": "look"}
        yield {"type": "tool-input-available", **call, "toolName": "look", "input": {"a": 1}}
        yield {"type": "tool-output-available", **call, "output": {"b": "☕"}}
        yield {"type": "tool-output-error", **call, "errorText": "away"}
        yield {"type": "source-url", "sourceId": "s", "url": "https://rain.example"}

    events = await collected(ag_ui.events(parts()))
    for event in events:
        TypeAdapter(Event).validate_python(event)
    assert [event["type"] for event in events[1:3]] == ["TOOL_CALL_ARGS", "TOOL_CALL_END"]
    assert json.loads(events[1]["delta"]) == {"a": 1}
    assert [event["content"] for event in events[3:]] == ['{"b": "☕"}', "away"]


async def test_a_cancelled_run_closes_the_connection_and_says_so(ask, api, wire, provider):
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), HANG]))
    async with ask(view_of(api)) as visit:
        await visit.until(b'"lo"')
        await visit.cancel()
        await visit.provider_left()
        events = checked(await visit.whole())
    assert (events[0]["type"], events[-1]["type"]) == ("RUN_STARTED", "RUN_ERROR")
    assert events[-1]["code"] == "cancelled"


async def test_pydantic_ais_own_events_are_one_run(ask, provider):
    wire = Chat()
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), wire.end()]))
    async with ask("with_ag_ui", RUN_INPUT) as visit:
        events = checked(await visit.whole())
    kinds = [event["type"] for event in events]
    assert kinds.count("RUN_STARTED") == kinds.count("RUN_FINISHED") == 1
    assert (events[0]["threadId"], events[0]["runId"]) == ("t1", "r1")
    assert "".join(event.get("delta", "") for event in events) == "Hello"


async def test_a_failed_run_of_pydantic_ai_ends_with_one_error(ask, provider):
    wire = Chat()
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), wire.error()]))
    async with ask("with_ag_ui", RUN_INPUT) as visit:
        events = checked(await visit.whole())
        assert (await visit.status())["error"] == "source_failed"
    assert [event["type"] for event in events].count("RUN_ERROR") == 1
    assert events[-1]["code"] == "source_failed"
