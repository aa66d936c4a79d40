"""Answers by workers: the order names the class, and everything else is in the table."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import include, path

from resumable_streams.contrib.chat.models import Message
from resumable_streams.contrib.chat.turns import Newest, turn_of
from resumable_streams.contrib.chat.working import work
from resumable_streams.workers import Worker
from tests.tools.waiting import eventually

from .site import Assistant, Visitor, asked, body, chunks, script, text, whole, words
from .test_adversity import CALL, with_result

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


class Queued(Assistant):
    """The scripted chat, whose answers are produced by workers."""

    enqueue = True


urlpatterns = [path("api/", include(Queued.urls("queued")))]


@pytest.fixture
async def worker(request: pytest.FixtureRequest, visitor: Visitor) -> AsyncIterator[None]:
    """Run a worker where the store has a queue; without one, the answer is produced here."""
    visitor.api = "/api/queued"
    if "redis" not in request.node.name:
        yield
        return
    task = asyncio.create_task(Worker("default", name="w").run())
    yield
    task.cancel()
    await asyncio.wait([task])


async def is_complete() -> bool:
    return not await Message.objects.exclude(status="complete").aexists()


@pytest.mark.usefixtures("worker")
async def test_a_worker_answers_what_was_asked(visitor: Visitor):
    assert words(await visitor.ask("c")) == "Hello."
    await eventually(is_complete)
    assert words(await visitor.ask("c", "q2")) == "Hello."
    await eventually(is_complete)
    assert [len(one) for one in asked] == [1, 3]
    assert asked[0] == [{"role": "user", "parts": text("Why?")}]


@pytest.mark.usefixtures("worker")
async def test_a_worker_goes_on_after_a_tool(visitor: Visitor):
    script(CALL)
    key = (await visitor.ask("c"))[0]["messageId"]
    await eventually(is_complete)
    script("You are here.")
    assert words(await chunks(await visitor.post(with_result(key, "Here.")))) == "You are here."
    await eventually(is_complete)
    (_, answer) = (await visitor.history("c"))["messages"]
    assert answer["parts"][1]["output"] == "Here."
    assert asked[1][-1]["parts"][-1]["output"] == "Here."


@pytest.mark.usefixtures("worker")
async def test_a_worker_that_comes_too_late_finds_nothing_to_answer(visitor: Visitor):
    response = await visitor.post(body("c"))
    stream_id = response["X-Resumable-Stream-Id"]
    await whole(response)
    await visitor.client.delete("/api/queued/c")
    named: Any = {"view": f"{__name__}.Queued", "name": "queued", "stream_id": stream_id}
    assert await work(**named) == ()


def test_a_turn_of_nobody_is_none(transactional_db: None):
    assert turn_of("chat-nothing", Newest(messages=1)) is None


def test_a_class_that_no_worker_finds_is_refused():
    class Nested(Queued):
        pass

    with pytest.raises(ImproperlyConfigured, match="top of its module"):
        Nested.urls("nested")
