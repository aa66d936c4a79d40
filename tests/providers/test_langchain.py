"""LangChain and LangGraph: several models, tools, modes and subgraphs."""

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from resumable_streams.contrib.answers import Part
from resumable_streams.contrib.langchain import parts, text
from resumable_streams.signals import stream_finalized
from resumable_streams.views import AcquireView

from .conftest import usage_in
from .server import Reply
from .wires import Chat

pytestmark = pytest.mark.lengthy

QUESTION = {"messages": [{"role": "user", "content": "Why?"}]}


def model() -> ChatOpenAI:
    return ChatOpenAI(model="m", stream_usage=True, max_retries=0)


@tool
async def look(place: str) -> str:
    """Look at a place."""
    return f"rain in {place}"


def told(*words: str) -> Reply:
    wire = Chat()
    return Reply(body=[wire.start(), wire.text(*words), wire.end()])


def called() -> Reply:
    wire = Chat()
    call = wire.call("c1", "look", '{"place":', ' "Lima"}')
    return Reply(body=[wire.start(), call, wire.end("tools")])


def kinds(found: list[Part]) -> list[str]:
    return [part["type"] for part in found if not part["type"].endswith("-delta")]


def words(found: list[Part]) -> str:
    return "".join(part["delta"] for part in found if part["type"] == "text-delta")


async def collected(source: Any) -> list[Any]:
    return [item async for item in source]


def agent() -> Any:
    bound = model().bind_tools([look])

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    def following(state: Any) -> str:
        return "tools" if state["messages"][-1].tool_calls else "__end__"

    graph = StateGraph(MessagesState).add_node("ask", ask).add_node("tools", ToolNode([look]))
    graph.add_edge(START, "ask").add_edge("tools", "ask")
    return graph.add_conditional_edges("ask", following).compile()


async def test_an_agent_shows_its_steps_its_calls_and_their_outputs(provider):
    provider.replies(called(), told("It ", "rains."))
    found = await collected(parts(agent().astream(QUESTION, stream_mode="messages")))
    assert kinds(found) == [
        "start-step",
        "tool-input-start",
        "tool-input-available",
        "tool-output-available",
        "finish-step",
        "start-step",
        "text-start",
        "text-end",
        "finish-step",
        "message-metadata",
    ]
    named = {"toolCallId": "c1", "toolName": "look"}
    assert {"type": "tool-input-available", **named, "input": {"place": "Lima"}} in found
    output = {"type": "tool-output-available", "toolCallId": "c1", "output": "rain in Lima"}
    assert output in found
    assert words(found) == "It rains."
    usage = found[-1]["messageMetadata"]["usage"]
    assert usage["inputTokens"] == 200  # of two requests


@pytest.mark.parametrize(
    "options",
    [
        {"stream_mode": "messages", "version": "v2"},
        {"stream_mode": ["messages", "updates"]},
        {"stream_mode": ["values", "messages"], "version": "v2"},
        {"stream_mode": "messages", "subgraphs": True},
        {"stream_mode": ["messages", "tasks"], "subgraphs": True},
    ],
    ids=str,
)
async def test_every_shape_of_a_stream_is_the_same_answer(provider, options):
    provider.replies(called(), told("It ", "rains."))
    expected = await collected(parts(agent().astream(QUESTION, stream_mode="messages")))
    provider.forget()
    provider.replies(called(), told("It ", "rains."))
    found = await collected(parts(agent().astream(QUESTION, **options)))
    assert found[:-1] == expected[:-1]


async def test_text_and_parts_of_the_custom_mode(provider):
    async def work(state: MessagesState) -> dict[str, Any]:
        write = get_stream_writer()
        write("Looking. ")
        write({"type": "data-progress", "data": 3})
        write({"not": "a part"})
        return {"messages": [await model().ainvoke(state["messages"])]}

    graph: Any = StateGraph(MessagesState).add_node("work", work).add_edge(START, "work").compile()
    provider.replies(told("Done."))
    for version in ("v1", "v2"):
        stream = graph.astream(QUESTION, stream_mode=["custom", "messages"], version=version)
        found = await collected(parts(stream))
        assert words(found) == "Looking. Done."
        assert {"type": "data-progress", "data": 3} in found
        assert kinds(found).count("text-start") == kinds(found).count("text-end") == 2


@pytest.mark.parametrize("mode", ["updates", "values"])
async def test_a_stream_without_messages_is_refused_with_the_remedy(mode):
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Done.")]}

    graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
    compiled: Any = graph.compile()
    with pytest.raises(TypeError, match='stream_mode="messages"'):
        await collected(parts(compiled.astream(QUESTION, stream_mode=mode)))


async def test_models_that_answer_at_once_have_blocks_of_their_own(provider):
    first, second = asyncio.Event(), asyncio.Event()
    wire = Chat()
    provider.replies(
        Reply(body=[wire.start(), wire.text("a1"), first, wire.text("a2"), wire.end()]),
        Reply(body=[wire.start(), wire.text("b1"), second, wire.text("b2"), wire.end()]),
    )

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model().ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("one", ask).add_node("other", ask)
    both: Any = graph.add_edge(START, "one").add_edge(START, "other").compile()
    found: list[Part] = []
    async for part in parts(both.astream(QUESTION, stream_mode="messages")):
        found.append(part)
        if words(found) in ("a1b1", "b1a1"):
            first.set()
        if "a2" in words(found):
            second.set()
    blocks: dict[str, str] = {}
    for part in found:
        if part["type"] == "text-delta":
            blocks[part["id"]] = blocks.get(part["id"], "") + part["delta"]
    assert sorted(blocks.values()) == ["a1a2", "b1b2"]
    assert kinds(found).count("start-step") == kinds(found).count("finish-step") == 1
    assert kinds(found).index("finish-step") > max(
        at for at, kind in enumerate(kinds(found)) if kind == "text-end"
    )


async def test_a_tool_that_fails_is_an_error_of_its_call():
    async def source() -> Any:
        chunk: Any = {
            "type": "tool_call_chunk",
            "name": "look",
            "args": "{",
            "id": "c1",
            "index": 0,
        }
        yield AIMessageChunk(content="", id="m", tool_call_chunks=[chunk])
        yield AIMessageChunk(content="", id="m", chunk_position="last")
        yield ToolMessage("no such place", tool_call_id="c1", status="error")

    found = await collected(parts(source()))
    assert kinds(found)[2:4] == ["tool-input-error", "tool-output-error"]
    assert found[-3]["errorText"] == "no such place"


async def test_calls_with_one_index_are_all_whole(provider):
    one, other = Chat(), Chat()
    calls = [one.call("c1", "a", '{"b": 1}'), other.call("c2", "a", '{"b": 2}')]
    provider.replies(Reply(body=[one.start(), *calls, one.end("tools")]))
    found = await collected(parts(model().astream("Why?")))
    inputs = [part["input"] for part in found if part["type"] == "tool-input-available"]
    assert inputs == [{"b": 1}, {"b": 2}]


async def test_a_call_without_an_id_is_given_one():
    async def messages() -> Any:
        for name, args in (("look", '{"place": '), (None, '"Lima"}')):
            chunk = tool_call_chunk(name=name, args=args, id=None, index=0)
            yield AIMessageChunk(content="", id="m", tool_call_chunks=[chunk])
        yield AIMessageChunk(content="", id="m", chunk_position="last")

    found = await collected(parts(messages()))
    start, whole = found[1], found[-3]
    assert (start["type"], start["toolName"]) == ("tool-input-start", "look")
    assert (whole["toolCallId"], whole["input"]) == (start["toolCallId"], {"place": "Lima"})


async def test_text_of_a_model_and_of_a_chain(provider):
    provider.replies(told("Hel", "lo"))
    assert await collected(text(model().astream("Why?"))) == ["Hel", "lo"]
    chain = model() | StrOutputParser()
    assert "".join(await collected(text(chain.astream("Why?")))) == "Hello"


async def test_a_synchronous_stream_is_refused(provider):
    with pytest.raises(TypeError, match="astream"):
        await collected(parts(model().stream("Why?")))  # type: ignore[arg-type]
    assert provider.exchanges == []


class Chain(AcquireView):
    """A chain that yields text, as it is."""

    async def produce(self, request: Any) -> Any:
        return (model() | StrOutputParser()).astream("Why?")


class Rounds(AcquireView):
    """An agent that asks its model twice."""

    format = "ui_message"

    async def produce(self, request: Any) -> Any:
        return parts(agent().astream(QUESTION, stream_mode="messages"))


async def test_the_usage_of_all_requests_adds_up(ask, provider, hear):
    finalized = hear(stream_finalized)
    provider.replies(called(), told("It ", "rains."))
    async with ask(Rounds) as visit:
        await visit.whole()
    assert await usage_in(finalized) == {
        "requests": 2,
        "input_tokens": 200,
        "output_tokens": 40,
        "cached_tokens": 128,
        "cache_write_tokens": 0,
        "reasoning_tokens": 10,
        "output_characters": len('{"place": "Lima"}' + "It rains."),
    }


async def test_a_chain_of_text_needs_no_line_at_all(ask, provider):
    provider.replies(told("Hel", "lo"))
    async with ask(Chain) as visit:
        assert await visit.whole() == b"Hello"
