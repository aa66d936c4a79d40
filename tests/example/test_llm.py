"""The models of the example: what they play, how fast, and what they refuse to start with."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.exceptions import ImproperlyConfigured

from example_project.chat import llm

TURNS = [llm.Turn(role="user", text="Why?")]


async def text_from(model: llm.Model) -> str:
    return "".join([llm.text_of(line) async for line in model.events(TURNS)])


# --- what an event says ---


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"object": "chat.completion.chunk", "choices": [{"delta": {"content": "é\n"}}]}, "é\n"),
        ({"choices": [{"delta": {"content": "a"}, "finish_reason": None}], "x_groq": {}}, "a"),
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, ""),
        ({"choices": [{"delta": {"content": None, "reasoning_content": "hm"}}]}, ""),
        ({"choices": [{"delta": {}, "finish_reason": "stop"}]}, ""),
        ({"choices": [], "usage": {"total_tokens": 3}}, ""),
        ({"choices": [{"delta": {"content": "b"}}], "error": None}, "b"),
        ({"type": "response.output_text.delta", "delta": "c"}, "c"),
        ({"type": "response.output_text.done", "text": "all of it"}, ""),
        ({"type": "response.mcp_call_arguments.delta", "delta": "{}"}, ""),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "d"}}, "d"),
        ({"type": "content_block_delta", "delta": {"type": "input_json_delta"}}, ""),
        ({"type": "ping"}, ""),
        ([1, 2], ""),
    ],
)
def test_text_of_an_event(event, text):
    assert llm.text_of(json.dumps(event).encode()) == text


def test_what_is_not_json_has_no_text():
    assert llm.text_of(b"\xff nonsense") == ""


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "error": {"type": "overloaded_error"}},
        {"type": "response.failed", "response": {}},
        {"error": {"message": "secret internals"}},
    ],
)
def test_an_error_of_the_provider_fails_the_answer_without_its_internals(event):
    with pytest.raises(llm.ModelFailed, match=r"^The provider reported an error\.$"):
        llm.text_of(json.dumps(event).encode())


# --- script and recordings ---


async def test_script_says_every_character_of_its_file():
    assert await text_from(llm.load("scripted", rate=0)) == llm.SCRIPT.read_text(encoding="utf-8")


def test_script_takes_about_twenty_seconds_at_the_default_pace():
    assert 18 <= len(llm.scripted_lines()) / 30 <= 25


async def test_recording_is_played_byte_for_byte(tmp_path):
    lines = [b'{"a": "\xe2\x80\xa8 \xff"}', b' {"b":2} ', b"not json"]
    file = tmp_path / "events.jsonl"
    file.write_bytes(lines[0] + b"\n\n" + lines[1] + b"\r\n" + lines[2])
    model = llm.load(f"recording:{file}", rate=0)
    assert [line async for line in model.events(TURNS)] == lines


async def test_two_readers_of_one_model_hear_the_same():
    model = llm.load("scripted", rate=0)
    first, second = await asyncio.gather(text_from(model), text_from(model))
    assert first == second


class Clock:
    """A clock that goes on only where somebody sleeps; it stands for the module `asyncio`."""

    def __init__(self) -> None:
        self.now = 100.0

    def get_running_loop(self) -> "Clock":
        return self

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(llm, "asyncio", clock)
    return clock


async def test_pace_does_not_drift_when_the_consumer_is_slow(clock: Clock):
    async for _ in llm.paced([b"x"] * 21, rate=100):
        await clock.sleep(0.005)
    assert clock.now == pytest.approx(100.205)  # 20 steps of 10 ms, not of 15


async def test_rate_zero_does_not_wait(clock: Clock):
    assert len([item async for item in llm.paced([b"x"] * 1_000, rate=0)]) == 1_000
    assert clock.now == 100


# --- refusing to start ---


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt", "'gpt' is not known"),
        ("recording:", "cannot be read"),
        ("recording:/nonexistent/x.jsonl", "cannot be read"),
        ("", "is not known"),
    ],
)
def test_a_model_that_is_not_there_is_a_clear_error(name, words):
    with pytest.raises(ImproperlyConfigured, match=words):
        llm.load(name, rate=1)


def test_an_empty_recording_is_a_clear_error(tmp_path):
    file = tmp_path / "empty.jsonl"
    file.write_bytes(b"\n\n")
    with pytest.raises(ImproperlyConfigured, match="no events"):
        llm.load(f"recording:{file}", rate=1)


@pytest.mark.parametrize("value", ["fast", "-1", "nan", "inf", ""])
def test_a_rate_that_is_none_is_a_clear_error(value):
    with pytest.raises(ImproperlyConfigured, match="DEMO_RATE"):
        llm.parse_rate(value)


@pytest.mark.parametrize("missing", ["OPENAI_API_KEY", "OPENAI_MODEL"])
def test_openai_without_its_settings_is_a_clear_error(monkeypatch, missing):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setenv("OPENAI_MODEL", "model")
    monkeypatch.delenv(missing)
    with pytest.raises(ImproperlyConfigured, match=missing):
        llm.load("openai", rate=1)


def test_system_check_reports_the_model(settings):
    from example_project.chat.checks import check_model

    settings.DEMO_MODEL, settings.DEMO_RATE = "nobody", "30"
    llm.get_model.cache_clear()
    (problem,) = check_model(None)
    assert problem.id == "chat.E001"
    assert "'nobody' is not known" in problem.msg


# --- an endpoint of the OpenAI kind ---


class Endpoint(BaseHTTPRequestHandler):
    """Answer a chat completion with the words of the question, one a chunk."""

    asked: dict[str, object] = {}

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        type(self).asked = {
            "path": self.path,
            "key": self.headers["Authorization"],
            **json.loads(self.rfile.read(length)),
        }
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for word in ("Because", " of", " ☕"):
            chunk = {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}],
                "of_this_vendor": True,
            }
            self.wfile.write(b"data: %b\n\n" % json.dumps(chunk).encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def endpoint(monkeypatch) -> Iterator[type[Endpoint]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-test")
        monkeypatch.setenv("OPENAI_MODEL", "m")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Endpoint
        server.shutdown()
        thread.join()


def test_openai_without_its_extra_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImproperlyConfigured, match=r"django-resumable-streams\[openai\]"):
        llm.load("openai", rate=1)


async def test_openai_model_asks_the_endpoint_and_yields_its_chunks(endpoint):
    lines = [line async for line in llm.load("openai", rate=0).events(TURNS)]
    assert "".join(map(llm.text_of, lines)) == "Because of ☕"
    assert json.loads(lines[0])["of_this_vendor"] is True
    assert endpoint.asked["path"] == "/v1/chat/completions"
    assert endpoint.asked["key"] == "Bearer key-of-the-test"
    assert endpoint.asked["messages"] == [{"role": "user", "content": "Why?"}]
    assert endpoint.asked["stream"] is True
