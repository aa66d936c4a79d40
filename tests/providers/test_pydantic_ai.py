"""pydantic-ai: tools, failures, usage, and both protocols."""

import asyncio
import json
from typing import Any

import pytest
from ag_ui.core import Event
from pydantic import TypeAdapter
from pydantic_ai import Agent, RunContext
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_ai.ui.vercel_ai import VercelAIAdapter

from resumable_streams.contrib.pydantic_ai import events, parts, text
from resumable_streams.signals import stream_finalized
from resumable_streams.views import AcquireView
from tests.tools.waiting import within

from .conftest import usage_in
from .server import HANG, Reply
from .test_ag_ui import RUN_INPUT
from .test_providers import FROM_THE_AI_SDK
from .wires import Chat

pytestmark = pytest.mark.lengthy


def agent() -> Agent[str, str]:
    made = Agent("openai-chat:m", deps_type=str)

    @made.tool
    async def look(context: RunContext[str], place: str) -> str:
        """Look at a place."""
        return f"{context.deps} in {place}"

    return made


def adapter() -> Any:
    run_input = VercelAIAdapter.build_run_input(json.dumps(FROM_THE_AI_SDK).encode())
    return VercelAIAdapter(agent(), run_input)


def ag_ui_adapter() -> Any:
    run_input = AGUIAdapter.build_run_input(json.dumps(RUN_INPUT).encode())
    return AGUIAdapter(agent(), run_input)


def an_agents_work() -> tuple[Reply, Reply]:
    call, told = Chat(), Chat()
    called = call.call("c1", "look", '{"place":', ' "Lima"}')
    return (
        Reply(body=[call.start(), called, call.end("tools")]),
        Reply(body=[told.start(), told.text("It ", "rains."), told.end()]),
    )


async def collect(source: Any, found: list[Any]) -> None:
    async for item in source:
        found.append(item)


async def collected(source: Any) -> list[Any]:
    return [item async for item in source]


async def test_parts_of_an_adapter_are_those_of_its_own_stream(provider):
    provider.replies(*an_agents_work())
    own = [chunk.encode(6) async for chunk in adapter().run_stream(deps="rain")]
    provider.forget()
    provider.replies(*an_agents_work())
    found = await collected(parts(adapter(), deps="rain"))
    assert own.pop() == "[DONE]"
    assert [_plain(part) for part in found] == [_plain(json.loads(line)) for line in own]
    assert {"type": "tool-output-available", "toolCallId": "c1", "output": "rain in Lima"} in found


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    """Leave out ids and times, which differ from run to run."""
    return {name: part[name] for name in part if name not in ("id", "messageMetadata")}


async def test_parts_and_text_of_a_run_without_a_protocol(provider):
    provider.replies(*an_agents_work())
    found = await collected(parts(agent().run_stream_events("Why?", deps="rain")))
    assert [part["type"] for part in found][:: len(found) - 1] == ["start", "finish"]
    provider.forget()
    provider.replies(*an_agents_work())
    words = await collected(text(agent().run_stream_events("Why?", deps="rain")))
    assert "".join(words) == "It rains."


async def test_events_of_ag_ui_are_events_of_the_protocol(provider):
    provider.replies(*an_agents_work())
    found = await collected(events(ag_ui_adapter(), deps="rain"))
    for event in found:
        TypeAdapter(Event).validate_python(event)
    assert found[0]["type"] == "RUN_STARTED"
    assert found[-1]["type"] == "RUN_FINISHED"
    (result,) = [event for event in found if event["type"] == "TOOL_CALL_RESULT"]
    assert result["content"] == "rain in Lima"


async def test_a_failed_run_raises_what_it_failed_with_in_both_protocols(provider):
    wire = Chat()
    provider.replies(Reply(body=[wire.start(), wire.text("Hel"), wire.error()]))
    for source in (parts(adapter(), deps=""), events(ag_ui_adapter(), deps="")):
        found: list[Any] = []
        with pytest.raises(Exception, match="overloaded"):
            await collect(source, found)
        assert found[-1]["type"] in ("text-end", "TEXT_MESSAGE_END")


class Metered(AcquireView):
    """An agent that has asked once, and is cut off in its second request."""

    format = "ui_message"

    async def produce(self, request: Any) -> Any:
        return parts(adapter(), deps="rain")


class MeteredText(Metered):
    format = "raw"

    async def produce(self, request: Any) -> Any:
        return text(agent().run_stream_events("Why?", deps="rain"))


@pytest.mark.parametrize("view", [Metered, MeteredText])
async def test_a_cancelled_run_has_the_usage_so_far(ask, provider, hear, view):
    finalized = hear(stream_finalized)
    wire = Chat()
    first, _ = an_agents_work()
    provider.replies(first, Reply(body=[wire.start(), wire.text("It ", "rains"), HANG]))
    async with ask(view) as visit:
        await visit.until(b"rains")
        await visit.cancel()
        await visit.provider_left(1)
    usage = await usage_in(finalized)
    assert usage["input_tokens"] == 100
    assert usage["output_tokens"] == 20
    assert usage["output_characters"] == len("It rains")


async def test_a_model_in_this_process_is_closed_by_a_cancellation(ask):
    closed = asyncio.Event()

    async def answer(messages: Any, info: AgentInfo) -> Any:
        try:
            yield "Hel"
            await asyncio.get_running_loop().create_future()
        finally:
            closed.set()

    class Local(AcquireView):
        async def produce(self, request: Any) -> Any:
            return text(Agent(FunctionModel(stream_function=answer)).run_stream_events("Why?"))

    async with ask(Local) as visit:
        await visit.until(b"Hel")
        await visit.cancel()
        async with within(1):
            await closed.wait()
