"""The rest of docs/providers.md: an agent of one's own, billing, and sources that need no line."""

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.ui.vercel_ai import VercelAIAdapter

from resumable_streams.contrib.openai import text
from resumable_streams.formats import encoded
from resumable_streams.signals import stream_finalized
from resumable_streams.views import AcquireView
from tests.tools.waiting import eventually

from .conftest import fresh, parts_of, usage_in
from .server import HANG, Reply
from .test_providers import FROM_THE_AI_SDK, joined
from .wires import Chat, Responses

pytestmark = pytest.mark.lengthy


async def test_an_agent_of_ones_own_is_one_message_of_several_steps(ask, provider, hear):
    finalized = hear(stream_finalized)
    call, told = Responses(), Responses()
    called = call.call("c1", "look", '{"place": "Lima"}')
    provider.replies(
        Reply(body=[call.start(), called, call.end("tools")]),
        Reply(body=[told.start(), told.text("It rains."), told.end()]),
    )
    async with ask("with_tools") as visit:
        parts = parts_of(await visit.whole())
    assert [part["type"] for part in parts if part["type"] in MARKS] == [
        "start",
        "start-step",
        "finish-step",
        "tool-output-available",
        "start-step",
        "finish-step",
        "finish",
    ]
    assert joined(parts, "text") == "It rains."
    output = {"type": "function_call_output", "output": "rain in Lima", "call_id": "c1"}
    assert provider.exchanges[1].body["input"][-1] == output
    assert await usage_in(finalized) == {
        "requests": 2,
        "input_tokens": 200,
        "output_tokens": 40,
        "cached_tokens": 128,
        "reasoning_tokens": 10,
        "output_characters": len('{"place": "Lima"}' + "It rains."),
    }
    (*_, last) = [part for part in parts if part["type"] == "message-metadata"]
    assert last["messageMetadata"]["usage"]["inputTokens"] == 200


MARKS = ("start", "start-step", "finish-step", "tool-output-available", "finish")


class Charge:
    """The model of a project that bills."""

    saved: list[dict[str, Any]]

    @property
    def objects(self) -> Any:
        return self

    def update_or_create(self, **named: Any) -> None:
        self.saved.append(named)


@pytest.fixture
def charges(monkeypatch, pages):
    """Return what the receiver of the page saves."""
    charge, models = Charge(), ModuleType("answers.models")
    charge.saved, models.Charge = [], charge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "answers.models", models)
    billing = fresh("answers.billing")
    yield charge.saved
    stream_finalized.disconnect(billing.bill)


async def test_a_receiver_bills_whole_and_cancelled_answers(ask, provider, charges):
    wire = Responses()
    provider.replies(
        Reply(body=[wire.start(), wire.text("Hello"), wire.end()]),
        Reply(body=[wire.start(), wire.text("Hello, hello"), HANG]),
    )
    async with ask("with_openai") as visit:
        await visit.whole()
    async with ask("with_openai") as visit:
        await visit.until(b"hello")
        await visit.cancel()
        await visit.whole()
        await visit.provider_left(1)
    await eventually(lambda: len(charges) == 2)
    assert [charge["defaults"] for charge in charges] == [
        {"owner": "ada", "input_tokens": 100, "output_tokens": 20},
        {"owner": "ada", "input_tokens": 0, "output_tokens": 3},
    ]
    assert len({charge["stream"] for charge in charges}) == 2


@pytest.mark.parametrize("name", ["raw", "sse", "ndjson", "ui_message", "ag_ui"])
async def test_the_words_of_an_answer_go_into_every_format(ask, provider, name):
    class Words(AcquireView):
        format = name

        async def produce(self, request: Any) -> Any:
            return text(AsyncOpenAI().responses.create(model="m", input="?", stream=True))

    wire = Responses()
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo\n"), wire.end()]))
    async with ask(Words) as visit:
        body = await visit.whole()
        assert (await visit.status())["status"] == "done"
    assert WORDS[name](body) == "Hello\n"


def deltas(body: bytes) -> str:
    frames = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
    return "".join(json.loads(frame).get("delta", "") for frame in frames)


def events(body: bytes) -> str:
    """Return the data of the events without a name, of which each line is one of the text."""
    frames = [frame.split(b"\n") for frame in body.split(b"\n\n") if frame.startswith(b"data:")]
    data = [[line[6:] for line in frame if line.startswith(b"data:")] for frame in frames]
    return b"".join(b"\n".join(lines) for lines in data).decode()


WORDS: dict[str, Callable[[bytes], str]] = {
    "raw": bytes.decode,
    "sse": events,
    "ndjson": lambda body: "".join(json.loads(line) for line in body.splitlines()),
    "ui_message": deltas,
    "ag_ui": deltas,
}


class Frames(AcquireView):
    """Ready frames of another library's encoder."""

    format = "ui_message"

    async def produce(self, request: Any) -> Any:
        run_input = VercelAIAdapter.build_run_input(request.body)
        adapter: Any = VercelAIAdapter(Agent("openai-chat:m"), run_input)
        return encoded(adapter.encode_stream(adapter.run_stream()))


async def test_an_encoder_of_ready_frames_goes_through_encoded(ask, provider):
    wire = Chat()
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), wire.end()]))
    async with ask(Frames, FROM_THE_AI_SDK) as visit:
        body = await visit.whole()
    assert joined(parts_of(body), "text") == "Hello"
    assert body.count(b"[DONE]") == body.count(b'"finish"') == 1


class Events(AcquireView):
    """The events of a client, as they are."""

    format = "sse"

    async def produce(self, request: Any) -> Any:
        async for event in await AsyncOpenAI().responses.create(model="m", input="?", stream=True):
            yield event


async def test_events_of_a_client_are_events_of_sse_as_they_are(ask, provider):
    wire = Responses()
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), wire.end()]))
    async with ask(Events) as visit:
        body = await visit.whole()
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: ")]
    events = [json.loads(line.removeprefix(b"data: ")) for line in lines[:-1]]
    assert events[0]["type"] == "response.created"
    assert [
        event["delta"] for event in events if event["type"] == "response.output_text.delta"
    ] == [
        "Hel",
        "lo",
    ]
