"""Tools that a client runs: the call, its result, and the answer that goes on in its message."""

from typing import Any

import pytest

from resumable_streams.contrib.chat.models import Message

from .site import Visitor, asked, body, chunks, kinds, script, words

pytestmark = [pytest.mark.urls("tests.chat.site"), pytest.mark.django_db(transaction=True)]

CALL = {"type": "tool-input-available", "toolCallId": "t1", "toolName": "where", "input": {"a": 1}}


def result(message: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what `addToolOutput` has `useChat` post."""
    done = {"state": "output-available", "output": "Here.", **changes}
    parts = [{**one, **done} if "toolCallId" in one else one for one in message["parts"]]
    return {"id": "c", "messages": [{**message, "parts": parts}], "messageId": message["id"]}


async def called(visitor: Visitor) -> dict[str, Any]:
    """Ask something for which the model calls a tool; return that message."""
    script("Let me see.", CALL)
    await visitor.ask("c")
    message: dict[str, Any] = (await visitor.history("c"))["messages"][-1]
    assert message["parts"][-1] == {
        "type": "tool-where",
        "toolCallId": "t1",
        "state": "input-available",
        "input": {"a": 1},
    }
    return message


async def test_an_answer_goes_on_in_its_message_after_a_result(visitor: Visitor):
    message = await called(visitor)
    script("You are here.")
    more = await chunks(await visitor.post(result(message)))
    assert more[0] == {"type": "start", "messageId": message["id"]}
    assert words(more) == "You are here."
    _, answer = (await visitor.history("c"))["messages"]
    assert answer["id"] == message["id"]
    assert [one["type"] for one in answer["parts"]] == [
        *("step-start", "text", "tool-where"),
        *("step-start", "text"),
    ]
    assert answer["parts"][2]["output"] == "Here."
    assert asked[1][1]["parts"][2]["state"] == "output-available"
    assert await Message.objects.acount() == 2


async def test_coming_back_meanwhile_replays_the_message_whole(visitor: Visitor):
    message = await called(visitor)
    source = script("You are", is_held=True)
    first = await visitor.post(result(message))
    history = await visitor.history("c")
    assert history["messages"][-1]["parts"] == []
    again = await visitor.get("/c/stream")
    source.end(" here.")
    replayed = await chunks(again)
    assert kinds(replayed)[:2] == ["start", "start-step"]
    assert words(replayed) == "Let me see.You are here."
    assert [one["output"] for one in replayed if one["type"] == "tool-output-available"] == [
        "Here."
    ]
    assert words(await chunks(first)) == "You are here."


async def test_the_same_result_again_joins(visitor: Visitor):
    message = await called(visitor)
    source = script("You are", is_held=True)
    first = await visitor.post(result(message))
    second = await visitor.post(result(message))
    assert first["X-Resumable-Stream-Id"] == second["X-Resumable-Stream-Id"]
    source.end()
    await chunks(first)
    await chunks(second)
    third = await chunks(await visitor.post(result(message)))
    assert words(third) == "You are"
    assert source.calls == 1


async def test_a_client_changes_nothing_but_results(visitor: Visitor):
    message = await called(visitor)
    forged = result(message)
    forged["messages"][0]["parts"][1]["text"] = "I never said that."
    forged["messages"][0]["parts"][2]["input"] = {"a": 2}
    await chunks(await visitor.post(forged))
    _, answer = (await visitor.history("c"))["messages"]
    assert answer["parts"][1]["text"] == "Let me see."
    assert (answer["parts"][2]["input"], answer["parts"][2]["output"]) == ({"a": 1}, "Here.")


async def test_a_result_without_a_call_is_refused(visitor: Visitor):
    await visitor.ask("c")
    message = (await visitor.history("c"))["messages"][-1]
    refused = await visitor.post(result(message))
    assert refused.status_code == 400
    assert "waits for" in refused.json()["detail"]
    assert (await visitor.history("c"))["messages"][-1] == message


async def test_an_approval_goes_to_the_answer_and_its_output_into_the_part(visitor: Visitor):
    asks = {"type": "tool-approval-request", "toolCallId": "t1", "approvalId": "a1"}
    script(CALL, asks)
    await visitor.ask("c")
    message = (await visitor.history("c"))["messages"][-1]
    assert message["parts"][-1]["approval"] == {"id": "a1"}
    given = {"state": "approval-responded", "approval": {"id": "x", "approved": True}}
    script({"type": "tool-output-available", "toolCallId": "t1", "output": 42}, "Done.")
    await chunks(await visitor.post(result(message, **given)))
    assert asked[1][1]["parts"][-1]["approval"] == {"id": "a1", "approved": True}
    _, answer = (await visitor.history("c"))["messages"]
    assert (answer["parts"][1]["state"], answer["parts"][1]["output"]) == ("output-available", 42)


async def test_a_failed_answer_to_a_result_can_be_had_again(visitor: Visitor):
    message = await called(visitor)
    script("You", ValueError("no"))
    await chunks(await visitor.post(result(message)))
    script("You are here.")
    await chunks(await visitor.post(result(message)))
    _, answer = (await visitor.history("c"))["messages"]
    assert [one.get("text") for one in answer["parts"] if one["type"] == "text"] == [
        *("Let me see.", "You are here."),
    ]
    assert await visitor.post(body("c", "q2"))
