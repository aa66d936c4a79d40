"""The AI SDK's own client, from npm: each part of a provider's answer is one that it knows."""

import json
from typing import Any

import pytest

from tests.providers.conftest import ask, pages, provider
from tests.providers.server import Provider, Reply
from tests.providers.test_providers import CASES, Case
from tests.providers.wires import Messages

from .conftest import Node
from .test_use_chat import VERSIONS

__all__ = ["ask", "pages", "provider"]


async def message(node: Node, version: str, body: bytes) -> Any:
    read, _ = node("message.mjs", version=version, body=body.decode()).communicate()
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
        read = await message(node, version, await visit.whole())
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
        read = await message(node, version, await visit.whole())
    states = [part["state"] for part in read["parts"] if part["type"] == "tool-web_search"]
    assert states == ["output-available", "output-error"]
    assert [part["url"] for part in read["parts"] if part["type"] == "source-url"] == [page["url"]]
