"""A chat from end to end: ask, come back, stop, look at it again."""

from functools import partial
from typing import Any

import pytest

from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.contrib.chat.saving import settle
from tests.tools.waiting import eventually

from .site import Visitor, body, chunks, kinds, script, text, words

pytestmark = [pytest.mark.urls("tests.chat.site"), pytest.mark.django_db(transaction=True)]

FRAME = ["start", "start-step", "text-start", "text-end", "finish-step", "finish", "[DONE]"]


async def test_an_answer_is_streamed_and_saved_under_the_id_of_its_start(visitor: Visitor):
    answer = await visitor.ask("c")
    assert [kind for kind in kinds(answer) if kind != "text-delta"] == FRAME
    assert words(answer) == "Hello."
    history = await visitor.history("c")
    question, reply = history["messages"]
    assert (question["id"], question["role"], question["parts"]) == ("q1", "user", text("Why?"))
    assert (reply["id"], reply["role"]) == (answer[0]["messageId"], "assistant")
    assert reply["parts"] == [
        {"type": "step-start"},
        {"type": "text", "text": "Hello.", "state": "done"},
    ]
    assert reply["metadata"]["status"] == "complete"
    assert (history["id"], history["title"], history["running"]) == ("c", "Why?", None)


async def test_a_question_is_saved_before_the_first_byte(visitor: Visitor):
    source = script(is_held=True)
    async with visitor.asking("c") as response:
        history = await visitor.history("c")
        assert history["running"] == response["X-Resumable-Stream-Id"]
        question, reply = history["messages"]
        assert question["parts"] == text("Why?")
        assert (reply["parts"], reply["metadata"]["status"]) == ([], "running")
        source.end("Hello.")


async def test_an_answer_is_saved_though_nobody_reads_it(visitor: Visitor):
    source = script("Hel", is_held=True)
    async with visitor.asking("c"):
        pass
    source.end("lo.")

    async def is_saved() -> bool:
        return await Message.objects.filter(role="assistant", status="complete").aexists()

    await eventually(is_saved)  # and nobody has looked at the conversation
    assert (await Message.objects.aget(role="assistant")).text == "Hello."
    assert not await Conversation.objects.filter(running__isnull=False).aexists()


async def test_coming_back_replays_the_answer_that_is_written(visitor: Visitor):
    source = script("Hel", is_held=True)
    async with visitor.asking("c") as response:
        pass
    again = await visitor.get("/c/stream")
    assert again["X-Resumable-Stream-Id"] == response["X-Resumable-Stream-Id"]
    source.end("lo.")
    answer = await chunks(again)
    assert [kind for kind in kinds(answer) if kind != "text-delta"] == FRAME
    assert words(answer) == "Hello."
    for conversation in ("c", "never"):
        nothing = await visitor.get(f"/{conversation}/stream")
        assert (nothing.status_code, nothing.content) == (204, b"")


@pytest.mark.parametrize(
    ("last", "end"), [(["lo."], "finish"), (["lo.", ValueError("no")], "error")]
)
async def test_an_answer_that_ends_before_the_client_is_back_comes_whole(
    visitor: Visitor, last: list[object], end: str
):
    source = script("Hel", is_held=True)
    async with visitor.asking("c"):
        page = await visitor.history("c")
        source.end(*last)
    await source.closed.wait()

    async def is_over() -> bool:
        return bool((await visitor.get("/c/stream")).status_code == 204)

    await eventually(is_over)
    answer = await chunks(await visitor.get(f"/c/stream?stream={page['running']}"))
    assert (answer[0]["messageId"], words(answer)) == (page["messages"][1]["id"], "Hello.")
    assert kinds(answer)[-2:] == [end, "[DONE]"]
    assert (await visitor.get("/c/stream?stream=chat-other")).status_code == 204
    await visitor.ask("c", "q2")
    assert (await visitor.get(f"/c/stream?stream={page['running']}")).status_code == 204


@pytest.mark.parametrize(("query", "status"), [("", 204), ("?stream={}", 200)])
async def test_an_answer_that_ends_while_the_client_comes_back_comes_whole(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, query: str, status: int
):
    source = script("Hel", is_held=True)

    async def and_end(conversation: Any) -> Any:
        found = await settle(conversation)
        source.end("lo.")
        await eventually(partial(has_ended, conversation))
        return found

    async def has_ended(conversation: Any) -> bool:
        return await settle(conversation) is None

    async with visitor.asking("c"):
        running = (await visitor.history("c"))["running"]
        monkeypatch.setattr("resumable_streams.contrib.chat.views.settle", and_end)
        answer = await visitor.get(f"/c/stream{query.format(running)}")
    assert answer.status_code == status
    if status == 200:
        assert words(await chunks(answer)) == "Hello."


async def test_a_stop_ends_the_answer_and_keeps_its_words(visitor: Visitor):
    source = script("Hel", is_held=True)
    response = await visitor.post(body("c"))
    await eventually(lambda: source.calls)
    for status in ("cancelled", None):
        stopped = await visitor.post({}, "/c/stop")
        assert (stopped.status_code, stopped.json()) == (202, {"status": status})
    assert kinds(await chunks(response))[-2:] == ["abort", "[DONE]"]
    _, reply = (await visitor.history("c"))["messages"]
    assert reply["metadata"]["status"] == "stopped"
    assert reply["parts"][1:] == [{"type": "text", "text": "Hel", "state": "done"}]
