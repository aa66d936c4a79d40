"""What the log says of a refused request: a 503 always, a 401 or 404 with DEBUG only."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import AsyncClient
from django.urls import include, path
from pytest_django import Settings

from resumable_streams import streams
from resumable_streams.engine.validation import refuse_wrong_settings, worker_processes
from resumable_streams.exceptions import InvalidStoreError
from resumable_streams.http import opening
from resumable_streams.producing.sources import WrongSource
from resumable_streams.views import AcquireView, resume_response, stream_response
from tests.tools.streams import Configure
from tests.tools.waiting import eventually

ANSWER = b"nobody else reads this"


class Answer(AcquireView):
    def produce(self, request: HttpRequest) -> Any:
        return [ANSWER]


async def returns_a_function(request: HttpRequest) -> Any:
    produce: Any = Answer().produce
    return await stream_response(request, lambda: produce)


async def returns_text(request: HttpRequest) -> Any:
    return await stream_response(request, lambda: "text")


class ReturnsNothing(Answer):
    async def produce(self, request: HttpRequest) -> Any:
        return None


class Raises(Answer):
    async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        raise TypeError("of the source's own")
        yield b""


class Slow(Answer):
    may_return: asyncio.Event

    async def produce(self, request: HttpRequest) -> Any:
        await self.may_return.wait()
        return None


async def active(request: HttpRequest, stream_id: str | None = None) -> Any:
    return await resume_response(request, stream_id, active=True)


urlpatterns = [
    path("answer/", Answer.as_view()),
    path("function/", returns_a_function),
    path("text/", returns_text),
    path("nothing/", ReturnsNothing.as_view()),
    path("slow/", Slow.as_view()),
    path("raises/", Raises.as_view()),
    path("active/", active),
    path("active/<str:stream_id>/", active),
    path("streams/", include("resumable_streams.urls")),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(settings: Settings, caplog: pytest.LogCaptureFixture) -> Lines:
    settings.DEBUG = True

    def debug_lines() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.name == "resumable_streams.debug"]

    return debug_lines


async def finished(client: AsyncClient) -> str:
    answer: Any = await client.post("/answer/")
    assert b"".join([chunk async for chunk in answer.streaming_content]) == ANSWER
    address: str = answer["Location"]
    return address


async def test_each_404_has_its_line(configure: Configure, lines: Lines) -> None:
    client, stranger = AsyncClient(), AsyncClient()
    address = await finished(client)
    stream_id = address.split("/")[-2]
    other, link = await finished(client), address + "?token=nosuchlink"
    assert (await stranger.get(address)).status_code == 404
    assert (await client.get(address + "status/")).status_code == 200
    assert (await client.get(link)).status_code == 404
    assert (await client.get("/active/")).status_code == 404
    assert (await client.get(f"/active/{stream_id}/")).status_code == 404
    assert (await client.get("/streams/~/")).status_code == 404
    assert (await client.get("/streams/nosuch/")).status_code == 404
    await streams.arotate()
    assert (await client.get(other)).status_code == 404
    foreign, token, unnamed, ended, invalid, missing, rotated = lines()
    assert foreign.startswith(f"404 for GET {address}: foreign: ")
    assert "No cookie 'sessionid' came with this request" in foreign
    assert "token of the address" in token
    assert "nosuchlink" not in token
    assert "stream_id was None" in unnamed
    assert "active=True" in ended
    assert "no stream id" in invalid
    assert "memory of this process" in missing or "no such stream. It never began" in missing
    assert "rotated: the stream is of generation 1 of tenant 'default'" in rotated


async def test_a_revoked_owner_has_its_line(configure: Configure, lines: Lines) -> None:
    client = AsyncClient()
    address = await finished(client)
    session = await sync_to_async(lambda: dict(client.session))()
    await streams.arevoke(owner=f"session:{session['_resumable_streams_owner']}")
    assert (await client.get(address)).status_code == 404
    (line,) = lines()
    assert "revoked: the streams of this owner were revoked" in line


async def test_nobody_has_its_line(
    configure_memory: Configure, lines: Lines, settings: Settings
) -> None:
    settings.MIDDLEWARE = []
    assert (await AsyncClient().post("/answer/")).status_code == 401
    configure_memory(OWNER=f"{__name__}.nobody")
    assert (await AsyncClient().post("/answer/")).status_code == 401
    without_session, nobody = lines()
    assert "Add SessionMiddleware" in without_session
    assert f"OWNER ({__name__}.nobody) returned None" in nobody


def nobody(request: HttpRequest) -> None:
    return None


@pytest.mark.parametrize("debug", [True, False])
async def test_an_answer_is_the_same_with_debug_and_without(
    configure: Configure, settings: Settings, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    settings.DEBUG = debug
    address = await finished(AsyncClient())
    caplog.clear()
    for where in (address, "/streams/nosuch/", "/active/"):
        answer = await AsyncClient().get(where)
        assert answer.content == b'{"error": "stream_not_found"}'
    settings.MIDDLEWARE = []
    answer = await AsyncClient().get(address)
    assert answer.content == b'{"error": "no_owner"}'
    ours = [record for record in caplog.records if record.name.startswith("resumable_streams")]
    assert len(ours) == (4 if debug else 0)


async def test_a_503_is_logged_with_its_stream_and_its_request(
    configure_redis: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure_redis(LOCATION="redis://somebody:secret@127.0.0.1:1/0")
    answer = await AsyncClient().get("/streams/chat/?token=secret", headers={"X-Request-ID": "r-7"})
    assert answer.status_code == 503
    assert answer.content == b'{"error": "unavailable"}'
    (line,) = [r for r in caplog.records if r.name == "resumable_streams.http"]
    assert line.levelno == logging.WARNING
    assert line.getMessage().startswith("503 for GET /streams/chat/ (stream chat, request r-7): ")
    assert "at redis://127.0.0.1:1/0" in line.getMessage()
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/function/", r"not method. Call it: `return answer\(\)`"),
        ("/text/", "not str. Yield it, or return it in a list"),
        ("/nothing/", "not NoneType. A `yield` is missing, or a `return`"),
    ],
)
async def test_what_is_no_source_fails_before_the_first_byte(
    configure: Configure, address: str, words: str
) -> None:
    with pytest.raises(WrongSource, match=words):
        await AsyncClient().post(address)


async def test_an_answer_waits_for_a_slow_coroutine_for_a_moment_only(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opening, "OPENING_SECONDS", 0.01)
    Slow.may_return = asyncio.Event()
    answer: Any = await AsyncClient().post("/slow/")
    assert answer.status_code == 200
    Slow.may_return.set()
    await eventually(lambda: "The source of a stream failed" in caplog.text)
    answer.close()


async def test_a_source_that_raises_is_a_stream_that_failed(configure: Configure) -> None:
    answer = await AsyncClient().post("/raises/")
    assert answer.status_code == 200
    answer.close()


def test_a_view_that_cannot_answer_is_refused_where_it_is_named() -> None:
    class Typo(Answer):
        format = "ndjosn"

    class Unfinished(AcquireView):
        pass

    with pytest.raises(ImproperlyConfigured, match=r"Typo: No format is called 'ndjosn'"):
        Typo.as_view()
    with pytest.raises(ImproperlyConfigured, match="Unfinished has no `produce`"):
        Unfinished.as_view()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"OWNER": "nosuch.module.owner"}, "cannot be imported: No module named 'nosuch'"),
        ({"OWNER": f"{__name__}.ANSWER"}, "cannot be called: it is a bytes"),
        ({"TENANT": f"{__name__}.nosuch"}, "TENANT .* cannot be imported"),
        ({"BACKEND": "nosuch.Store"}, "BACKEND 'nosuch.Store'"),
        ({"TTLS": 1}, "unknown key 'TTLS'. Known: BACKEND"),
    ],
)
def test_settings_that_cannot_work_end_the_start_of_a_server(
    settings: Settings, entry: dict[str, Any], words: str
) -> None:
    settings.RESUMABLE_STREAMS = {"default": entry}
    with pytest.raises(InvalidStoreError, match=words):
        refuse_wrong_settings()


def test_memories_of_several_processes_are_warned_of_at_the_start(
    configure_memory: Configure,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("sys.argv", ["uvicorn", "mysite.asgi:application", "--workers", "1"])
    refuse_wrong_settings()
    assert caplog.messages == []
    monkeypatch.setattr("sys.argv", ["gunicorn", "-w", "4", "mysite.wsgi"])
    refuse_wrong_settings()
    assert "this server has 4 of them" in caplog.text
    monkeypatch.setattr("sys.argv", ["uvicorn", "--workers=3"])
    assert worker_processes() == 3
    monkeypatch.setattr("sys.argv", ["uvicorn"])
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    assert worker_processes() == 2


def test_the_default_owner_without_sessions_is_warned_of_at_the_start(
    configure_redis: Configure, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_wrong_settings()
    assert caplog.messages == []
    settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
    refuse_wrong_settings()
    assert "MIDDLEWARE has no SessionMiddleware" in caplog.text
