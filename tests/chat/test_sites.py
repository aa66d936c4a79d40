"""The chat in sites of other kinds: sync ones, and with mixins; and what it costs."""

from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from resumable_streams.contrib.chat.models import Message
from resumable_streams.contrib.chat.views import ChatView
from tests.tools.waiting import eventually

from .site import Assistant, Visitor, body, chunks, script, text


class Members(LoginRequiredMixin, Assistant):
    """A chat for users only."""

    raise_exception = True


class Limited(Assistant):
    """A chat that looks at the database before it accepts a question."""

    def refuse(self, request: HttpRequest) -> JsonResponse | None:
        is_enough = Message.objects.filter(role="user").count() >= 1
        return JsonResponse({"error": "enough"}, status=429) if is_enough else None


urlpatterns = [
    path("api/", include(Assistant.urls("chat"))),
    path("api/", include(Members.urls("members"))),
    path("api/", include(Limited.urls("limited"))),
]

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


def test_a_sync_site_answers_and_remembers(configure: Any, closes_sync_runtime: None):
    client = Client()
    for key in ("q1", "q2"):
        response: Any = client.post("/api/chat", body("c", key), content_type="application/json")
        assert response.status_code == 200
        assert b'"delta":"Hel"' in b"".join(response)
    history = client.get("/api/chat/c").json()
    assert [one["role"] for one in history["messages"]] == ["user", "assistant"] * 2
    assert client.get("/api/chat/c/stream").status_code == 204
    assert client.post("/api/chat/c/stop").status_code == 202
    assert client.delete("/api/chat/c").status_code == 204


async def test_a_mixin_of_django_goes_in_front(visitor: Visitor):
    await User.objects.acreate_user("ada", password="secret")
    visitor.api = "/api/members"
    assert (await visitor.post(body("c"))).status_code == 403
    await visitor.client.alogin(username="ada", password="secret")
    await visitor.ask("c")
    assert len((await visitor.history("c"))["messages"]) == 2


async def test_a_question_may_be_refused_before_it_is_saved(visitor: Visitor):
    visitor.api = "/api/limited"
    await visitor.ask("c")
    refused = await visitor.post(body("c", "q2"))
    assert (refused.status_code, refused.json()) == (429, {"error": "enough"})
    assert await Message.objects.acount() == 2


async def test_a_page_shows_what_is_there(visitor: Visitor, rf: Any):
    await visitor.ask("c")
    request: Any = rf.get("/")
    request.session = await visitor.client.asession()
    chat = await Assistant.of(request)
    assert await chat.history("c") == await visitor.history("c")
    assert await chat.conversations() == (await visitor.get("")).json()


async def test_forged_requests_are_refused(visitor: Visitor):
    client = AsyncClient(enforce_csrf_checks=True)
    for method, at in (("post", ""), ("post", "/c/stop"), ("patch", "/c"), ("delete", "/c")):
        refused = await getattr(client, method)(f"/api/chat{at}")
        assert refused.status_code == 403


def test_a_class_that_cannot_answer_is_refused_at_start():
    class Mute(ChatView):
        pass

    class Eager(Assistant):
        on_busy = "join"

    with pytest.raises(ImproperlyConfigured, match="has no `answer`"):
        Mute.urls("chat")
    with pytest.raises(ImproperlyConfigured, match="on_busy"):
        Eager.urls("chat")


async def test_no_query_is_made_for_a_chunk(visitor: Visitor, monkeypatch: pytest.MonkeyPatch):
    queries: Counter[str] = Counter()
    execute = CursorWrapper.execute

    def counted(self: Any, sql: str, params: Any = None) -> Any:
        queries[now] += 1
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", counted)
    now = "warm"
    for now, count in (("warm", 1), ("short", 2), ("long", 500)):
        script(*["word "] * count)
        await visitor.ask(now)

        async def is_saved() -> bool:
            return not await Message.objects.filter(status="running").aexists()

        queries_so_far = queries[now]
        now = "waiting"
        await eventually(is_saved)
        assert queries_so_far
    assert abs(queries["long"] - queries["short"]) < 20  # who saves the end


async def test_events_of_a_provider_keep_their_metadata_and_not_their_id(visitor: Visitor):
    script(
        {"type": "start", "messageId": "theirs", "messageMetadata": {"model": "m"}},
        {"type": "start-step"},
        *({"type": "text-start", "id": "1"}, {"type": "text-delta", "id": "1", "delta": "Hi."}),
        {"type": "text-end", "id": "1"},
        {"type": "finish-step"},
        {"type": "finish", "messageMetadata": {"tokens": 2}},
    )
    answer = await visitor.ask("c")
    assert [one["type"] for one in answer] == [
        *("start", "message-metadata", "start-step", "text-start", "text-delta", "text-end"),
        *("finish-step", "finish", "[DONE]"),
    ]
    saved = (await visitor.history("c"))["messages"][1]
    assert saved["id"] == answer[0]["messageId"] != "theirs"
    assert (saved["metadata"]["model"], saved["metadata"]["tokens"]) == ("m", 2)


async def test_frames_of_an_encoder_are_taken_apart(visitor: Visitor):
    frames = b'data: {"type":"start","messageId":"x"}\n\ndata: {"type":"text-start","id":"1"}\n\n'
    script(frames, b'data: {"type":"text-delta","id":"1","delta":"Hi."}\n\ndata: [DONE]\n\n')
    answer = await visitor.ask("c")
    assert [one["type"] for one in answer].count("start") == 1
    saved = (await visitor.history("c"))["messages"][1]
    assert saved["parts"][1:] == [{**text("Hi.")[0], "state": "done"}]
    assert await chunks(await visitor.post(body("c", "q2")))
