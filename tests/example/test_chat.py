"""The chat of the example over HTTP, as an AI SDK client, a second visitor and a bad one use it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from example_project.chat.llm import SCRIPT
from resumable_streams.sse import data_of
from tests.tools.lengthy import starts_a_process
from tests.tools.serving import PLAIN
from tests.tools.waiting import eventually

from .server import Serve, environment_for, manage, servers

TEXT = SCRIPT.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
@starts_a_process
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with servers(tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(scope="module")
def fast(serve: Serve) -> str:
    """Serve a script that is over at once."""
    return serve(DEMO_RATE="0")


@pytest.fixture(scope="module")
def slow(serve: Serve) -> str:
    """Serve a script that is not over before the test is."""
    return serve(DEMO_RATE="30")


@asynccontextmanager
async def visit(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Be a new visitor, who has opened the page and so has a session and a CSRF token."""
    async with httpx.AsyncClient(verify=PLAIN, base_url=address, timeout=20) as client:
        page = await client.get("/")
        assert page.status_code == 200
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        yield client


def question(chat: str, message: str = "m1", text: str = "Why?", **more: Any) -> dict[str, Any]:
    turn = {"id": message, "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": chat, "messages": [turn], "trigger": "submit-message", **more}


@asynccontextmanager
async def asking(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
    """Ask, wait for the first bytes, and yield the stream's id and the rest of the body."""
    async with client.stream("POST", "/api/chat", json=body) as response:
        assert response.status_code == 200
        chunks = response.aiter_raw()
        await anext(chunks)
        yield response.headers["X-Resumable-Stream-Id"], chunks


def text_of(message: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in message["parts"])


def frames(body: bytes) -> list[str]:
    """Return the data of each event."""
    return [data_of(frame) for frame in body.split(b"\n\n")[:-1]]


async def test_answer_is_a_ui_message_stream(fast):
    async with visit(fast) as client:
        response = await client.post("/api/chat", json=question("a"))
    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    *data, done = frames(response.content)
    kinds = [json.loads(part)["type"] for part in data]
    assert [kind for kind in kinds if kind != "text-delta"] == [
        "start",
        "start-step",
        "text-start",
        "text-end",
        "finish-step",
        "finish",
    ]
    assert done == "[DONE]"
    assert "".join(json.loads(part).get("delta", "") for part in data) == TEXT


async def test_raw_answer_is_every_event_of_a_recording_byte_for_byte(serve, tmp_path):
    lines = [b'{"n": 1, "s": "\xc3\xa9"}', b'{ "n":2}', b'{"type":"ping"}']
    recording = tmp_path / "events.jsonl"
    recording.write_bytes(b"\n".join(lines))
    address = serve(DEMO_MODEL=f"recording:{recording}", DEMO_RATE="0")
    async with visit(address) as client:
        response = await client.post("/api/raw")
        body = b"".join(b"data: %b\n\n" % line for line in [*lines, b"[DONE]"])
        assert response.content == body
        stream = response.headers["X-Resumable-Stream-Id"]
        rest = await client.get(f"/streams/{stream}/", params={"offset": 7})
        assert rest.content == body[7:]


async def test_retry_with_an_idempotency_key_joins_the_first_try(fast):
    async with visit(fast) as client:
        tries = [
            await client.post("/api/raw", headers={"Idempotency-Key": key})
            for key in ("one", "one", "two")
        ]
    first, second, third = [answer.headers["X-Resumable-Stream-Id"] for answer in tries]
    assert first == second != third


async def test_answer_is_saved_without_any_reader(serve):
    async with visit(serve(DEMO_RATE="400")) as client:
        async with asking(client, question("a")):
            pass

        async def is_saved() -> bool:
            return not (await client.get("/api/chat/a")).json()["running"]

        await eventually(is_saved)
        chat = (await client.get("/api/chat/a")).json()
    asked, answer = chat["messages"]
    assert (text_of(asked), text_of(answer)) == ("Why?", TEXT)
    assert answer["metadata"]["status"] == "complete"


async def test_reconnect_replays_the_active_answer_from_its_first_byte(slow):
    async with visit(slow) as client, asking(client, question("a")) as (stream, _):
        async with client.stream("GET", "/api/chat/a/stream") as again:
            assert again.status_code == 200
            assert again.headers["X-Resumable-Stream-Id"] == stream
            assert (await anext(again.aiter_raw())).startswith(b'data: {"type":"start"')
        assert (await client.get("/api/chat/a")).json()["running"] == stream


async def test_reconnect_to_nothing_is_204(fast):
    async with visit(fast) as client:
        await client.post("/api/chat", json=question("over"))
        for chat in ("over", "never"):
            response = await client.get(f"/api/chat/{chat}/stream")
            assert (response.status_code, response.content) == (204, b"")


async def test_stop_ends_the_answer_and_keeps_what_was_said(slow):
    async with visit(slow) as client, asking(client, question("a")) as (_, chunks):
        for status in ("cancelled", None):  # again is no harm
            stopped = await client.post("/api/chat/a/stop")
            assert (stopped.status_code, stopped.json()) == (202, {"status": status})
        end = b"".join([chunk async for chunk in chunks])
        assert frames(end)[-2:] == ['{"type":"abort"}', "[DONE]"]
        answer = (await client.get("/api/chat/a")).json()["messages"][1]
    assert answer["metadata"]["status"] == "stopped"
    assert TEXT.startswith(text_of(answer))


async def test_the_same_question_again_joins_its_answer(slow):
    async with visit(slow) as client, asking(client, question("a")) as (stream, _):
        async with asking(client, question("a")) as (again, _):
            assert again == stream
        assert len((await client.get("/api/chat/a")).json()["messages"]) == 2


async def test_another_question_has_to_wait_for_the_answer(slow):
    async with visit(slow) as client, asking(client, question("a")):
        for body in (question("a", "m2"), question("a", trigger="regenerate-message")):
            refused = await client.post("/api/chat", json=body)
            assert refused.status_code == 409
            assert "still being written" in refused.json()["detail"]


async def test_of_many_questions_at_once_one_is_answered(slow):
    async with visit(slow) as client:

        async def ask(number: int) -> int:
            body = question("a", f"m{number}")
            async with client.stream("POST", "/api/chat", json=body) as response:
                return response.status_code

        codes = await asyncio.gather(*(ask(number) for number in range(8)))
        assert sorted(codes) == [200, *[409] * 7]
        assert len((await client.get("/api/chat/a")).json()["messages"]) == 2


async def test_regenerating_replaces_the_answer(fast):
    async with visit(fast) as client:
        await client.post("/api/chat", json=question("a"))
        before = (await client.get("/api/chat/a")).json()["messages"]
        await client.post("/api/chat", json=question("a", trigger="regenerate-message"))
        after = (await client.get("/api/chat/a")).json()["messages"]
    assert [message["role"] for message in after] == ["user", "assistant"]
    assert before[0] == after[0]
    assert before[1]["id"] != after[1]["id"]


async def test_another_visitor_finds_nothing(slow):
    async with (
        visit(slow) as client,
        visit(slow) as stranger,
        asking(client, question("a")) as (stream, _),
    ):
        foreign = await stranger.get(f"/streams/{stream}/")
        missing = await stranger.get("/streams/missing/")
        assert foreign.status_code == missing.status_code == 404
        assert foreign.content == missing.content
        assert (await stranger.get("/api/chat/a/stream")).status_code == 204
        assert (await stranger.post("/api/chat/a/stop")).status_code == 404
        assert (await stranger.get("/api/chat/a")).json()["messages"] == []
        async with asking(stranger, question("a")) as (other, _):
            assert other != stream


async def test_tab_without_a_token_is_refused(fast):
    async with visit(fast) as client:
        del client.headers["X-CSRFToken"]
        assert (await client.post("/api/chat", json=question("a"))).status_code == 403


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"id": "a"}', "'messages' is a list"),
        (b'{"id": "a", "messages": []}', "'messages' is a list"),
        (b'{"id": "a", "messages": [{"role": "system", "id": "1"}]}', "role 'user'"),
        (json.dumps(question("")).encode(), "'id' is a string"),
        (json.dumps(question("a" * 129)).encode(), "'id' is a string"),
        (json.dumps(question("a", "\n")).encode(), "'id' of a message"),
        (json.dumps(question("a", text=" ")).encode(), "no text"),
        (json.dumps(question("a", text="\0")).encode(), "characters"),
        (json.dumps(question("a", text="\ud800")).encode(), "characters"),
        (json.dumps(question("a", trigger="x")).encode(), "'trigger' is"),
    ],
)
async def test_bad_question_is_a_clear_400(fast, body, words):
    async with visit(fast) as client:
        headers = {"Content-Type": "application/json"}
        refused = await client.post("/api/chat", content=body, headers=headers)
        assert refused.status_code == 400
        assert words in refused.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        json.dumps(question("a")).encode(),
        b'{"messages": [{"parts": [1]}]}',
        json.dumps({**question("a"), "runId": 1, "threadId": "t"}).encode(),
        json.dumps({**question("a"), "runId": "r", "threadId": "t" * 5_000}).encode(),
        json.dumps({**question("a"), "runId": "r" * 5_000, "threadId": "t"}).encode(),
        json.dumps({**question("a"), "runId": "../r", "threadId": "t"}).encode(),
    ],
)
async def test_a_bad_run_of_an_agent_is_a_clear_400(fast, body):
    async with visit(fast) as client:
        headers = {"Content-Type": "application/json"}
        refused = await client.post("/api/agent", content=body, headers=headers)
        assert refused.status_code == 400
        assert refused.json()["error"]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"DEMO_MODEL": "gpt"}, "DEMO_MODEL='gpt' is not known"),
        ({"DEMO_MODEL": "recording:nowhere.jsonl"}, "cannot be read"),
        ({"DEMO_RATE": "fast"}, "DEMO_RATE='fast' is not a number"),
    ],
)
@pytest.mark.lengthy
def test_a_wrong_setting_is_a_clear_error_at_start(tmp_path, environment, words):
    variables = environment_for(tmp_path / "db.sqlite3", **environment)
    ended = manage("runserver", "--noreload", "127.0.0.1:0", env=variables)
    assert ended.returncode != 0
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
