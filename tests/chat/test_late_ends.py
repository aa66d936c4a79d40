"""Ends that come late, from elsewhere, or with what JSON does not have."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db.models.signals import post_save

from resumable_streams import StreamManager, report_usage
from resumable_streams.contrib.chat import drafts as drafting
from resumable_streams.contrib.chat import saving
from resumable_streams.contrib.chat.drafts import Drafts, drafts
from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.contrib.chat.views import ChatView
from resumable_streams.signals import stream_finalized
from resumable_streams.testing import Moment
from tests.tools.waiting import eventually

from .site import Assistant, Visitor, body, chunks, script, whole
from .test_adversity import CALL, with_result
from .test_ends import begun, is_saved, owner, reply, stream_id

pytestmark = [pytest.mark.urls("tests.chat.site"), pytest.mark.django_db(transaction=True)]


class Telling:
    """The moment in which an end is told, before the chat has heard of it."""

    def __init__(self) -> None:
        self.begun = Moment()
        self.goes_on = Moment()

    async def wait(self, **named: Any) -> None:
        self.begun.set()
        await self.goes_on.wait()


@pytest.fixture
def telling() -> Iterator[Telling]:
    telling = Telling()
    stream_finalized.disconnect(dispatch_uid="resumable_streams.contrib.chat")
    stream_finalized.connect(telling.wait)
    saving.connect()  # after it
    yield telling
    stream_finalized.disconnect(telling.wait)


@pytest.fixture
def completions() -> Iterator[list[str]]:
    """Return the statuses with which receivers of the model heard of a completed answer."""
    heard: list[str] = []

    def hear(*, instance: Message, **named: Any) -> None:
        if instance.role == "assistant" and instance.status != "running":
            heard.append(instance.status)

    post_save.connect(hear, sender=Message)
    yield heard
    post_save.disconnect(hear, sender=Message)


async def test_words_of_the_writer_count_though_a_look_found_no_stream_any_more(
    visitor: Visitor, manager: StreamManager, telling: Telling, completions: list[str]
):
    await begun(visitor)
    await manager.arotate()
    await telling.begun.wait()
    await Conversation.objects.aupdate(claimed=None)
    _, early = (await visitor.history("c"))["messages"]
    assert (early["metadata"]["error"], early["parts"]) == ("expired", [])
    telling.goes_on.set()

    async def is_mended() -> bool:
        return (await reply()).error_code == "rotated"

    await eventually(is_mended)
    assert ((await reply()).status, (await reply()).text) == ("stopped", "Hel")
    assert completions == ["failed"]


async def test_a_look_that_was_right_is_not_overruled(visitor: Visitor):
    """Whoever tells of an end without its words knows no better."""
    await visitor.ask("c")
    await eventually(is_saved)
    before = await reply()
    for status, code in (("failed", "producer_lost"), ("failed", "expired")):
        late = saving.AnswerEnd(status=status, error_code=code)
        await sync_to_async(saving.save_end)(await stream_id(), late)
    after = await reply()
    assert (after.status, after.parts, after.ended) == ("complete", before.parts, before.ended)


async def test_no_draft_is_left_of_an_answer_whose_end_was_told(visitor: Visitor):
    await visitor.ask("c")
    await eventually(is_saved)
    assert drafts.take(await stream_id()) is None


def test_a_draft_that_nobody_asks_for_is_dropped_in_time(monkeypatch: pytest.MonkeyPatch):
    """As where this process was taken for dead, and another one has told the end."""
    kept = Drafts()
    for name in ("a", "b", "c"):
        kept.begin(name, [])
    kept.end("a")
    kept.end("b")
    assert kept.take("b") is not None
    kept.end("b")  # told before its source was closed
    kept.begin("d", [])
    assert len(kept) == 3
    monkeypatch.setattr(drafting, "KEPT_SECONDS", 0.0)
    kept.begin("e", [])
    assert [kept.take(name) is not None for name in "abcde"] == [False, False, True, True, True]


@pytest.mark.parametrize("has_log", [True, False])
async def test_a_date_is_saved_as_a_client_has_it(
    visitor: Visitor, manager: StreamManager, monkeypatch: pytest.MonkeyPatch, has_log: bool
):
    monkeypatch.setattr(ChatView, "save_interval", 0.05)
    at = {"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}
    source = await begun(visitor, {"type": "data-when", "data": at})
    part = {"type": "data-when", "data": {"at": "2026-01-02T03:04:05Z"}}

    async def has_part() -> bool:
        return part in (await reply()).parts

    await eventually(has_part)
    await Message.objects.filter(role="assistant").aupdate(parts=[])
    if has_log:
        source.end()
    else:
        assert await manager.adelete(await stream_id(), owner=await owner())
    await eventually(is_saved)
    assert await has_part()


async def test_the_usage_of_an_answer_that_went_on_is_the_sum(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
):
    async def answer(self: Any, conversation: Conversation, messages: Any) -> Any:
        has_asked = messages[-1].role == "assistant"
        report_usage(input_tokens=4 if has_asked else 3)
        yield "Hello." if has_asked else CALL
        report_usage(**({"output_tokens": 2} if has_asked else {"cached_tokens": 1}))

    monkeypatch.setattr(Assistant, "answer", answer)
    key = (await visitor.ask("c"))[0]["messageId"]
    await eventually(is_saved)
    await whole(await visitor.post(with_result(key, "Here.")))

    async def has_sum() -> bool:
        usage: Any = (await reply()).usage
        return bool(usage == {"input_tokens": 7, "output_tokens": 2, "cached_tokens": 1})

    await eventually(has_sum)
    late = saving.AnswerEnd(status="complete", usage={"input_tokens": 5})
    await sync_to_async(saving.save_end)(await stream_id(), late)
    assert (await reply()).usage == {"input_tokens": 8, "cached_tokens": 1}


async def test_a_draft_has_the_usage_from_before_the_tool(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ChatView, "save_interval", 0.05)
    go_on = asyncio.Event()

    async def answer(self: Any, conversation: Conversation, messages: Any) -> Any:
        report_usage(input_tokens=3)
        if messages[-1].role == "assistant":
            yield "Hello."
            await go_on.wait()
        else:
            yield CALL

    monkeypatch.setattr(Assistant, "answer", answer)
    key = (await visitor.ask("c"))[0]["messageId"]
    await eventually(is_saved)
    response = await visitor.post(with_result(key, "Here."))

    async def has_draft() -> bool:
        return bool((await reply()).usage == {"input_tokens": 6})

    await eventually(has_draft)
    assert not await is_saved()
    go_on.set()
    await chunks(response)


async def test_a_history_is_bounded_in_bytes(visitor: Visitor, monkeypatch: pytest.MonkeyPatch):
    from .site import asked

    monkeypatch.setattr("resumable_streams.contrib.chat.turns.PAGE_ROWS", 2)
    monkeypatch.setattr(ChatView, "max_messages", 5)
    for number in range(3):
        await visitor.ask("c", f"q{number}", words="x" * 100)
    assert len((await visitor.history("c"))["messages"]) == 5
    assert [len(one) for one in asked] == [1, 3, 5]
    monkeypatch.setattr(ChatView, "max_history_bytes", 480)
    messages = (await visitor.history("c"))["messages"]
    assert [one["id"] for one in messages if one["role"] == "user"] == ["q1", "q2"]
    monkeypatch.setattr(ChatView, "max_history_bytes", 1)
    (last,) = (await visitor.history("c"))["messages"]
    assert last["role"] == "assistant"
    script("Hel")
    await whole(await visitor.post(body("c", "q3")))
    assert len(asked[-1]) == 1
