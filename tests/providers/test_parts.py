"""The parts of each API's answers, part by part."""

from typing import Any

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from resumable_streams.contrib import anthropic, openai
from resumable_streams.contrib.answers import AnswerFailed, Part

from .server import HANG, Provider, Reply
from .wires import WIRES, Chat, Messages, Responses, Wire

pytestmark = pytest.mark.lengthy

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Why?"}]}


def chat(**options: Any) -> Any:
    client = AsyncOpenAI(max_retries=0, **options)
    return client.chat.completions.create(
        **ASK, stream=True, stream_options={"include_usage": True}
    )


def responses(**options: Any) -> Any:
    return AsyncOpenAI(max_retries=0, **options).responses.create(model="m", input="?", stream=True)


def messages(**options: Any) -> Any:
    client = AsyncAnthropic(max_retries=0, **options)
    return client.messages.create(**ASK, max_tokens=100, stream=True)


APIS = {
    "chat": (openai, chat),
    "responses": (openai, responses),
    "messages": (anthropic, messages),
}


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def wire(api: str) -> Wire:
    return WIRES[api]()


async def collected(source: Any) -> list[Any]:
    return [item async for item in source]


async def parts_from(api: str, provider: Provider, *body: Any, **options: Any) -> list[Part]:
    provider.replies(Reply(body=body))
    module, ask = APIS[api]
    return await collected(module.parts(ask(**options)))


def of(parts: list[Part], kind: str) -> list[Part]:
    return [part for part in parts if part["type"].startswith(kind)]


async def test_the_whole_answer_part_by_part(api, wire, provider):
    parts = await parts_from(
        api,
        provider,
        wire.start(),
        wire.reasoning("So"),
        wire.text("Hel", "lo"),
        wire.call("c1", "look", '{"place":', '"Lima"}'),
        wire.end("tools"),
    )
    named = {"toolCallId": "c1", "toolName": "look"}
    (end_of_reasoning,) = of(parts, "reasoning-end")
    assert parts == [
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "reasoning-1"},
        {"type": "reasoning-delta", "id": "reasoning-1", "delta": "So"},
        end_of_reasoning,
        {"type": "text-start", "id": "text-2"},
        {"type": "text-delta", "id": "text-2", "delta": "Hel"},
        {"type": "text-delta", "id": "text-2", "delta": "lo"},
        {"type": "text-end", "id": "text-2"},
        {"type": "tool-input-start", **named},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"place":'},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '"Lima"}'},
        {"type": "tool-input-available", **named, "input": {"place": "Lima"}},
        {"type": "finish-step"},
        parts[-1],
    ]
    assert end_of_reasoning["id"] == "reasoning-1"
    metadata = parts[-1]["messageMetadata"]
    assert metadata["finishReason"] == "tool-calls"
    assert metadata["usage"]["inputTokens"] == 100
    assert metadata["usage"]["outputTokens"] == 20
    assert metadata["usage"]["cachedInputTokens"] == 64


@pytest.mark.parametrize(
    ("api", "kept"),
    [
        ("responses", {"openai": {"itemId": "rs_1", "reasoningEncryptedContent": "gAAA"}}),
        ("messages", {"anthropic": {"signature": "EqQB"}}),
    ],
)
async def test_reasoning_keeps_what_the_next_request_needs(api, wire, provider, kept):
    parts = await parts_from(api, provider, wire.start(), wire.reasoning("So"), wire.end())
    assert of(parts, "reasoning-end")[0]["providerMetadata"] == kept


async def test_an_answer_cut_by_its_limit_says_so(api, wire, provider):
    parts = await parts_from(api, provider, wire.start(), wire.text("Hel"), wire.end("length"))
    assert parts[-1]["messageMetadata"]["finishReason"] == "length"


async def test_a_call_without_input_has_an_empty_one(api, wire, provider):
    parts = await parts_from(api, provider, wire.start(), wire.call("c1", "now"), wire.end("tools"))
    assert of(parts, "tool-input-available")[0]["input"] == {}


async def test_input_that_is_no_json_is_an_error_of_the_call(api, wire, provider):
    call = wire.call("c1", "look", '{"pla')
    parts = await parts_from(api, provider, wire.start(), call, wire.end("length"))
    assert of(parts, "tool-input-error")[0]["input"] == '{"pla'
    assert of(parts, "tool-input-available") == []


async def test_an_answer_without_words_is_whole(api, wire, provider):
    parts = await parts_from(api, provider, wire.start(), wire.text(""), wire.end())
    assert [part["type"] for part in parts] == ["start-step", "finish-step", "message-metadata"]


async def test_text_is_the_words_alone(api, wire, provider):
    body = [wire.start(), wire.reasoning("So"), wire.text("Hel", "lo"), wire.end()]
    provider.replies(Reply(body=body))
    module, ask = APIS[api]
    assert await collected(module.text(ask())) == ["Hel", "lo"]


async def test_the_context_managers_of_the_clients_are_the_same_answer(api, wire, provider):
    body = [wire.start(), wire.text("Hel", "lo"), wire.end()]
    expected = await parts_from(api, provider, *body)
    streams: dict[str, Any] = {
        "chat": lambda: AsyncOpenAI().chat.completions.stream(
            **ASK, stream_options={"include_usage": True}
        ),
        "responses": lambda: AsyncOpenAI().responses.stream(model="m", input="?"),
        "messages": lambda: AsyncAnthropic().messages.stream(**ASK, max_tokens=100),
    }
    assert await collected(APIS[api][0].parts(streams[api]())) == expected


async def test_an_awaited_stream_is_the_same_answer(api, wire, provider):
    body = [wire.start(), wire.text("Hel", "lo"), wire.end()]
    expected = await parts_from(api, provider, *body)
    module, ask = APIS[api]
    assert await collected(module.parts(await ask())) == expected


async def test_a_synchronous_stream_is_refused():
    with pytest.raises(TypeError, match="AsyncOpenAI"):
        await collected(openai.parts(iter([])))  # type: ignore[arg-type]


async def test_an_answer_that_is_no_stream_is_refused(provider):
    whole = b'{"id": "r", "object": "response", "output": []}'
    provider.replies(Reply(body=[whole], headers={"Content-Type": "application/json"}))
    with pytest.raises(TypeError, match="ask it for a stream"):
        await collected(openai.parts(AsyncOpenAI().responses.create(model="m", input="?")))  # type: ignore[arg-type]


async def test_a_hang_ends_with_the_time_limit_of_the_client(api, wire, provider):
    with pytest.raises(Exception) as raised:  # noqa: PT011
        await parts_from(api, provider, wire.start(), wire.text("Hel"), HANG, timeout=0.1)
    assert "Timeout" in type(raised.value).__name__
    await provider.exchanges[0].left.wait()


# --- what only some APIs have ---


async def test_calls_at_once_are_told_apart(provider):
    pieces = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "a", "arguments": ""}},
        {"index": 1, "id": "c2", "type": "function", "function": {"name": "b", "arguments": ""}},
        {"index": 0, "function": {"arguments": "[1]"}},
        {"index": 1, "function": {"arguments": "[2]"}},
    ]
    wire = Chat()
    deltas = [wire.delta({"tool_calls": [piece]}) for piece in pieces]
    parts = await parts_from("chat", provider, wire.start(), *deltas, wire.end("tools"))
    inputs = {part["toolName"]: part["input"] for part in of(parts, "tool-input-available")}
    assert inputs == {"a": [1], "b": [2]}


async def test_calls_with_one_index_are_all_whole(provider):
    one, other = Chat(), Chat()
    body = [one.start(), one.call("c1", "a", "[1]"), other.call("c2", "b", "[2]"), one.end()]
    parts = await parts_from("chat", provider, *body)
    inputs = {part["toolName"]: part["input"] for part in of(parts, "tool-input-available")}
    assert inputs == {"a": [1], "b": [2]}


async def test_a_call_without_an_id_gets_one(provider):
    wire = Chat()
    pieces = [{"name": "a", "arguments": ""}, {"arguments": "[1]"}]
    deltas = [wire.delta({"tool_calls": [{"index": 0, "function": one}]}) for one in pieces]
    parts = await parts_from("chat", provider, wire.start(), *deltas, wire.end("tools"))
    (call,) = of(parts, "tool-input-available")
    assert (call["toolName"], call["input"]) == ("a", [1])
    assert call["toolCallId"]


async def test_a_call_in_one_event_is_whole(provider):
    wire = Responses()
    call = {"type": "function_call", "call_id": "c1", "name": "a", "arguments": "[1]"}
    done = wire.event("response.output_item.done", output_index=0, item=call)
    parts = await parts_from("responses", provider, wire.start(), done, wire.end())
    assert [part["type"] for part in of(parts, "tool-")] == [
        "tool-input-start",
        "tool-input-delta",
        "tool-input-available",
    ]
    assert of(parts, "tool-input-available")[0]["input"] == [1]


async def test_the_chunk_of_azure_without_choices_adds_nothing(provider):
    wire = Chat()
    empty = b'data: {"id": "", "choices": [], "created": 0, "model": "", "object": ""}\n\n'
    parts = await parts_from("chat", provider, empty, wire.start(), wire.text("a"), wire.end())
    assert len(of(parts, "text-delta")) == 1


async def test_a_failed_response_names_its_error_and_has_its_usage(provider):
    wire = Responses()
    provider.replies(Reply(body=[wire.start(), wire.text("Hel"), wire.error()]))
    with pytest.raises(AnswerFailed, match="server_error"):
        await collected(openai.parts(responses()))


async def test_tools_that_openai_runs_have_inputs_and_outputs(provider):
    wire = Responses()
    search = {"id": "ws_1", "type": "web_search_call", "status": "in_progress"}
    action = {"type": "search", "query": "rain"}
    mcp = {"id": "mcp_1", "type": "mcp_call", "name": "forecast", "server_label": "weather"}
    parts = await parts_from(
        "responses",
        provider,
        wire.start(),
        wire.item(search, b"", {"action": action}),
        wire.item({**mcp, "arguments": ""}, b"", {"arguments": '{"at": 1}', "output": "rain"}),
        wire.item({**mcp, "id": "mcp_2", "arguments": ""}, b"", {"error": "away"}),
        wire.end(),
    )
    (searched, asked, failed) = of(parts, "tool-input-available")
    assert searched["toolName"] == "web_search"
    assert searched["input"] == {"action": action}
    assert (asked["toolName"], asked["input"]) == ("forecast", {"at": 1})
    assert all(part["providerExecuted"] for part in of(parts, "tool-output"))
    assert all(part["providerExecuted"] for part in of(parts, "tool-input-available"))
    assert [part["output"] for part in of(parts, "tool-output-available")] == [{}, "rain"]
    assert of(parts, "tool-output-error")[0]["errorText"] == "away"
    assert failed["toolCallId"] == "mcp_2"
    assert parts[-1]["messageMetadata"]["finishReason"] == "stop"


async def test_what_openai_cites_is_a_source_once(provider):
    wire = Responses()
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "annotation_index": 0}
    page = {"type": "url_citation", "url": "https://rain.example", "title": "Rain"}
    cited = [
        wire.event("response.output_text.annotation.added", **at, annotation=annotation)
        for annotation in (
            {**page, "start_index": 0, "end_index": 1},
            {**page, "start_index": 2, "end_index": 3},
            {"type": "file_citation", "file_id": "f", "filename": "f.txt", "index": 1},
        )
    ]
    parts = await parts_from("responses", provider, wire.start(), *cited, wire.end())
    (source,) = of(parts, "source-url")
    assert (source["url"], source["title"]) == ("https://rain.example", "Rain")


async def test_an_error_event_of_a_response_fails_it_with_its_words(provider):
    error = {"code": "rate_limit_exceeded", "message": "Slow down.", "param": None}
    provider.replies(Reply(body=[Responses().event("error", **error)]))
    with pytest.raises(AnswerFailed, match="rate_limit_exceeded: Slow down"):
        await collected(openai.parts(responses()))


async def test_tools_that_anthropic_runs_have_inputs_and_outputs(provider):
    wire = Messages()
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    query = {"type": "input_json_delta", "partial_json": '{"query": "rain"}'}
    page = {"type": "web_search_result", "title": "Rain", "url": "https://rain.example"}
    result = {"type": "web_search_tool_result", "tool_use_id": "s1"}
    failure = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    citation = {
        "type": "web_search_result_location",
        "url": "https://rain.example",
        "title": "Rain",
        "cited_text": "It rains.",
        "encrypted_index": "E",
    }
    parts = await parts_from(
        "messages",
        provider,
        wire.start(),
        wire.block(use, query),
        wire.block({**result, "content": [{**page, "encrypted_content": "E", "page_age": None}]}),
        wire.block({**use, "id": "s2"}, query),
        wire.block({**result, "tool_use_id": "s2", "content": failure}),
        wire.block(
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "It rains."},
            {"type": "citations_delta", "citation": citation},
            {"type": "citations_delta", "citation": citation},
        ),
        wire.end(),
    )
    assert of(parts, "tool-input-available")[0]["input"] == {"query": "rain"}
    (output,) = of(parts, "tool-output-available")
    assert output["providerExecuted"]
    assert output["output"][0]["url"] == "https://rain.example"
    assert of(parts, "tool-output-error")[0]["errorText"] == "unavailable"
    (source,) = of(parts, "source-url")
    assert (source["url"], source["title"]) == ("https://rain.example", "Rain")
