"""Streams of answers that are gone: replaced, gone on with, deleted, in whatever moment."""

import asyncio
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from resumable_streams import StreamManager
from resumable_streams.contrib.chat import logs
from resumable_streams.contrib.chat.models import Conversation, FormerStream, Message
from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.signals import stream_finalized
from tests.tools.waiting import eventually

from .site import Visitor, asked, body, script, whole
from .test_adversity import CALL, Gate, claim, claimed, with_result

__all__ = ["claimed"]

pytestmark = [pytest.mark.urls("tests.chat.site"), pytest.mark.django_db(transaction=True)]


class Streams:
    """The streams of a visitor's answers, as they are in the store."""

    def __init__(self, visitor: Visitor, manager: StreamManager) -> None:
        self.visitor = visitor
        self.manager = manager
        self.ids: list[str] = []
        self.told: set[str] = set()

    async def note_end(self, *, stream_id: str, **named: Any) -> None:
        self.told.add(stream_id)

    async def post(self, content: dict[str, Any]) -> None:
        """Ask, read the answer, and note its stream; wait until all have heard of its end."""
        response = await self.visitor.post(content)
        self.ids.append(response["X-Resumable-Stream-Id"])
        await whole(response)
        await eventually(lambda: self.ids[-1] in self.told)

    async def are_there(self) -> list[bool]:
        owner = self.visitor_owner
        return [await self.manager.astatus(one, owner=owner) is not None for one in self.ids]

    async def know_owner(self) -> None:
        self.visitor_owner = (await Conversation.objects.aget()).owner

    async def only_last_is_there(self) -> bool:
        return await self.are_there() == [*[False] * (len(self.ids) - 1), True]


AGAIN = {"id": "c", "trigger": "regenerate-message", "messages": []}


@pytest.fixture
def streams(visitor: Visitor, manager: StreamManager) -> Iterator[Streams]:
    streams = Streams(visitor, manager)
    stream_finalized.connect(streams.note_end)  # after the receiver of the chat
    yield streams
    stream_finalized.disconnect(streams.note_end)


class Undeletable:
    """No stream is deleted, as where the process dies before it comes to that; until an undo."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.undo = patch.undo
        patch.setattr(logs, "delete", self._refuse)

    async def _refuse(self, *args: Any) -> None:
        raise StoreUnavailable("default")


@pytest.fixture
def undeletable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Undeletable]:
    with monkeypatch.context() as patch:
        yield Undeletable(patch)


async def replace_in_every_way(streams: Streams) -> None:
    """Have a stream replaced by a regeneration, an edit, and an answer that goes on."""
    await streams.post(body("c"))
    await streams.know_owner()
    await streams.post(AGAIN)
    script(CALL)
    await streams.post(body("c", words="Why not?"))
    key = (await Message.objects.aget(role="assistant")).key
    await streams.post(with_result(key, "Here."))
    assert len(set(streams.ids)) == 4


async def test_a_replaced_answer_takes_its_stream_with_it(streams: Streams):
    await replace_in_every_way(streams)
    await eventually(streams.only_last_is_there)
    await eventually(is_nothing_left)


@pytest.mark.parametrize("means", ["delete", "command", "next answer"])
async def test_streams_that_a_dead_process_left_are_deleted_later(
    streams: Streams, undeletable: Undeletable, means: str
):
    await replace_in_every_way(streams)
    assert await streams.are_there() == [True] * 4
    assert await FormerStream.objects.acount() == 3
    undeletable.undo()
    if means == "delete":
        assert (await streams.visitor.client.delete("/api/chat/c")).status_code == 204
        assert await streams.are_there() == [False] * 4
    elif means == "command":
        assert "3 streams of former answers would be" in await settle("--dry-run")
        assert "3 streams of former answers deleted" in await settle()
        assert await streams.only_last_is_there()
    else:
        await streams.post(body("c", "q2"))
        await eventually(lambda: are_gone(streams, 3))
    await eventually(is_nothing_left)


async def are_gone(streams: Streams, count: int) -> bool:
    return not any((await streams.are_there())[:count])


async def settle(*options: str) -> str:
    def run() -> str:
        out = StringIO()
        try:
            call_command("settle_chats", *options, stdout=out)
        finally:
            connections.close_all()  # the thread goes back to others
        return out.getvalue()

    return await asyncio.to_thread(run)


async def test_a_deletion_while_the_store_is_away_is_finished_by_the_command(
    streams: Streams, undeletable: Undeletable
):
    await streams.post(body("c"))
    await streams.know_owner()
    assert (await streams.visitor.client.delete("/api/chat/c")).status_code == 503
    assert not await Conversation.objects.aexists()
    undeletable.undo()
    await settle()
    assert await streams.are_there() == [False]
    assert not await FormerStream.objects.aexists()


async def test_a_deletion_before_the_stream_is_there_leaves_no_stream(
    streams: Streams, claimed: Gate
):
    asking, stream_id = await claim(streams.visitor, claimed)
    streams.visitor_owner = (await Conversation.objects.aget(key="c")).owner
    streams.ids = [stream_id]
    asked.clear()
    assert (await streams.visitor.client.delete("/api/chat/c")).status_code == 204
    claimed.opened.set()
    await whole(await asking)
    await eventually(lambda: are_gone(streams, 1))
    await eventually(is_nothing_left)
    assert asked == []


async def is_nothing_left() -> bool:
    return not await FormerStream.objects.aexists()
