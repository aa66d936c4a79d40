"""The AI SDK's and AG-UI's own clients, from npm: they know each part of a provider's answer."""

import json
from typing import Any

import pytest

from tests.providers.conftest import ask, pages, provider
from tests.providers.server import Provider, Reply
from tests.providers.test_ag_ui import RUN_INPUT, view_of
from tests.providers.test_parts import APIS
from tests.providers.test_providers import CASES, Case
from tests.providers.wires import WIRES, Chat, Messages

from .conftest import Node
from .test_use_chat import VERSIONS

__all__ = ["ask", "pages", "provider"]


def message(node: Node, version: str, body: bytes) -> Any:
    read, _ = node("message.mjs", version=version, body=body.decode()).communicate()
    return json.loads(read)


def run(node: Node, body: bytes) -> Any:
    read, _ = node("run.mjs", body=body.decode()).communicate()
    return json.loads(read)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.view)
async def test_the_client_reads_every_part_of_an_answer(
    ask: Any, provider: Provider, node: Node, version: str, case: Case
) -> None:
    wire = case.speak()
    told = [wire.start(), wire.reasoning("So"), wire.text("Hel", "lo")]
    if case.view != "with_pydantic_ai":  # it has no such tool
        told += [wire.call("c1", "look", '{"place": "Lima"}'), wire.call("c2", "look", '{"pla')]
    provider.replies(Reply(body=[*told, wire.end("tools")]))
    async with ask(case.view, case.question or {"question": "Why?"}) as visit:
        read = message(node, version, await visit.whole())
    kinds = [part["type"] for part in read["parts"]]
    assert [part["text"] for part in read["parts"] if part["type"] == "text"] == ["Hello"]
    assert "step-start" in kinds
    assert read["metadata"]
    states = [part["state"] for part in read["parts"] if part["type"] == "tool-look"]
    if case.view != "with_pydantic_ai":
        assert states == ["input-available", "output-error"]
        assert read["metadata"]["usage"]["inputTokens"] == 100


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_client_reads_tools_of_the_provider_and_sources(
    ask: Any, provider: Provider, node: Node, version: str
) -> None:
    wire = Messages()
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s1"}
    failure = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    page = {"type": "web_search_result_location", "url": "https://rain.example", "title": "Rain"}
    citation = {**page, "cited_text": "It rains.", "encrypted_index": "E"}
    provider.replies(
        Reply(
            body=[
                wire.start(),
                wire.block(use),
                wire.block({**result, "content": []}),
                wire.block({**use, "id": "s2"}),
                wire.block({**result, "tool_use_id": "s2", "content": failure}),
                wire.block(
                    {"type": "text", "text": ""},
                    {"type": "citations_delta", "citation": citation},
                    {"type": "text_delta", "text": "It rains."},
                ),
                wire.end(),
            ]
        )
    )
    async with ask("with_anthropic") as visit:
        read = message(node, version, await visit.whole())
    states = [part["state"] for part in read["parts"] if part["type"] == "tool-web_search"]
    assert states == ["output-available", "output-error"]
    assert [part["url"] for part in read["parts"] if part["type"] == "source-url"] == [page["url"]]


@pytest.mark.parametrize("api", APIS)
async def test_the_client_of_ag_ui_reads_every_event(
    ask: Any, provider: Provider, node: Node, api: str
) -> None:
    wire = WIRES[api]()
    call = wire.call("c1", "look", '{"place": "Lima"}')
    body = [wire.start(), wire.reasoning("So"), wire.text("Hel", "lo"), call, wire.end("tools")]
    provider.replies(Reply(body=body))
    async with ask(view_of(api)) as visit:
        read = run(node, await visit.whole())
    assert read["end"] == {"finished": True}
    assert [message["content"] for message in read["messages"] if message.get("content")] == [
        "So",
        "Hello",
    ]
    calls = [call for message in read["messages"] for call in message.get("toolCalls", ())]
    assert [call["function"] for call in calls] == [
        {"name": "look", "arguments": '{"place": "Lima"}'}
    ]


@pytest.mark.parametrize("is_whole", [True, False])
async def test_the_client_of_ag_ui_reads_pydantic_ais_events(
    ask: Any, provider: Provider, node: Node, is_whole: bool
) -> None:
    wire = Chat()
    provider.replies(
        Reply(body=[wire.start(), wire.text("Hello"), wire.end() if is_whole else wire.error()])
    )
    async with ask("with_ag_ui", RUN_INPUT) as visit:
        read = run(node, await visit.whole())
    assert read["end"] == {"finished": True} if is_whole else {"error": "source_failed"}
    assert read["messages"][-1]["content"] == "Hello"
