"""Chats among hostile bodies, unlucky moments and other people's settings."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import connections

from resumable_streams.contrib.chat import logs, saving, views
from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.contrib.chat.parts import BadQuestion
from resumable_streams.contrib.chat.places import Cursor
from resumable_streams.contrib.chat.views import ChatView
from resumable_streams.streams import StreamManager
from tests.tools.waiting import eventually

from .site import Visitor, body, chunks, kinds, script, scripts, whole, words

pytestmark = [pytest.mark.urls("tests.chat.site"), pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("has_zones", [True, False])
def test_a_cursor_is_a_time_as_the_database_gives_it(settings: Any, has_zones: bool):
    settings.USE_TZ = has_zones
    naive = datetime(2026, 1, 2, 3, 4, 5, 6)
    aware = naive.replace(tzinfo=UTC)
    ours, other = (aware, naive) if has_zones else (naive, aware)
    cursor = Cursor(updated=ours, pk=7)
    assert Cursor.parse(str(cursor)) == cursor
    with pytest.raises(BadQuestion):
        Cursor.parse(str(Cursor(updated=other, pk=7)))


@pytest.mark.parametrize("updated", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_cursor_at_the_end_of_time_is_no_failure(visitor: Visitor, updated: str):
    cursor = base64.urlsafe_b64encode(json.dumps([updated, 1]).encode()).decode()
    assert (await visitor.get(f"?cursor={cursor}")).status_code in (200, 400)


CALL = {"type": "tool-input-available", "toolCallId": "t1", "toolName": "ask", "input": {}}


async def called(visitor: Visitor) -> str:
    """Have an answer end with a tool call for the client; return the id of its message."""
    script(CALL)
    return str((await visitor.ask("c"))[0]["messageId"])


def with_parts(key: str, parts: Any) -> dict[str, Any]:
    return {"id": "c", "messages": [{"id": key, "role": "assistant", "parts": parts}]}


def with_result(key: str, output: Any) -> dict[str, Any]:
    part = {"type": "tool-ask", "toolCallId": "t1", "state": "output-available", "output": output}
    return with_parts(key, [part])


@pytest.mark.parametrize("parts", [5, True, {"a": 1}, "no", [5]])
async def test_results_in_no_list_are_refused(visitor: Visitor, parts: Any):
    key = await called(visitor)
    assert (await visitor.post(with_parts(key, parts))).status_code == 400


async def test_results_are_bounded(visitor: Visitor):
    key = await called(visitor)
    refused = await visitor.post(with_result(key, "x" * ChatView.max_message_bytes))
    assert (refused.status_code, refused.json()["error"]) == (413, "too_large")


@pytest.mark.parametrize("levels", [62, 300, 450, 700])
async def test_a_deep_result_is_refused(visitor: Visitor, levels: int):
    """It is copied later on, a call a level: nobody could save that answer, or look at it."""
    key = await called(visitor)
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    assert (await visitor.post(with_result(key, deep))).status_code == 400
    assert (await visitor.get("/c")).status_code == 200


class Gate:
    """A moment that a call waits in, before it goes on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    def before(self, call: Any) -> Any:
        async def late(*args: Any, **named: Any) -> Any:
            self.reached.set()
            await self.opened.wait()
            return await call(*args, **named)

        return late


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The moment between the table, which has an answer, and the store, which has no stream."""
    gate = Gate()
    monkeypatch.setattr(StreamManager, "arun", gate.before(StreamManager.arun))
    return gate


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The moment in which somebody has looked for the stream of an answer."""
    gate, look = Gate(), logs.look

    async def noting(*args: Any) -> Any:
        found = await look(*args)
        gate.reached.set()
        return found

    monkeypatch.setattr(saving, "look", noting)
    return gate


async def claim(visitor: Visitor, claimed: Gate) -> tuple[asyncio.Task[Any], str]:
    """Ask, up to that moment; return the request, and the id of the stream to come."""
    claimed.opened.set()
    await visitor.ask("first")  # which brings a session
    claimed.reached.clear()
    claimed.opened.clear()
    asking = asyncio.create_task(visitor.post(body("c")))
    await claimed.reached.wait()
    return asking, str((await Conversation.objects.aget(key="c")).running)


@pytest.mark.parametrize("query", ["", "?stream={}"])
async def test_coming_back_before_the_stream_is_there_waits_for_it(
    visitor: Visitor, claimed: Gate, looked: Gate, query: str
):
    asking, stream_id = await claim(visitor, claimed)
    source = script("Hel", is_held=True)
    coming = asyncio.create_task(visitor.get(f"/c/stream{query.format(stream_id)}"))
    await looked.reached.wait()
    claimed.opened.set()
    again = await coming
    source.end("lo.")
    assert words(await chunks(again)) == "Hello."
    assert words(await chunks(await asking)) == "Hello."


async def test_a_stop_before_the_stream_is_there_stops_it(
    visitor: Visitor, claimed: Gate, looked: Gate
):
    asking, _ = await claim(visitor, claimed)
    source = script(is_held=True)
    stopping = asyncio.create_task(visitor.post({}, "/c/stop"))
    await looked.reached.wait()
    claimed.opened.set()
    assert (await stopping).json() == {"status": "cancelled"}
    source.end()
    assert kinds(await chunks(await asking))[-2:] == ["abort", "[DONE]"]
    scripts.clear()  # of a source that may have been stopped before it was called


async def test_a_claim_without_a_stream_is_no_empty_answer(
    visitor: Visitor, claimed: Gate, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(views, "STARTING_SECONDS", 0)
    asking, stream_id = await claim(visitor, claimed)
    assert (await visitor.get(f"/c/stream?stream={stream_id}")).status_code == 204
    claimed.opened.set()
    await whole(await asking)


async def test_a_new_question_replaces_one_whose_stream_is_not_there_yet(
    configure: Any, claimed: Gate, looked: Gate, closes_runtime: None
):
    visitor = Visitor("replacing")
    asking, _ = await claim(visitor, claimed)
    source = script(is_held=True)
    replacing = asyncio.create_task(visitor.post(body("c", "q2", "What?")))
    await looked.reached.wait()
    claimed.opened.set()
    response = await replacing
    assert response.status_code == 200, response.content
    source.end()  # which the second answer has if the first was stopped before it was called
    await whole(response)
    await whole(await asking)


async def test_a_history_agrees_with_itself_when_an_answer_ends_as_it_is_read(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
):
    """A client adds what it reads of a running stream to the parts that it has."""
    source, settle = script("Hel", is_held=True), saving.settle

    async def settle_and_end(conversation: Conversation) -> Any:
        found = await settle(conversation)
        source.end("lo.")
        await eventually(Message.objects.filter(status="complete", role="assistant").aexists)
        return found

    async with visitor.asking("c"):
        with monkeypatch.context() as patch:
            patch.setattr(views, "settle", settle_and_end)
            found = await visitor.history("c")
    assert found["messages"][-1]["parts"] != []
    assert found["running"] is None


async def test_a_title_for_what_is_deleted_meanwhile_is_missing(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
):
    await visitor.ask("c")
    find = ChatView._find

    async def find_and_delete(chat: ChatView, key: str) -> Conversation | None:
        found = await find(chat, key)
        await Conversation.objects.all().adelete()
        return found

    async def rename() -> Any:
        return await visitor.client.patch(
            "/api/chat/c", json.dumps({"title": "T"}), content_type="application/json"
        )

    with monkeypatch.context() as patch:
        patch.setattr(ChatView, "_find", find_and_delete)
        late = await rename()
    missing = await rename()
    assert (late.status_code, late.content) == (404, missing.content)


async def all_saved() -> bool:
    return not await Conversation.objects.filter(running__isnull=False).aexists()


def _settle_chats(out: StringIO) -> None:
    try:
        call_command("settle_chats", stdout=out)
    finally:
        connections.close_all()  # the thread goes back to others


async def test_one_answer_that_cannot_be_saved_keeps_nobody_from_the_others(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    for name in ("a", "b", "c"):
        await visitor.ask(name)
    await eventually(all_saved)
    for one in [one async for one in Message.objects.filter(role="assistant")]:
        await Message.objects.filter(pk=one.pk).aupdate(status="running")
        await Conversation.objects.filter(pk=one.conversation_id).aupdate(running=one.stream_id)
    broken = await Conversation.objects.aget(key="b")
    save_end = saving.save_end

    def save(stream_id: str, outcome: Any) -> None:
        if stream_id == broken.running:
            raise RecursionError
        save_end(stream_id, outcome)

    monkeypatch.setattr(saving, "save_end", save)
    out = StringIO()
    with pytest.raises(CommandError, match="1 could not be saved"):
        await asyncio.to_thread(_settle_chats, out)
    assert [one.key async for one in Conversation.objects.filter(running__isnull=False)] == ["b"]
    assert "2 of 3" in out.getvalue()
    assert (await visitor.get("")).status_code == 200
    assert "RecursionError" in caplog.text


async def test_the_usage_that_is_told_last_counts(visitor: Visitor):
    """Also where a draft had some of it, and a look completed the row before."""
    await visitor.ask("c")
    await eventually(all_saved)
    answers = Message.objects.filter(role="assistant")
    await answers.aupdate(status="running")
    stream_id = str((await answers.aget()).stream_id)
    await sync_to_async(saving.save_draft)(stream_id, [], {"output_tokens": 1})
    await sync_to_async(saving.save_draft)(stream_id, [], {})
    assert (await answers.aget()).usage == {"output_tokens": 1}
    for usage in ({}, {"output_tokens": 2}):
        await sync_to_async(saving.save_end)(
            stream_id, saving.AnswerEnd(status="complete", usage=usage)
        )
    assert (await answers.aget()).usage == {"output_tokens": 2}


@pytest.mark.parametrize("key", ["a/b", ".", ".."])
async def test_a_conversation_that_no_address_could_name_is_refused(visitor: Visitor, key: str):
    """It could be neither read nor stopped: a path has no such segment."""
    refused = await visitor.post(body(key))
    assert (refused.status_code, refused.json()["error"]) == (400, "bad_request")
    assert not await Conversation.objects.aexists()
