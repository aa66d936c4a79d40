"""A chat whose answers follow a script, and the client of a browser that uses it."""

import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from django.contrib import admin
from django.test import AsyncClient
from django.urls import include, path

from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.contrib.chat.views import ChatView
from resumable_streams.sse import data_of
from resumable_streams.testing import ScriptedSource

scripts: deque[ScriptedSource] = deque()
"""What the next answers do; without one an answer says "Hello."."""

asked: list[list[dict[str, Any]]] = []
"""The messages that each answer got."""


class Assistant(ChatView):
    """A chat that does as the test says."""

    async def answer(self, conversation: Conversation, messages: Sequence[Message]) -> Any:
        asked.append([{"role": one.role, "parts": one.parts} for one in messages])
        return (scripts.popleft() if scripts else ScriptedSource("Hel", "lo."))()


class Replacing(Assistant):
    """The same, where a new question ends the answer that runs."""

    on_busy = "replace"


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(Assistant.urls("chat"))),
    path("api/", include(Replacing.urls("replacing"))),
]


def script(*steps: object, is_held: bool = False) -> ScriptedSource:
    """Have the next answer follow these steps."""
    source = ScriptedSource(*steps, is_held=is_held)
    scripts.append(source)
    return source


def text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}]


def body(conversation: str, key: str = "q1", words: str = "Why?", **more: Any) -> dict[str, Any]:
    """Return what `useChat` posts when a user has written something."""
    message = {"id": key, "role": "user", "parts": text(words)}
    return {"id": conversation, "messages": [message], "trigger": "submit-message", **more}


class Visitor:
    """A browser with cookies of its own."""

    def __init__(self, name: str = "chat") -> None:
        self.client = AsyncClient()
        self.api = f"/api/{name}"

    async def post(self, content: dict[str, Any], at: str = "") -> Any:
        return await self.client.post(
            self.api + at, json.dumps(content), content_type="application/json"
        )

    async def ask(self, conversation: str, key: str = "q1", **more: Any) -> list[dict[str, Any]]:
        """Ask, and read the answer to its end."""
        return await chunks(await self.post(body(conversation, key, **more)))

    @asynccontextmanager
    async def asking(self, conversation: str, key: str = "q1", **more: Any) -> AsyncIterator[Any]:
        """Ask, and yield the response with its first bytes read."""
        response = await self.post(body(conversation, key, **more))
        assert response.status_code == 200, response.content
        frames = aiter(response)
        await anext(frames)
        try:
            yield response
        finally:
            await frames.aclose()
            response.close()

    async def get(self, at: str) -> Any:
        return await self.client.get(self.api + at)

    async def history(self, conversation: str) -> dict[str, Any]:
        response = await self.get(f"/{conversation}")
        assert response.status_code == 200
        found: dict[str, Any] = response.json()
        return found


async def whole(response: Any) -> bytes:
    if not response.streaming:
        return bytes(response.content)
    try:
        return b"".join([frame async for frame in response])
    finally:
        response.close()


async def chunks(response: Any) -> list[dict[str, Any]]:
    """Return the parts of a body, and `{"type": "[DONE]"}` for its end."""
    assert response.status_code == 200, response.content
    assert response["x-vercel-ai-ui-message-stream"] == "v1"
    data = [data_of(frame) for frame in (await whole(response)).split(b"\n\n")[:-1]]
    return [json.loads(one) if one != "[DONE]" else {"type": one} for one in data if one]


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [one["type"] for one in found]


def words(found: list[dict[str, Any]]) -> str:
    return "".join(one["delta"] for one in found if one["type"] == "text-delta")
