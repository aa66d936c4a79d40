"""However an answer ends, its words are in the table, once."""

import asyncio
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from resumable_streams import StreamManager, report_usage
from resumable_streams.contrib.chat import saving
from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.contrib.chat.views import ChatView
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import stream_finalized
from resumable_streams.testing import Moment
from tests.tools.waiting import eventually

from .site import Assistant, Visitor, body, chunks, script, whole

pytestmark = [pytest.mark.urls("tests.chat.site"), pytest.mark.django_db(transaction=True)]


async def reply() -> Message:
    found: Message = await Message.objects.aget(role="assistant")
    return found


async def is_saved() -> bool:
    return (await reply()).status != "running"


async def begun(visitor: Visitor, *steps: object) -> Any:
    """Begin an answer, and wait until its first words can be read."""
    source = script("Hel", *steps, is_held=True)
    response = await visitor.post(body("c"))
    frames = aiter(response)
    while b"Hel" not in await anext(frames):
        pass
    await frames.aclose()
    response.close()
    return source


async def owner() -> str:
    return str((await Conversation.objects.aget()).owner)


async def stream_id() -> str:
    return str((await reply()).stream_id)


@pytest.fixture
def deaf() -> Any:
    """Have nobody save the ends that are told: as where the teller was killed."""
    stream_finalized.disconnect(dispatch_uid="resumable_streams.contrib.chat")
    yield
    saving.connect()


async def test_a_deploy_ends_it_as_interrupted(visitor: Visitor, configure: Any):
    configure(DRAIN_TIMEOUT=0)
    await begun(visitor)
    await runtime.call(runtime.drain)
    await eventually(is_saved)
    saved = await reply()
    assert (saved.status, saved.error_code, saved.text) == ("failed", "interrupted", "Hel")


async def test_deleted_under_its_producer_it_keeps_what_was_written(
    visitor: Visitor, manager: StreamManager
):
    await begun(visitor)
    assert await manager.adelete(await stream_id(), owner=await owner())
    await eventually(is_saved)
    saved = await reply()
    assert (saved.status, saved.error_code, saved.text) == ("failed", "expired", "Hel")


async def test_revoked_it_keeps_what_was_written(visitor: Visitor, manager: StreamManager):
    await begun(visitor)
    await manager.arevoke(owner=await owner())
    await eventually(is_saved)
    saved = await reply()
    assert (saved.status, saved.error_code, saved.text) == ("stopped", "revoked", "Hel")


async def test_rotated_away_it_keeps_what_was_written(visitor: Visitor, manager: StreamManager):
    await begun(visitor)
    await manager.arotate()
    await eventually(is_saved)
    saved = await reply()
    assert (saved.status, saved.error_code, saved.text) == ("stopped", "rotated", "Hel")


@pytest.mark.usefixtures("deaf")
@pytest.mark.parametrize("look", ["history", "list", "ask", "stop", "stream", "command"])
async def test_an_end_that_nobody_heard_is_saved_by_the_next_look(visitor: Visitor, look: str):
    source = await begun(visitor)
    source.end("lo.", ValueError("no"))
    await source.closed.wait()

    async def is_over() -> bool:
        await look_with(visitor, look)
        return await is_saved()

    await eventually(is_over, pause=0.05)
    saved = await Message.objects.filter(role="assistant").order_by("id").afirst()
    assert saved is not None
    if look != "ask":
        assert (saved.status, saved.error_code) == ("failed", "source_failed")
        assert saved.text == "Hello."
    assert await Conversation.objects.filter(running=None).aexists()


async def look_with(visitor: Visitor, look: str) -> None:
    match look:
        case "history":
            await visitor.history("c")
        case "list":
            await visitor.get("")
        case "ask":
            await whole(await visitor.post(body("c")))
        case "stop":
            await visitor.post({}, "/c/stop")
        case "stream":
            await whole(await visitor.get("/c/stream"))
        case "command":
            await asyncio.to_thread(settle_by_command)


def settle_by_command() -> None:
    call_command("settle_chats", verbosity=0)
    connections.close_all()  # of this thread, to which nobody comes back


@pytest.mark.usefixtures("deaf")
async def test_a_log_that_expired_leaves_what_was_saved_at_intervals(
    visitor: Visitor, manager: StreamManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ChatView, "save_interval", 0.05)
    source = await begun(visitor)

    async def has_draft() -> bool:
        return "Hel" in (await reply()).text

    await eventually(has_draft)
    history = await visitor.history("c")
    assert history["messages"][1]["parts"] == []  # a client gets them from the stream
    assert await manager.adelete(await stream_id(), owner=await owner())
    await source.closed.wait()
    await Conversation.objects.aupdate(claimed=None)
    _, answer = (await visitor.history("c"))["messages"]
    assert (answer["metadata"]["status"], answer["metadata"]["error"]) == ("failed", "expired")
    assert answer["parts"][1]["text"] == "Hel"


async def test_usage_is_saved_with_its_answer(visitor: Visitor, monkeypatch: pytest.MonkeyPatch):
    async def answer(self: Any, conversation: Conversation, messages: Any) -> Any:
        report_usage(input_tokens=3)
        yield "Hello."
        report_usage(output_tokens=2)

    monkeypatch.setattr(Assistant, "answer", answer)
    await visitor.ask("c")
    await eventually(is_saved)
    saved = await reply()
    assert saved.usage == {"input_tokens": 3, "output_tokens": 2}
    _, told = (await visitor.history("c"))["messages"]
    assert told["metadata"]["usage"] == saved.usage


async def test_usage_is_added_where_a_look_came_before_the_telling(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
):
    told, go_on = Moment(), Moment()

    async def slow(**named: Any) -> None:
        told.set()
        await go_on.wait()

    async def answer(self: Any, conversation: Conversation, messages: Any) -> Any:
        report_usage(output_tokens=2)
        yield "Hello."

    monkeypatch.setattr(Assistant, "answer", answer)
    stream_finalized.disconnect(dispatch_uid="resumable_streams.contrib.chat")
    stream_finalized.connect(slow)
    saving.connect()  # after it
    try:
        await visitor.ask("c")
        await told.wait()
        assert (await visitor.history("c"))["messages"][1]["metadata"]["status"] == "complete"
        go_on.set()

        async def has_usage() -> bool:
            return bool((await reply()).usage == {"output_tokens": 2})

        await eventually(has_usage)
    finally:
        stream_finalized.disconnect(slow)
    assert (await reply()).text == "Hello."


async def test_a_source_that_tells_of_its_failure_has_failed(visitor: Visitor):
    script("Hel", {"type": "error", "errorText": "Overloaded."})
    await visitor.ask("c")
    await eventually(is_saved)
    assert ((await reply()).status, (await reply()).error_code) == ("failed", "source_failed")


async def test_a_wrong_item_fails_the_answer(visitor: Visitor):
    script("Hel", 7)
    response = await visitor.post(body("c"))
    found = await chunks(response)
    assert found[-2]["type"] == "error"
    await eventually(is_saved)
    assert ((await reply()).status, (await reply()).text) == ("failed", "Hel")


async def test_text_that_no_database_takes_is_mended(visitor: Visitor):
    script("a\ud83d", "\ude00b\0")
    await visitor.ask("c")
    await eventually(is_saved)
    assert (await reply()).text == "a\U0001f600b\ufffd"
