"""Questions: the same again, another one meanwhile, once more, from an earlier point."""

import asyncio
from typing import Any

import pytest

from resumable_streams import StreamManager
from resumable_streams.contrib.chat.models import Conversation, Message
from tests.tools.waiting import eventually

from .site import Visitor, asked, body, chunks, kinds, script, scripts, text, words

pytestmark = [pytest.mark.urls("tests.chat.site"), pytest.mark.django_db(transaction=True)]


async def roles(visitor: Visitor, conversation: str = "c") -> list[tuple[str, str]]:
    messages = (await visitor.history(conversation))["messages"]
    return [(one["role"], one["metadata"]["status"]) for one in messages]


async def test_the_same_question_again_joins_its_answer(visitor: Visitor):
    source = script("Hel", is_held=True)
    async with visitor.asking("c") as first, visitor.asking("c") as second:
        assert first["X-Resumable-Stream-Id"] == second["X-Resumable-Stream-Id"]
        source.end("lo.")
    assert source.calls == 1
    third = await visitor.ask("c")  # its answer is complete by now
    assert words(third) == "Hello."
    assert await Message.objects.acount() == 2


async def test_of_many_posts_at_once_one_begins_an_answer(visitor: Visitor):
    await visitor.ask("before")  # a page has given the browser its session
    source = script(is_held=True)
    posts = [asyncio.ensure_future(visitor.post(body("c"))) for _ in range(8)]
    responses = await asyncio.gather(*posts)
    source.end("Hello.")
    answers = [await chunks(response) for response in responses]
    assert [words(answer) for answer in answers] == ["Hello."] * 8
    assert len({answer[0]["messageId"] for answer in answers}) == 1
    assert await roles(visitor) == [("user", "complete"), ("assistant", "complete")]


async def test_of_many_questions_at_once_one_is_answered(visitor: Visitor):
    await visitor.ask("before")
    source = script(is_held=True)
    posts = [visitor.post(body("c", f"q{number}")) for number in range(8)]
    responses = await asyncio.gather(*posts)
    assert sorted(one.status_code for one in responses) == [200, *[409] * 7]
    source.end("Hello.")
    for response in responses:
        if response.status_code == 200:
            await chunks(response)
    assert await roles(visitor) == [("user", "complete"), ("assistant", "complete")]


async def test_another_question_is_refused_while_an_answer_runs(visitor: Visitor):
    source = script("Hel", is_held=True)
    async with visitor.asking("c"):
        for other in (body("c", "q2"), body("c", trigger="regenerate-message")):
            refused = await visitor.post(other)
            assert refused.status_code == 409
            assert refused.json()["error"] == "slot_busy"
        source.end()
    assert len((await visitor.history("c"))["messages"]) == 2


async def test_another_question_replaces_the_answer_where_the_class_says_so(visitor: Visitor):
    visitor.api = "/api/replacing"
    source = script("Hel", is_held=True)
    first = await visitor.post(body("c"))
    await eventually(lambda: source.calls)
    second = await visitor.ask("c", "q2")
    assert words(second) == "Hello."
    assert kinds(await chunks(first))[-2:] == ["abort", "[DONE]"]
    assert await roles(visitor) == [
        *(("user", "complete"), ("assistant", "stopped")),
        *(("user", "complete"), ("assistant", "complete")),
    ]


async def test_an_answer_gets_what_was_said_before(visitor: Visitor):
    await visitor.ask("c")
    await visitor.ask("c", "q2")
    assert [[one["role"] for one in messages] for messages in asked] == [
        ["user"],
        ["user", "assistant", "user"],
    ]
    assert asked[1][0]["parts"] == text("Why?")


@pytest.mark.parametrize("named", [True, False])
async def test_regenerating_replaces_the_answer(visitor: Visitor, named: bool):
    await visitor.ask("c")
    before = (await visitor.history("c"))["messages"]
    more = {"messageId": before[1]["id"]} if named else {}
    script("Another.")
    await visitor.ask("c", trigger="regenerate-message", **more)
    after = (await visitor.history("c"))["messages"]
    assert [one["role"] for one in after] == ["user", "assistant"]
    assert before[0] == after[0]
    assert before[1]["id"] != after[1]["id"]
    assert after[1]["parts"][1]["text"] == "Another."


async def test_an_edit_of_an_earlier_question_drops_what_followed(visitor: Visitor):
    for key in ("q1", "q2", "q3"):
        await visitor.ask("c", key)
    edited = body("c", "q2", "How?", messageId="q2")
    await chunks(await visitor.post(edited))
    history = (await visitor.history("c"))["messages"]
    assert [one["id"] for one in history if one["role"] == "user"] == ["q1", "q2"]
    assert history[2]["parts"] == text("How?")
    assert len(history) == 4


async def test_an_old_post_that_comes_late_changes_nothing(visitor: Visitor):
    for key in ("q1", "q2"):
        await visitor.ask("c", key)
    before = await visitor.history("c")
    late = await visitor.ask("c", "q1")
    assert words(late) == "Hello."
    assert late[0]["messageId"] == before["messages"][1]["id"]
    after = await visitor.history("c")
    assert after["messages"] == before["messages"]


async def test_a_question_whose_answer_failed_is_answered_anew(visitor: Visitor):
    script("Hel", ValueError("no"))
    failed = await visitor.ask("c")
    assert kinds(failed)[-2:] == ["error", "[DONE]"]
    _, reply = (await visitor.history("c"))["messages"]
    assert (reply["metadata"]["status"], reply["metadata"]["error"]) == ("failed", "source_failed")
    assert reply["parts"][1]["text"] == "Hel"
    await visitor.ask("c")
    assert await roles(visitor) == [("user", "complete"), ("assistant", "complete")]


@pytest.mark.parametrize("fate", ["deleted", "revoked", "rotated"])
async def test_an_answer_whose_stream_is_gone_is_replayed_from_the_table(
    visitor: Visitor, manager: StreamManager, fate: str
):
    await visitor.ask("c")
    await eventually(Message.objects.filter(status="complete", role="assistant").aexists)
    reply = await Message.objects.aget(role="assistant")
    owner = (await Conversation.objects.aget()).owner
    match fate:
        case "deleted":
            assert await manager.adelete(reply.stream_id, owner=owner)
        case "revoked":
            await manager.arevoke(owner=owner)
        case "rotated":
            await manager.arotate()
    again = await visitor.ask("c")
    assert (again[0]["messageId"], words(again)) == (reply.key, "Hello.")
    assert kinds(again)[-2:] == ["finish", "[DONE]"]


async def test_a_stop_right_after_the_question_stops_its_answer(visitor: Visitor):
    """The answer is in the table already, and its stream is not there yet."""
    await visitor.ask("before")
    source = script("Hel", is_held=True)
    asking = asyncio.ensure_future(visitor.post(body("c")))

    async def is_claimed() -> bool:
        return await Conversation.objects.filter(key="c", running__isnull=False).aexists()

    await eventually(is_claimed, pause=0)
    stopped = await visitor.post({}, "/c/stop")
    assert (stopped.status_code, stopped.json()) == (202, {"status": "cancelled"})
    assert kinds(await chunks(await asking))[-2:] == ["abort", "[DONE]"]
    assert (await roles(visitor))[1] == ("assistant", "stopped")
    assert source.calls <= 1
    scripts.clear()  # which may have been stopped before it was called


async def test_a_claim_that_was_never_used_gives_way(visitor: Visitor, configure: Any):
    """As of a process that died between the table and the store."""
    configure(LEASE=0.2, SWEEP=0.1)
    await visitor.ask("c")
    rows = Message.objects.filter(role="assistant")
    await rows.aupdate(status="running", stream_id="chat-lost", parts=[])
    conversation = await Conversation.objects.aget()
    await Conversation.objects.aupdate(running="chat-lost", claimed=conversation.updated)

    async def has_given_way() -> bool:
        return (await visitor.history("c"))["running"] is None

    await eventually(has_given_way)
    assert (await roles(visitor))[1] == ("assistant", "failed")


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        ({}, 400, "'id' is a string"),
        ({"id": "c"}, 400, "'messages' is a list"),
        ({"id": "c", "messages": []}, 400, "'messages' is a list"),
        ({"id": "c" * 129}, 400, "'id' is a string"),
        (body("c", "\n"), 400, "'id' of a message"),
        (body("c", words=" "), 400, "no text"),
        (body("c", words="\0"), 400, "characters"),
        (body("c", words="\ud800"), 400, "characters"),
        (body("c", words="x" * 70_000), 413, "at most 65536 bytes"),
        (body("c", trigger="x"), 400, "'trigger' is"),
        (body("c", trigger="regenerate-message"), 400, "no question"),
        ({"id": "c", "message": {"id": "q", "role": "system", "parts": []}}, 400, "role 'user'"),
        ({"id": "c", "message": {"id": "q", "role": "user"}}, 400, "'parts'"),
        ({"id": "c", "message": {"id": "q", "role": "user", "parts": [1]}}, 400, "object"),
        (
            {"id": "c", "message": {"id": "q", "role": "user", "parts": [{"type": "tool-x"}]}},
            400,
            "no part of the type 'tool-x'",
        ),
        (
            {"id": "c", "message": {"id": "q", "role": "user", "parts": text("a") * 101}},
            413,
            "at most 100 parts",
        ),
        (
            {"id": "c", "message": {"id": "q", "role": "assistant", "parts": []}},
            400,
            "last message",
        ),
    ],
)
async def test_a_question_that_cannot_be_asked_is_a_clear_refusal_and_leaves_nothing(
    visitor: Visitor, content: dict[str, Any], status: int, says: str
):
    refused = await visitor.post(content)
    assert refused.status_code == status
    assert says in refused.json()["detail"]
    assert not await Message.objects.aexists()


async def test_a_file_is_kept_by_its_address(visitor: Visitor):
    file = {"type": "file", "mediaType": "image/png", "filename": "a.png", "url": "/media/a.png"}
    content = body("c")
    content["messages"][0]["parts"].append(file)
    await chunks(await visitor.post(content))
    assert (await visitor.history("c"))["messages"][0]["parts"] == [*text("Why?"), file]
    for address in ("data:image/png;base64,AA==", "javascript:alert(1)", "//evil.example/x"):
        content = body("d")
        content["messages"][0]["parts"].append({**file, "url": address})
        assert (await visitor.post(content)).status_code == 400
