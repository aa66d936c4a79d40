"""Conversations with a chat in processes of its own, and what their readers have read."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import httpx
import pytest

from resumable_streams.sse import data_of
from tests.tools.serving import PLAIN
from tests.tools.waiting import eventually

from .conftest import Serve
from .servers import Server

__all__ = [
    *("COUNT", "LEASE", "SWEEP", "WORDS", "Talk"),
    *("client_of", "outcome", "question", "start", "text_of"),
]

LEASE, SWEEP = 1.5, 0.5
COUNT = 60
WORDS = "".join(f"{number} " for number in range(COUNT))


@pytest.fixture
def start(site: Serve, redis_url: str) -> Any:
    """Return what starts a server of the chat."""

    def start(**more: str) -> Server:
        return site(
            "uvicorn",
            DJANGO_SETTINGS_MODULE="tests.acceptance.chat_site",
            **{"REDIS_URL": redis_url, "LEASE": str(LEASE), "SWEEP": str(SWEEP), **more},
        )

    return start


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        verify=PLAIN,
        base_url=server.url,
        headers={"X-User": "me"},
        timeout=60,
        limits=limits,
    ) as client:
        yield client


def question(key: str = "q", **plan: Any) -> dict[str, Any]:
    text = json.dumps({"count": COUNT, "every": 0.05, **plan})
    return {"id": key, "role": "user", "parts": [{"type": "text", "text": text}]}


@dataclass
class Talk:
    """One conversation, and what its reader has read of the answer."""

    client: httpx.AsyncClient
    key: str
    read: str = ""
    stream_id: str = ""
    api: str = "/api/chat"

    async def ask(self, words: int | None = None, **plan: Any) -> None:
        """Ask, and read until there are that many words, or until the body ends."""
        body = {"id": self.key, "messages": [question(**plan)]}
        async with self.client.stream("POST", self.api, json=body) as response:
            assert response.status_code == 200, await response.aread()
            self.stream_id = response.headers["X-Resumable-Stream-Id"]
            rest = b""
            async for chunk in response.aiter_raw():
                *frames, rest = (rest + chunk).split(b"\n\n")
                for frame in frames:
                    self.take(data_of(frame))
                if words is not None and self.read.count(" ") >= words:
                    return

    def take(self, data: str) -> None:
        if data.startswith("{"):
            self.read += json.loads(data).get("delta", "")

    async def history(self, client: httpx.AsyncClient | None = None) -> list[dict[str, Any]]:
        found = await (client or self.client).get(f"{self.api}/{self.key}")
        messages: list[dict[str, Any]] = found.json()["messages"]
        return messages

    async def ended(self, client: httpx.AsyncClient | None = None) -> dict[str, Any]:
        """Wait until the answer has ended; return it."""

        async def has_ended() -> bool:
            messages = await self.history(client)
            return len(messages) == 2 and messages[1]["metadata"]["status"] != "running"

        await eventually(has_ended, pause=0.1)
        asked, answer = await self.history(client)
        assert asked["parts"] == question(**json.loads(asked["parts"][0]["text"]))["parts"]
        return answer

    def lacks(self, answer: dict[str, Any]) -> int:
        """Return how many characters that were read the saved answer has not."""
        pairs = zip(self.read, text_of(answer), strict=False)
        return len(self.read) - len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))

    def check(self, answer: dict[str, Any]) -> None:
        """Check that the saved answer is a part of the whole, with all that was read."""
        saved = text_of(answer)
        assert WORDS.startswith(saved)
        assert saved.startswith(self.read)


def text_of(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def outcome(answer: dict[str, Any]) -> tuple[str, str | None]:
    return answer["metadata"]["status"], answer["metadata"].get("error")
