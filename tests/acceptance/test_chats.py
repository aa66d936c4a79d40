"""Chats in real processes that end badly: every question and every answered word is in the table,
and none twice."""

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from resumable_streams.sse import data_of
from tests.proxy import proxy_to
from tests.tools.serving import PLAIN
from tests.tools.waiting import eventually, pass_time

from .conftest import Serve
from .servers import Server

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

    async def ask(self, words: int | None = None, **plan: Any) -> None:
        """Ask, and read until there are that many words, or until the body ends."""
        body = {"id": self.key, "messages": [question(**plan)]}
        async with self.client.stream("POST", "/api/chat", json=body) as response:
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
        found = await (client or self.client).get(f"/api/chat/{self.key}")
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

    def check(self, answer: dict[str, Any]) -> None:
        """Check that the saved answer is a part of the whole, with all that was read."""
        saved = text_of(answer)
        assert WORDS.startswith(saved)
        assert saved.startswith(self.read)


def text_of(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def outcome(answer: dict[str, Any]) -> tuple[str, str | None]:
    return answer["metadata"]["status"], answer["metadata"].get("error")


async def test_an_answer_whose_process_is_killed_is_saved_as_far_as_it_was_stored(start: Any):
    doomed, other = start(), start()
    async with client_of(doomed) as there, client_of(other) as here:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        doomed.kill()
        answer = await talk.ended(here)
    talk.check(answer)
    assert outcome(answer) == ("failed", "producer_lost")


async def test_an_answer_that_a_killed_process_left_is_saved_by_the_next_one(start: Any):
    """There was no other process to take it over."""
    doomed = start()
    async with client_of(doomed) as there:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        doomed.kill()
    async with client_of(start()) as here:
        answer = await talk.ended(here)
    talk.check(answer)
    assert outcome(answer) == ("failed", "producer_lost")


async def test_an_answer_that_a_deploy_cannot_wait_for_is_saved(start: Any):
    old, new = start(DRAIN_TIMEOUT="0.2"), start()
    async with client_of(old) as there, client_of(new) as here:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        old.process.send_signal(signal.SIGTERM)
        answer = await talk.ended(here)
    talk.check(answer)
    assert outcome(answer) == ("failed", "interrupted")


async def test_an_answer_that_a_deploy_waits_for_is_saved_whole(start: Any):
    old, new = start(DRAIN_TIMEOUT="20"), start()
    async with client_of(old) as there, client_of(new) as here:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        old.process.send_signal(signal.SIGTERM)
        answer = await talk.ended(here)
    assert (text_of(answer), outcome(answer)) == (WORDS, ("complete", None))


async def test_an_answer_is_stopped_from_the_other_process(start: Any):
    async with client_of(start()) as there, client_of(start()) as here:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        assert (await here.post("/api/chat/c/stop")).status_code == 202
        (_, answer) = await talk.history(here)  # at once
    talk.check(answer)
    assert outcome(answer) == ("stopped", None)


async def test_posts_to_two_processes_at_once_begin_one_answer(start: Any):
    async with client_of(start()) as one, client_of(start()) as two:
        for key in ("a", "b", "c"):
            talks = [Talk(client, key) for client in (one, two) for _ in range(6)]
            await asyncio.gather(*(talk.ask(every=0.01) for talk in talks))
            assert {talk.read for talk in talks} == {WORDS}
            assert len({talk.stream_id for talk in talks}) == 1
            assert text_of(await talks[0].ended()) == WORDS


@pytest.mark.parametrize(("patience", "ends"), [("20", "complete"), ("1", "failed")])
async def test_a_store_that_is_gone_for_a_while_takes_no_word_with_it(
    start: Any, redis_url: str, patience: str, ends: str
):
    async with proxy_to(int(redis_url.rpartition(":")[2].partition("/")[0])) as proxy:
        server = start(REDIS_URL=proxy.location, STORE_TIMEOUT=patience)
        async with client_of(server) as client:
            talk = Talk(client, "c")
            await talk.ask(words=10)
            proxy.open_hole()
            proxy.cut()
            messages = await talk.history()  # from the table
            assert [one["metadata"]["status"] for one in messages] == ["complete", "running"]
            await pass_time(3)
            proxy.close_hole()
            proxy.cut()
            answer = await talk.ended()
    talk.check(answer)
    assert answer["metadata"]["status"] == ends
    assert (text_of(answer) == WORDS) is (ends == "complete")


@pytest.mark.slow
async def test_two_hundred_conversations_with_random_faults_keep_every_word(start: Any):
    """Clients leave or stop, providers fail, and one of two processes is killed meanwhile."""
    chance = random.Random(11)
    doomed, other = start(), start()
    async with client_of(doomed) as there, client_of(other) as here:
        talks = [Talk(chance.choice([there, here]), f"c{number}") for number in range(200)]

        async def hold(talk: Talk) -> None:
            fate = chance.choice(["leave", "stop", "fail", "read", "read"])
            words = chance.randrange(1, COUNT) if fate in ("leave", "stop") else None
            await pass_time(chance.random() * 2)
            try:
                await talk.ask(words, every=0.1, **({"fail": 1} if fate == "fail" else {}))
                if fate == "stop":
                    await talk.client.post(f"/api/chat/{talk.key}/stop")
            except httpx.TransportError:
                assert talk.client is there  # its process was killed

        held = asyncio.gather(*map(hold, talks))
        await pass_time(4)
        await eventually(lambda: sum(bool(talk.read) for talk in talks) > 120)
        doomed.kill()
        await held
        found = 0
        for talk in talks:
            messages = await talk.history(here)
            if not messages:  # killed before it was asked
                assert (talk.client, talk.read) == (there, "")
                continue
            talk.check(await talk.ended(here))
            found += 1
    assert found > 100
