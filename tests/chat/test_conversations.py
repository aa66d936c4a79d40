"""Whose conversations there are: lists, titles, deletion, visitors, users and tokens."""

import asyncio
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.test import AsyncRequestFactory, Client

from resumable_streams import StreamManager
from resumable_streams.contrib.chat.deleting import delete_conversations
from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.models import IncidentAction
from tests.tools.waiting import eventually

from .site import Assistant, Visitor, body, chunks, script, text

pytestmark = [pytest.mark.urls("tests.chat.site"), pytest.mark.django_db(transaction=True)]


async def keys(visitor: Visitor, at: str = "") -> list[str]:
    return [one["id"] for one in (await visitor.get(at)).json()["conversations"]]


async def test_conversations_are_listed_page_by_page_the_latest_first(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
):
    from resumable_streams.contrib.chat.views import ChatView

    monkeypatch.setattr(ChatView, "page_size", 2)
    for number in range(5):
        await visitor.ask(f"c{number}", words=f"Why {number}?")
    found: list[Any] = []
    at: str | None = ""
    while at is not None:
        page = (await visitor.get(at)).json()
        found += page["conversations"]
        at = f"?cursor={page['next']}" if page["next"] else None
    assert [one["id"] for one in found] == ["c4", "c3", "c2", "c1", "c0"]
    assert [one["title"] for one in found] == [f"Why {n}?" for n in (4, 3, 2, 1, 0)]
    assert {one["running"] for one in found} == {None}


async def test_a_running_answer_is_in_the_list(visitor: Visitor):
    source = script(is_held=True)
    async with visitor.asking("c") as response:
        (found,) = (await visitor.get("")).json()["conversations"]
        assert found["running"] == response["X-Resumable-Stream-Id"]
        source.end()


@pytest.mark.parametrize("cursor", ["x", "e30=", "W10=", "WzEsMl0=", "\u00e9", "bnVsbA=="])
async def test_a_cursor_of_ones_own_making_is_refused(visitor: Visitor, cursor: str):
    await visitor.ask("c")
    refused = await visitor.get(f"?cursor={cursor}")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_cursor")


async def test_what_is_not_there_and_what_is_foreign_look_the_same(
    visitor: Visitor, stranger: Visitor
):
    await stranger.ask("own")
    source = script("Hel", is_held=True)
    async with visitor.asking("c"):
        for key in ("c", "never", "x" * 200):
            empty: Any = {"id": key, "title": "", "running": None, "messages": []}
            assert await stranger.history(key) == empty
            assert (await stranger.get(f"/{key}/stream")).status_code == 204
            refused = [
                await stranger.post({}, f"/{key}/stop"),
                await stranger.client.delete(f"/api/chat/{key}"),
                await stranger.client.patch(f"/api/chat/{key}", b'{"title": "x"}'),
            ]
            assert [one.status_code for one in refused] == [404] * 3
            assert len({one.content for one in refused}) == 1
        assert await keys(stranger) == ["own"]
        assert await keys(visitor) == ["c"]
        source.end()


async def test_one_key_of_two_owners_is_two_conversations(visitor: Visitor, stranger: Visitor):
    await visitor.ask("c", words="Mine?")
    await stranger.ask("c", words="Yours?")
    assert (await visitor.history("c"))["title"] == "Mine?"
    assert (await stranger.history("c"))["title"] == "Yours?"


async def test_a_title_is_changed(visitor: Visitor):
    await visitor.ask("c")
    changed = await visitor.client.patch("/api/chat/c", b'{"title": " Better "}')
    assert changed.status_code == 200
    assert changed.json()["title"] == (await visitor.history("c"))["title"] == "Better"
    for bad in (b"{}", b'{"title": ""}', b'{"title": 1}', b'{"title": "\\u0000"}', b"x"):
        assert (await visitor.client.patch("/api/chat/c", bad)).status_code == 400


async def test_a_deletion_takes_the_streams_with_it(visitor: Visitor, manager: StreamManager):
    await visitor.ask("c")
    source = script("Hel", is_held=True)
    response = await visitor.post(body("c", "q2"))
    await eventually(lambda: source.calls)
    rows = Message.objects.exclude(stream_id=None)
    streams = [one async for one in rows.values_list("stream_id", flat=True)]
    owner = (await Conversation.objects.aget()).owner
    assert len(streams) == 2
    assert (await visitor.client.delete("/api/chat/c")).status_code == 204
    assert [await manager.astatus(one, owner=owner) for one in streams] == [None, None]
    assert not await Message.objects.aexists()
    response.close()
    assert (await visitor.history("c"))["messages"] == []


async def test_methods_that_an_address_does_not_have_are_refused(visitor: Visitor):
    assert (await visitor.client.delete("/api/chat")).status_code == 405
    assert (await visitor.get("/c/stop")).status_code == 405
    assert (await visitor.post({}, "/c/stream")).status_code == 405
    assert (await visitor.post({}, "/c")).status_code == 405


# --- Owners


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("ada", password="secret")


async def test_what_a_visitor_has_asked_is_the_accounts_after_the_login(
    visitor: Visitor, user: User
):
    await visitor.ask("c")
    await visitor.client.alogin(username="ada", password="secret")
    conversation = await Conversation.objects.aget()
    assert conversation.owner == f"user:{user.pk}"  # at the login, before anybody has looked
    await visitor.client.alogout()
    assert await keys(visitor) == []
    await visitor.client.alogin(username="ada", password="secret")
    assert await keys(visitor) == ["c"]


async def test_an_answer_that_runs_during_the_login_can_be_read_from_the_account(
    visitor: Visitor, user: User
):
    source = script("Hel", is_held=True)
    async with visitor.asking("c"):
        await visitor.client.alogin(username="ada", password="secret")
        elsewhere = Visitor()
        await elsewhere.client.alogin(username="ada", password="secret")
        again = await elsewhere.get("/c/stream")
        assert again.status_code == 200
        repeated = await elsewhere.post(body("c"))
        assert repeated.status_code == 200
        source.end("lo.")
        await chunks(again)
        await chunks(repeated)
    _, answer = (await elsewhere.history("c"))["messages"]
    assert answer["parts"][1]["text"] == "Hello."


async def test_of_two_conversations_with_one_key_both_stay(visitor: Visitor, user: User):
    account = Visitor()
    await account.client.alogin(username="ada", password="secret")
    await account.ask("c", words="The account's?")
    await visitor.ask("c", words="The visitor's?")
    await visitor.client.alogin(username="ada", password="secret")
    assert (await visitor.history("c"))["title"] == "The account's?"
    assert await Conversation.objects.acount() == 2


def team(request: Any) -> tuple[str, ...]:
    return ("user:1", "team:5")


async def test_what_is_a_teams_stays_the_teams(visitor: Visitor, configure: Any):
    configure(OWNER=f"{__name__}.{team.__name__}")
    from resumable_streams.identifiers import owner_digest

    of_team = {"owner": "team:5", "owner_digest": owner_digest("team:5"), "key": "c"}
    await Conversation.objects.acreate(alias="default", tenant="default", chat="chat", **of_team)
    await visitor.ask("c")
    conversation = await Conversation.objects.aget()
    assert conversation.owner == "team:5"
    assert (await visitor.history("c"))["messages"][0]["parts"] == text("Why?")


def by_token(request: Any) -> str | None:
    return {"Bearer ada": "ada"}.get(request.headers.get("Authorization", ""))


async def test_a_client_with_a_token_needs_no_cookie(visitor: Visitor, configure: Any):
    configure(OWNER=f"{__name__}.{by_token.__name__}")
    headers = {"authorization": "Bearer ada"}
    content = body("c")
    posted = await visitor.client.post(
        "/api/chat", content, content_type="application/json", headers=headers
    )
    await chunks(posted)
    listed = await visitor.client.get("/api/chat", headers=headers)
    assert [one["id"] for one in listed.json()["conversations"]] == ["c"]
    for nobody in (await visitor.get(""), await visitor.get("/c"), await visitor.post(content)):
        assert (nobody.status_code, nobody.json()["error"]) == (401, "no_owner")


def test_conversations_are_shown_to_staff_and_deleted_whole(configure: Any, admin_client: Client):
    conversation = Conversation.objects.create(
        alias="default", tenant="default", owner="ada", owner_digest="d" * 32, key="c", title="Why?"
    )
    Message.objects.create(conversation=conversation, key="q", role="user", parts=text("Why?"))
    at = "/admin/resumable_streams_chat/conversation/"
    assert b"Why?" in admin_client.get(at).content
    assert b"Why?" in admin_client.get(f"{at}{conversation.pk}/change/").content
    admin_client.post(f"{at}{conversation.pk}/delete/", {"post": "yes"})
    assert not Conversation.objects.exists()


def test_a_deletion_that_is_rolled_back_leaves_the_stream_of_its_row(configure: Any):
    streams = StreamManager()
    list(streams.run("s", [b"x"], owner="ada"))
    conversation = Conversation.objects.create(
        alias="default", tenant="default", owner="ada", owner_digest="d" * 32, key="c"
    )
    Message.objects.create(conversation=conversation, key="a", role="assistant", stream_id="s")
    with suppress(LookupError), transaction.atomic():
        delete_conversations([conversation])
        raise LookupError
    assert Conversation.objects.exists()
    assert streams.status("s", owner="ada") is not None
    delete_conversations([conversation])
    assert streams.status("s", owner="ada") is None


def delete_chats(*options: str) -> str:
    out = StringIO()
    try:
        call_command("delete_chats", *options, stdout=out)
    finally:
        connections.close_all()  # the thread goes back to others
    return out.getvalue()


async def test_a_person_is_forgotten_by_a_command(
    visitor: Visitor, stranger: Visitor, user: User, manager: StreamManager
):
    await visitor.client.alogin(username="ada", password="secret")
    streams = []
    for key in ("a", "b"):
        response = await visitor.post(body(key))
        streams.append(response["X-Resumable-Stream-Id"])
        await chunks(response)
    await stranger.ask("c")
    whose = ("--user", str(user.pk))
    assert "2 conversations of" in await asyncio.to_thread(delete_chats, *whose, "--dry-run")
    with pytest.raises(CommandError, match="confirm with --yes"):
        await asyncio.to_thread(delete_chats, *whose)
    with pytest.raises(CommandError, match="nowhere"):
        await asyncio.to_thread(delete_chats, *whose, "--yes", "--using", "nowhere")
    other = (*whose, "--yes", "--tenant", "acme")
    assert "0 conversations of" in await asyncio.to_thread(delete_chats, *other)
    assert await keys(visitor) == ["b", "a"]
    printed = await asyncio.to_thread(delete_chats, *whose, "--yes", "--reason", "erasure 12")
    assert "2 conversations of" in printed
    assert await keys(visitor) == []
    assert await keys(stranger) == ["c"]
    owner = f"user:{user.pk}"
    assert [await manager.astatus(one, owner=owner) for one in streams] == [None, None]
    act = await IncidentAction.objects.aget(reason="erasure 12")
    assert (act.action, act.outcome, act.counts) == ("forget", "done", {"deleted": 2})
    assert owner not in str(act.arguments)


async def test_chats_with_addresses_of_their_own_have_conversations_of_their_own(
    visitor: Visitor, user: User
):
    await visitor.ask("c", words="Here?")
    visitor.api = "/api/replacing"
    assert (await visitor.history("c"))["messages"] == []
    await visitor.ask("c", words="There?")
    assert await keys(visitor) == ["c"]
    await visitor.client.alogin(username="ada", password="secret")
    assert (await visitor.history("c"))["title"] == "There?"
    visitor.api = "/api/chat"
    assert (await visitor.history("c"))["title"] == "Here?"


async def test_a_page_names_the_chat_that_it_shows(visitor: Visitor, user: User):
    await visitor.client.alogin(username="ada", password="secret")
    await visitor.ask("c", words="Here?")
    request = AsyncRequestFactory().get("/")
    request.user = user
    assert (await (await Assistant.of(request)).history("c"))["title"] == "Here?"
    other = await Assistant.of(request, name="replacing")
    assert (await other.history("c"))["messages"] == []
