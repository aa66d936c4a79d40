"""What holds for every provider: through its own client, a view of the page, to a reader."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from resumable_streams import streams
from resumable_streams.signals import stream_finalized
from tests.tools.waiting import eventually, within

from .conftest import QUESTION, SOON, Ask, fresh, parts_of, usage_in
from .server import HANG, Reply
from .wires import ERROR, WIRES, Wire

pytestmark = pytest.mark.lengthy

MESSAGE = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Why?"}]}
FROM_THE_AI_SDK = {"trigger": "submit-message", "id": "c1", "messages": [MESSAGE]}


@dataclass(frozen=True)
class Case:
    """A view of the page: what it is asked, what its provider speaks, what it can know."""

    view: str
    wire: str
    question: Any = None
    sees_a_clean_break: bool = True

    def speak(self) -> Wire:
        return WIRES[self.wire]()


CASES = [
    Case("with_openai", "responses"),
    Case("with_chat_completions", "chat"),
    Case("with_anthropic", "messages"),
    Case("with_pydantic_ai", "chat", FROM_THE_AI_SDK, sees_a_clean_break=False),
    Case("with_langgraph", "chat", sees_a_clean_break=False),
]


@pytest.fixture(params=CASES, ids=lambda case: case.view)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture
def wire(case: Case) -> Wire:
    return case.speak()


@pytest.fixture
def visit(ask: Ask, case: Case):
    """Return a context manager that asks the view of the case."""
    return lambda: ask(case.view, case.question or QUESTION)


def joined(parts: list[dict[str, Any]], kind: str) -> str:
    return "".join(part["delta"] for part in parts if part["type"] == f"{kind}-delta")


async def test_text_and_reasoning_arrive_as_parts(visit, wire, case, provider):
    provider.replies(
        Reply(body=[wire.start(), wire.reasoning("So ", "☕"), wire.text("Hel", "lo"), wire.end()])
    )
    async with visit() as answer:
        assert answer.response.status_code == 200
        parts = parts_of(await answer.whole())
        assert (await answer.status())["status"] == "done"
    assert joined(parts, "text") == "Hello"
    if case.view != "with_langgraph":  # ChatOpenAI reads no reasoning from chat completions
        assert joined(parts, "reasoning") == "So ☕"
    assert provider.exchanges[0].path == wire.path
    kinds = [part["type"] for part in parts]
    assert kinds[:2] == ["start", "start-step"]
    assert kinds[-1] == "finish"
    assert kinds.count("start-step") == kinds.count("finish-step") == 1
    assert kinds.count("text-start") == kinds.count("text-end") == 1


async def test_every_resume_is_the_rest_byte_for_byte(visit, wire, provider):
    provider.replies(
        Reply(body=[wire.start(), wire.text("Hel", "lo"), wire.call("c1", "look", "{}"), HANG])
    )
    async with visit() as answer:
        await answer.until(b"tool-input-delta")
        await answer.cancel()
        whole, log = await answer.whole(), await answer.log()
        ends = [at + 2 for at in range(len(log)) if log[at : at + 2] == b"\n\n"]
        assert len(ends) > 4
        for end in [0, *ends]:
            rest = (await answer.client.get(answer.address, params={"offset": end})).content
            assert whole.endswith(rest)
            assert len(parts_of(rest)) == log[end:].count(b"\n\n") + 1  # `abort`


async def test_a_cancellation_closes_the_connection_to_the_provider(
    visit, wire, case, provider, hear
):
    finalized = hear(stream_finalized)
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), HANG]))
    async with visit() as answer:
        await answer.until(b'"lo"')
        await answer.cancel()
        await answer.provider_left()
        parts = parts_of(await answer.whole())
        assert (await answer.status())["status"] == "cancelled"
    assert joined(parts, "text") == "Hello"
    assert parts[-1]["type"] == "abort"
    usage = await usage_in(finalized)
    assert usage["output_characters"] == 5
    assert usage["requests"] == 1
    if case.wire == "messages":  # Anthropic counts the input first
        assert usage["input_tokens"] == 100


async def test_a_cancellation_before_the_first_byte_closes_the_connection(visit, provider):
    provider.replies(Reply(is_mute=True))
    async with visit() as answer:
        await eventually(lambda: len(provider.exchanges) > 0)
        await answer.cancel()
        await answer.provider_left()
        assert parts_of(await answer.whole())[-1] == {"type": "abort"}


async def test_a_source_that_is_closed_in_mid_answer_closes_the_connection(
    wire, case, provider, pages, rf
):
    """So it goes with a limit, or a cancellation that finds the producer waiting for the store."""
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), HANG]))
    question = json.dumps(case.question or QUESTION)
    view = fresh(f"answers.{case.view}").Answer()
    source = await view.produce(rf.post("/", question, content_type="application/json"))
    async for item in source:
        if item.get("delta") == "lo":
            break
    await source.aclose()
    async with within(SOON):
        await provider.exchanges[0].left.wait()


async def test_a_cancellation_in_another_process_closes_the_connection(
    configure_redis, ask, provider
):
    """On Redis: the processes share nothing but the store."""
    wire = WIRES["responses"]()
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), HANG]))
    configure_redis(OWNER="tests.providers.conftest.owner")
    async with ask("with_openai") as answer:
        await answer.until(b'"lo"')
        stream_id = answer.response.headers["X-Resumable-Stream-Id"]
        await streams.using("elsewhere").acancel(stream_id, owner="ada")
        await answer.provider_left()
        assert parts_of(await answer.whole())[-1] == {"type": "abort"}


async def test_a_deletion_closes_the_connection(visit, wire, provider):
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), HANG]))
    async with visit() as answer:
        await answer.until(b'"lo"')
        assert (await answer.client.delete(answer.address)).status_code == 204
        await answer.provider_left()


async def test_a_limit_closes_the_connection(visit, wire, provider, settings):
    entry = {**settings.RESUMABLE_STREAMS["default"], "LIMITS": {"MAX_STREAM_BYTES": 2_000}}
    settings.RESUMABLE_STREAMS = {"default": entry}
    provider.replies(Reply(body=[wire.start(), wire.text(*["more "] * 100), HANG]))
    async with visit() as answer:
        assert parts_of(await answer.whole())[-1]["type"] == "error"
        assert (await answer.status())["error"] == "limit_exceeded"
        await answer.provider_left()


async def test_a_reader_that_leaves_does_not(visit, wire, provider):
    more = asyncio.Event()
    provider.replies(
        Reply(body=[wire.start(), wire.text("Hel"), more, wire.text("lo"), wire.end()])
    )
    async with visit() as answer:
        await answer.until(b'"Hel"')
        await answer.response.aclose()
        more.set()
        rest = await answer.client.get(answer.address)
        assert joined(parts_of(rest.content), "text") == "Hello"
        assert not answer.exchange.left.is_set()


async def test_an_error_in_the_middle_ends_the_stream_as_failed(visit, wire, provider, hear):
    finalized = hear(stream_finalized)
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), wire.error()]))
    async with visit() as answer:
        parts = parts_of(await answer.whole())
        status = await answer.status()
    assert (status["status"], status["error"]) == ("error", "source_failed")
    assert joined(parts, "text") == "Hello"
    assert parts[-1]["type"] == "error"
    assert ERROR not in parts[-1]["errorText"]
    assert (await usage_in(finalized))["output_characters"] == 5


async def test_a_connection_that_breaks_ends_the_stream_as_failed(visit, wire, provider):
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo")], is_whole=False))
    async with visit() as answer:
        assert joined(parts_of(await answer.whole()), "text") == "Hello"
        assert (await answer.status())["error"] == "source_failed"


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.sees_a_clean_break], ids=lambda case: case.view
)
async def test_an_answer_that_stops_in_the_middle_ends_the_stream_as_failed(visit, wire, provider):
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo")]))
    async with visit() as answer:
        assert joined(parts_of(await answer.whole()), "text") == "Hello"
        assert (await answer.status())["error"] == "source_failed"


@pytest.mark.parametrize("code", [401, 429])
async def test_a_refused_request_ends_the_stream_as_failed(visit, provider, code, caplog):
    refusal = json.dumps({"error": {"type": "refused", "message": "The key is bad."}}).encode()
    headers = {"Content-Type": "application/json", "x-should-retry": "false"}
    provider.replies(Reply(body=[refusal], status=code, headers=headers))
    async with visit() as answer:
        (error,) = [part for part in parts_of(await answer.whole()) if part["type"] != "start"]
        assert (await answer.status())["error"] == "source_failed"
    assert error["type"] == "error"
    assert "The key is bad." not in error["errorText"]
    assert "The key is bad." in caplog.text  # for the operator
    assert len(provider.exchanges) == 1


async def test_usage_of_a_whole_answer(visit, wire, provider, hear):
    finalized = hear(stream_finalized)
    provider.replies(Reply(body=[wire.start(), wire.text("Hel", "lo"), wire.end()]))
    async with visit() as answer:
        await answer.whole()
    usage = await usage_in(finalized)
    assert usage["requests"] == 1
    assert usage["input_tokens"] == 100
    assert usage["output_tokens"] == 20
    assert usage["cached_tokens"] == 64
    assert usage["output_characters"] == 5
