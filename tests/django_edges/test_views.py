"""The views, with real streams: what is asked, what is answered, who may."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import cache
from time import time
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient, AsyncRequestFactory, Client
from django.urls import include, path
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from pytest_django import Settings

from resumable_streams import streams
from resumable_streams.exceptions import (
    ShuttingDown,
    StoreUnavailable,
    StreamError,
    StreamLimitExceeded,
)
from resumable_streams.formats import Missing, raw, registry, ui_message
from resumable_streams.http.response import BodyCut, ResumableStreamResponse, error_response
from resumable_streams.owners import Identity, get_identity
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import stream_acquired
from resumable_streams.sse import event
from resumable_streams.views import AcquireView, resume_response, stream_response
from tests.tools.frames import without_ids

LIVE_EDGE = 9_007_199_254_740_991
ID = "X-Resumable-Stream-Id"
OFFSET = "X-Resumable-Stream-Offset"


class Script:
    """What the source yields, and when."""

    def __init__(self) -> None:
        self.calls = 0
        self._steps: asyncio.Queue[Any] = asyncio.Queue()

    def say(self, *steps: Any) -> None:
        """Yield these; raise the exceptions among them; end at None."""
        for step in steps:
            self._steps.put_nowait(step)

    async def play(self) -> AsyncIterator[bytes]:
        self.calls += 1
        while (step := await self._steps.get()) is not None:
            if isinstance(step, Exception):
                raise step
            yield step


script: Script


class Raw(AcquireView):
    def produce(self, request: HttpRequest) -> Any:
        return script.play()


class Events(Raw):
    format = "sse"


class Messages(Raw):
    format = "ui_message"


class Agents(Raw):
    format = "ag_ui"


class Silent(Events):
    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        return {"end_event": "none"}


class Coroutine(AcquireView):
    async def produce(self, request: HttpRequest) -> Any:
        return ["a", "b"]

    async def get_stream_id(self, request: HttpRequest) -> str:
        return request.GET["id"]

    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        return {"content_type": "text/plain"}


class Upload(AcquireView):
    async def produce(self, request: Any) -> AsyncIterator[bytes]:
        async for step in script.play():
            yield step
        yield request.FILES["file"].read() if request.FILES else request.body


class Closed(Raw):
    def refuse(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("closed", status=402)


class Rated(Raw):
    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.rate, self.limiter = parse("2/minute"), MovingWindowRateLimiter(counters)

    async def refuse(self, request: HttpRequest) -> None:
        who = (self.tenant or "", str(self.owner))
        if not await self.limiter.hit(self.rate, *who):
            window = await self.limiter.get_window_stats(self.rate, *who)
            wait = math.ceil(window.reset_time - time())
            raise StreamLimitExceeded("rate", self.rate.amount, retry_after=wait)


counters: MemoryStorage


async def plain(request: HttpRequest) -> HttpResponseBase:
    return await stream_response(request, script.play, stream_id=request.GET.get("id"))


async def reconnect(request: HttpRequest, stream_id: str) -> HttpResponseBase:
    missing = request.GET.get("missing")
    return await resume_response(
        request,
        stream_id,
        format="ui_message",
        missing=None if missing is None else Missing(missing),
        active="active" in request.GET,
    )


urlpatterns = [
    path("raw/", Raw.as_view()),
    path("events/", Events.as_view()),
    path("messages/", Messages.as_view()),
    path("agents/", Agents.as_view()),
    path("silent/", Silent.as_view()),
    path("coroutine/", Coroutine.as_view()),
    path("upload/", Upload.as_view()),
    path("rated/", Rated.as_view()),
    path("closed/", Closed.as_view()),
    path("plain/", plain),
    path("reconnect/<str:stream_id>/", reconnect),
    path("streams/", include("resumable_streams.urls")),
]

pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def streams_of_the_test(settings: Settings, key_prefix: str) -> None:
    """Give the test a script and a store of its own, without a database."""
    global script
    script = Script()
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix, "DRAIN_TIMEOUT": 0}}


@pytest.fixture
def client() -> AsyncClient:
    """Return a visitor."""
    return AsyncClient()


@pytest.fixture
def sync_client() -> Client:
    """Return a visitor through WSGI, the first user of the runtime."""
    return Client()


async def read(response: Any) -> bytes:
    """Read a body to its end."""
    return b"".join([part async for part in response])


async def read_until(response: Any, size: int) -> bytes:
    """Read until `size` bytes are there, then leave."""
    data = b""
    async for part in response:
        data += part
        if len(data) >= size:
            break
    response.close()
    return data


async def start(client: AsyncClient, *steps: Any, at: str = "/raw/", **more: Any) -> Any:
    script.say(*steps)
    response = await client.post(at, **more)
    assert response.status_code == 200
    return response


async def finished(client: AsyncClient, *steps: Any, at: str = "/raw/") -> str:
    """Return the address of a stream that has ended."""
    response = await start(client, *steps, None, at=at)
    with suppress(BodyCut):
        await read(response)
    return f"/streams/{response[ID]}/"


async def live(client: AsyncClient, *steps: bytes, at: str = "/raw/") -> str:
    """Return the address of a stream that has these bytes, and goes on."""
    response = await start(client, *steps, at=at)
    await read_until(response, len(b"".join(steps)))
    return f"/streams/{response[ID]}/"


# --- the main way


async def test_a_stream_outlives_its_reader_and_goes_on_where_that_stopped(client: AsyncClient):
    response = await start(client, b"first ")
    assert await read_until(response, 6) == b"first "
    script.say(b"second ", b"third", None)
    again = await client.get(f"/streams/{response[ID]}/?offset=6")
    assert again.status_code == 200
    assert again[OFFSET] == "6"
    assert await read(again) == b"second third"
    assert script.calls == 1


async def test_the_headers_of_a_stream(client: AsyncClient):
    response = await start(client, b"x", None)
    assert await read(response) == b"x"
    headers = dict(response.items())
    assert headers.pop("Location") == f"/streams/{headers.pop(ID)}/"
    assert headers.pop("X-Resumable-Stream-Epoch")
    assert headers.pop("Vary") == "Cookie"
    assert headers == {
        "Content-Type": "application/octet-stream",
        "Cache-Control": "private, no-store, no-transform",
        "X-Accel-Buffering": "no",
        "Content-Encoding": "identity",
        "X-Content-Type-Options": "nosniff",
        "X-Resumable-Stream-Offset": "0",
        "Accept-Ranges": "bytes",
        "Access-Control-Expose-Headers": (
            "X-Resumable-Stream-Id, X-Resumable-Stream-Epoch, X-Resumable-Stream-Offset, "
            "X-Resumable-Stream-Size, X-Resumable-Stream-Status, Location"
        ),
    }


async def test_the_headers_leave_before_the_first_byte(client: AsyncClient):
    response = await start(client)
    async for part in response:
        assert part == b""
        break
    response.close()


async def test_what_is_stored_now_is_an_answer_too(client: AsyncClient):
    address = await live(client, b"so far")
    assert await read(await client.get(f"{address}?live=0")) == b"so far"
    assert await read(await client.get(f"{address}?live=0&offset=3")) == b"far"


async def test_a_view_function_streams_too(client: AsyncClient):
    response = await start(client, b"x", None, at="/plain/?id=mine")
    assert response[ID] == "mine"
    assert await read(response) == b"x"


async def test_a_coroutine_may_return_the_source(client: AsyncClient):
    response = await client.post("/coroutine/?id=c-1")
    assert response[ID] == "c-1"
    assert response["Content-Type"] == "text/plain"
    assert await read(response) == b"ab"


# --- the request lives as long as it is needed


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": b'{"a": 1}', "content_type": "application/json"}, b'{"a": 1}'),
        ({"data": {"file": SimpleUploadedFile("f", b"uploaded")}}, b"uploaded"),
    ],
)
async def test_the_source_reads_the_request_after_the_client_has_left(
    client: AsyncClient, body: dict[str, Any], expected: bytes
):
    response = await start(client, b"-", at="/upload/", **body)
    await read_until(response, 1)
    script.say(None)
    assert await read(await client.get(f"/streams/{response[ID]}/")) == b"-" + expected


# --- positions


async def test_a_range_of_a_finished_stream(client: AsyncClient):
    address = await finished(client, b"0123456789")
    response = await client.get(address, headers={"range": "bytes=4-6"})
    assert response.status_code == 206
    assert response["Content-Range"] == "bytes 4-6/10"
    assert response["Content-Length"] == "3"
    assert response[OFFSET] == "4"
    assert await read(response) == b"456"
    rest = await client.get(address, headers={"range": "bytes=7-"})
    assert (rest.status_code, await read(rest)) == (206, b"789")
    last = await client.get(address, headers={"range": "bytes=-2"})
    assert (last["Content-Range"], await read(last)) == ("bytes 8-9/10", b"89")


async def test_a_very_large_range_of_a_live_stream_follows_it(client: AsyncClient):
    address = await live(client, b"0123")
    response = await client.get(address, headers={"range": f"bytes=4-{LIVE_EDGE}"})
    assert response.status_code == 206
    assert response["Content-Range"] == f"bytes 4-{LIVE_EDGE}/*"
    assert "Content-Length" not in response
    script.say(b"45", None)
    assert await read(response) == b"45"


async def test_an_open_range_of_a_live_stream_is_answered_from_the_start(client: AsyncClient):
    address = await live(client, b"0123")
    response = await client.get(address, headers={"range": "bytes=2-"})
    assert (response.status_code, response[OFFSET]) == (200, "0")
    script.say(None)
    assert await read(response) == b"0123"


async def test_a_closed_range_of_a_live_stream_ends(client: AsyncClient):
    address = await live(client, b"0123")
    response = await client.get(address, headers={"range": "bytes=1-2"})
    assert response["Content-Range"] == "bytes 1-2/*"
    assert await read(response) == b"12"


@pytest.mark.parametrize("offset", ["-1", "abc", "", "1.5", "٣"])
async def test_a_malformed_offset_is_refused(client: AsyncClient, offset: str):
    address = await finished(client, b"x")
    for where in (address, "/streams/nothing/"):
        response = await client.get(where, {"offset": offset})
        assert (response.status_code, response.content) == (400, b'{"error": "invalid_position"}')


@pytest.mark.parametrize("offset", ["2", str(10**30), "9" * 5_000])
async def test_an_offset_beyond_the_end_is_refused(client: AsyncClient, offset: str):
    address = await finished(client, b"x")
    for ask in (client.get, client.head):
        response = await ask(address, query_params={"offset": offset})
        assert response.status_code == 416
        assert response["Content-Range"] == "bytes */1"
    assert (await client.get(address, headers={"range": f"bytes={offset}-"})).status_code == 416
    assert (await AsyncClient().get(f"{address}?offset={offset}")).status_code == 404


async def test_the_end_is_a_position(client: AsyncClient):
    address = await finished(client, b"x")
    assert await read(await client.get(f"{address}?offset=1")) == b""


# --- server-sent events


async def test_last_event_id_resumes_after_the_event(client: AsyncClient):
    address = await finished(client, event("a"), event("b"), at="/events/")
    whole = await read(await client.get(address))
    seen = whole.split(b"id: ")[1].split(b"\n")[0].decode()
    response = await client.get(address, headers={"last-event-id": seen})
    assert response["Content-Type"] == "text/event-stream"
    assert await read(response) == whole.partition(f"id: {seen}\n\n".encode())[2]


async def test_event_source_is_told_to_stop(client: AsyncClient):
    address = await finished(client, event("a"), at="/events/")
    whole = await read(await client.get(address))
    for seen in (line[4:] for line in whole.decode().split("\n") if line.startswith("id: ")):
        response = await client.get(address, headers={"last-event-id": seen})
        assert response.status_code == 204


async def test_event_source_learns_of_the_error_once(client: AsyncClient):
    address = await finished(client, event("a"), RuntimeError("secret"), at="/events/")
    whole = await read(await client.get(address))
    assert b"event: error\n" in whole
    assert b"secret" not in whole
    data, end = (line[4:] for line in whole.decode().split("\n") if line.startswith("id: "))
    again = await client.get(address, headers={"last-event-id": data})
    assert (await read(again)).startswith(b"event: error\n")
    assert (await client.get(address, headers={"last-event-id": end})).status_code == 204


async def test_an_id_of_another_epoch_starts_again_with_a_reset(client: AsyncClient):
    address = await finished(client, event("a"), at="/events/")
    whole = await read(await client.get(address))
    for seen in ("0ld-0", "0ld-9", "0ld-1000000", "0ld-end"):
        response = await client.get(address, headers={"last-event-id": seen})
        reset, _, rest = (await read(response)).partition(b"\n\n")
        assert reset.startswith(b'event: reset\ndata: {"offset":0}\nid: ')
        assert rest == whole
        assert response[OFFSET] == "0"


async def test_silence_is_filled(client: AsyncClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ResumableStreamResponse, "keep_alive", 0.01, raising=False)
    response = await start(client, event("a"), at="/events/")
    heard = await read_until(response, 60)
    assert heard.startswith(b"data: a\nid: ")
    assert heard.endswith(b": keep-alive\n\n")


@pytest.mark.lengthy
async def test_an_alias_has_its_own_silence_and_length(
    client: AsyncClient, settings: Settings, key_prefix: str
):
    settings.RESUMABLE_STREAMS = {
        "default": {"LOCATION": key_prefix, "KEEP_ALIVE": 0.1, "MAX_RESPONSE_SECONDS": 1}
    }
    body = await read(await start(client, event("a"), at="/events/"))
    assert body.count(b": keep-alive\n\n") > 3
    assert b"event: " not in body


async def test_events_that_lived_long_enough_end_without_a_terminal_frame(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ResumableStreamResponse, "max_seconds", 0.05, raising=False)
    body = await read(await start(client, event("a"), at="/events/"))
    assert re.fullmatch(rb"data: a\nid: \S+\n\nretry: \d+\n\n", body)


# --- UI messages


async def test_a_chat_reconnects_to_its_active_stream(client: AsyncClient):
    part = ui_message.part({"type": "start"})
    address = await live(client, part, at="/messages/")
    response = await client.get(address.replace("streams", "reconnect") + "?active")
    assert response["x-vercel-ai-ui-message-stream"] == "v1"
    script.say(ui_message.part({"type": "finish"}), None)
    assert without_ids(await read(response)) == (
        b'data: {"type":"start"}\n\ndata: {"type":"finish"}\n\ndata: [DONE]\n\n'
    )
    assert await read(await client.get(address.replace("streams", "reconnect")))
    over = await client.get(address.replace("streams", "reconnect") + "?active")
    assert over.status_code == 204


async def test_a_missing_stream_is_answered_as_the_client_needs_it(client: AsyncClient):
    assert (await client.get("/reconnect/nothing/")).status_code == 204
    assert (await client.get("/reconnect/nothing/?missing=not_found")).status_code == 404
    finish = await client.get("/reconnect/nothing/?missing=finish")
    assert (finish.status_code, finish.content) == (200, b'data: {"type":"finish"}\n\n')
    assert finish["x-vercel-ai-ui-message-stream"] == "v1"


async def test_a_cancelled_chat_ends_with_abort(client: AsyncClient):
    address = await live(client, ui_message.part({"type": "start"}), at="/messages/")
    assert (await client.post(f"{address}cancel/")).status_code == 202
    body = await read(await client.get(address))
    epoch = re.findall(rb"id: (\w+)-", body)[0]
    assert body.endswith(b'data: {"type":"abort"}\n\ndata: [DONE]\nid: %b-end\n\n' % epoch)


# --- the end that has no frame


async def test_a_failed_raw_stream_is_cut(client: AsyncClient):
    address = await finished(client, b"part", RuntimeError("secret"))
    response = await client.get(address)
    assert await read_until(response, 4) == b"part"
    with pytest.raises(BodyCut):
        await read(await client.get(address))
    assert "Content-Length" not in response
    head = await client.head(address)
    assert head["X-Resumable-Stream-Status"] == "error"
    assert head["X-Resumable-Stream-Size"] == "4"


async def test_a_cancelled_raw_stream_ends_cleanly(client: AsyncClient):
    address = await live(client, b"part")
    await client.post(f"{address}cancel/")
    response = await client.get(address)
    assert response["Content-Length"] == "4"
    assert await read(response) == b"part"


@pytest.mark.parametrize("fault", [ShuttingDown(), StoreUnavailable("default")])
@pytest.mark.parametrize("at", ["/raw/", "/events/"])
async def test_a_body_that_cannot_go_on_here_says_nothing_of_an_end(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch, at: str, fault: Exception
):
    response: Any = await client.get(await live(client, event("a"), at=at))

    async def fail(reader: object) -> bytes:
        raise fault

    monkeypatch.setattr(type(response.reader), "__anext__", fail)
    if at == "/raw/":
        with pytest.raises(BodyCut):
            await read(response)
    else:
        assert re.fullmatch(rb"retry: \d+\n\n", await read(response))


# --- who may


async def outcome(response: Any) -> tuple[int, bytes, dict[str, str]]:
    body = b"" if response.streaming else response.content
    response.close()
    return response.status_code, body, dict(response.items())


Ask = Callable[[Any, str], Any]

ASKS: dict[str, Ask] = {
    "resume": lambda client, address: client.get(address),
    "resume from a position": lambda client, address: client.get(f"{address}?offset=3"),
    "range": lambda client, address: client.get(address, headers={"range": "bytes=9-"}),
    "event id": lambda client, address: client.get(address, headers={"last-event-id": "e-1"}),
    "head": lambda client, address: client.head(address),
    "status": lambda client, address: client.get(f"{address}status/"),
    "cancel": lambda client, address: client.post(f"{address}cancel/"),
    "delete": lambda client, address: client.delete(address),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_nothing_confirms_that_a_stream_exists(client: AsyncClient, ask: Ask):
    address = await live(client, b"secret")
    other = AsyncClient()
    await read(await other.post("/coroutine/?id=theirs"))  # somebody with a session
    impossible = "/streams/" + "x" * 257 + "/"
    for visitor in (other, AsyncClient()):
        foreign, missing, invalid = [
            await outcome(await ask(visitor, where))
            for where in (address, "/streams/nothing/", impossible)
        ]
        assert foreign == missing == invalid
        assert foreign[0] == 404
    assert (await client.get(f"{address}status/")).json()["status"] == "streaming"


async def test_a_foreign_id_cannot_be_acquired(client: AsyncClient):
    await read(await start(client, b"x", None, at="/plain/?id=mine"))
    response = await AsyncClient().post("/plain/?id=mine")
    assert (response.status_code, response.content) == (404, b'{"error": "stream_not_found"}')
    assert script.calls == 1


async def test_looking_for_a_stream_makes_no_session(client: AsyncClient):
    for ask in ASKS.values():
        await ask(client, "/streams/nothing/")
    assert not client.cookies


def nobody(request: HttpRequest) -> None:
    return None


async def test_without_an_owner_there_is_no_stream(client: AsyncClient, settings: Settings):
    settings.RESUMABLE_STREAMS = {"default": {"OWNER": f"{__name__}.nobody"}}
    assert (await client.post("/raw/")).status_code == 401
    for ask in ASKS.values():
        assert (await ask(client, "/streams/nothing/")).status_code == 401
    assert script.calls == 0


@pytest.mark.django_db(transaction=True)
async def test_a_user_goes_on_from_another_device(client: AsyncClient, django_user_model: Any):
    user = await django_user_model.objects.acreate_user("ann")
    desk, phone = client, AsyncClient()
    await desk.aforce_login(user)
    await phone.aforce_login(user)
    address = await live(desk, b"at the desk, ")
    script.say(b"on the phone", None)
    assert await read(await phone.get(f"{address}?offset=13")) == b"on the phone"
    assert (await AsyncClient().get(address)).status_code == 404


@pytest.mark.django_db(transaction=True)
async def test_a_visitor_who_logs_in_goes_on(client: AsyncClient, django_user_model: Any):
    address = await live(client, b"as a visitor")
    token = await (await client.asession()).aget("_resumable_streams_owner")
    user = await django_user_model.objects.acreate_user("ann")
    await client.aforce_login(user)
    assert await (await client.asession()).aget("_resumable_streams_owner") == token
    assert await read(await client.get(f"{address}?live=0")) == b"as a visitor"
    await client.alogout()
    assert (await client.get(address)).status_code == 404


# --- signed links


def without_owner(settings: Settings, key_prefix: str) -> None:
    """Configure an OWNER that knows the visitors with a header only: no cookie, no session."""
    settings.RESUMABLE_STREAMS = {
        "default": {"LOCATION": key_prefix, "DRAIN_TIMEOUT": 0, "OWNER": f"{__name__}.of_header"}
    }


def of_header(request: HttpRequest) -> str | None:
    return request.headers.get("X-Owner")


ANN = {"x-owner": "ann"}


async def test_a_link_reads_without_cookies_and_does_nothing_else(
    client: AsyncClient, settings: Settings, key_prefix: str
):
    without_owner(settings, key_prefix)
    response = await start(client, b"shared", headers=ANN)
    await read_until(response, 6)
    address = f"/streams/{response[ID]}/"
    token = await streams.asign(response[ID], owner="ann")
    nobody = AsyncClient()
    assert (await nobody.get(address)).status_code == 401
    assert await read(await nobody.get(f"{address}?token={token}&live=0&offset=2")) == b"ared"
    assert (await nobody.head(f"{address}?token={token}"))["X-Resumable-Stream-Size"] == "6"
    status = await nobody.get(f"{address}status/?token={token}")
    assert (status.status_code, status.json()["size"]) == (200, 6)
    assert (await nobody.get(f"/reconnect/{response[ID]}/?token={token}")).status_code == 200
    for answer in (
        await nobody.post(f"{address}cancel/?token={token}"),
        await nobody.delete(f"{address}?token={token}"),
    ):
        assert answer.status_code == 401
    script.say(None)
    assert await read(await nobody.get(f"{address}?token={token}")) == b"shared"


async def test_an_event_source_goes_on_with_its_link(client: AsyncClient):
    response = await start(client, event("a"), at="/events/")
    owner, *_ = (await streams_owner(client)).owners
    token = await streams.asign(response[ID], owner=owner)
    script.say(event("b"), None)
    whole = (await read(response)).decode()
    seen = next(line[4:] for line in whole.split("\n") if line.startswith("id: "))
    address = f"/streams/{response[ID]}/?token={token}"
    again = await AsyncClient().get(address, headers={"last-event-id": seen})
    assert (await read(again)).decode() == whole.partition(f"id: {seen}\n\n")[2]


async def streams_owner(client: AsyncClient) -> Identity:
    request = AsyncRequestFactory().get("/")
    request.session = await client.asession()
    return await get_identity(request, using="default")


@pytest.mark.parametrize("ask", ["resume", "resume from a position", "range", "head", "status"])
async def test_a_bad_link_is_a_missing_stream_even_to_its_owner(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch, ask: str
):
    address = await finished(client, b"secret")
    stream_id = address.split("/")[2]
    owner, *_ = (await streams_owner(client)).owners
    old = await streams.asign(stream_id, owner=owner, max_age=1)
    good = await streams.asign(stream_id, owner=owner)
    other = await finished(client, b"other")
    foreign = await streams.asign(other.split("/")[2], owner=owner)
    later = time() + 2
    monkeypatch.setattr("resumable_streams.links._now", lambda: later)

    async def with_token(where: str, token: str) -> Any:
        return await outcome(await ASKS[ask](Tokens(client, token), where))

    missing = await with_token("/streams/nothing/", "x")
    assert missing[0] == 404
    assert missing[1] == (await outcome(await ASKS[ask](client, "/streams/nothing/")))[1]
    for token in ("", "x", old, foreign, good[:-1], good + "x"):
        assert await with_token(address, token) == missing
    assert await with_token("/streams/nothing/", good) == missing
    assert (await with_token(address, good))[0] in (200, 206, 416)


class Tokens:
    """Add a token to whatever address a client asks for."""

    def __init__(self, client: AsyncClient, token: str):
        self._client, self._token = client, token

    def __getattr__(self, verb: str) -> Any:
        def ask(address: str, **more: Any) -> Any:
            mark = "&" if "?" in address else "?"
            return getattr(self._client, verb)(f"{address}{mark}token={self._token}", **more)

        return ask


# --- state, cancel, delete


async def test_head_shows_what_get_would_answer(client: AsyncClient):
    address = await live(client, event("a"), at="/events/")
    response = await client.head(address)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/event-stream"
    assert response["X-Resumable-Stream-Size"] == "9"
    assert response["X-Resumable-Stream-Status"] == "streaming"
    assert response[OFFSET] == "0"
    assert "Content-Length" not in response


async def test_status_is_json(client: AsyncClient):
    address = await live(client, b"four")
    status = (await client.get(f"{address}status/")).json()
    assert set(status) == {"id", "status", "size", "created", "expires", "error"}
    assert (status["status"], status["size"], status["error"]) == ("streaming", 4, None)
    assert status["expires"] > status["created"]
    script.say(RuntimeError("secret"))
    with pytest.raises(BodyCut):
        await read(await client.get(address))
    response = await client.get(f"{address}status/")
    assert response.json()["error"] == "source_failed"
    assert b"secret" not in response.content


async def test_the_text_of_an_error_is_shown_with_debug_only(
    client: AsyncClient, settings: Settings
):
    settings.DEBUG = True
    address = await finished(client, RuntimeError("visible"), at="/events/")
    assert b"visible" in await read(await client.get(address))
    assert "visible" in (await client.get(f"{address}status/")).json()["detail"]


async def test_cancel_is_idempotent(client: AsyncClient):
    address = await live(client, b"x")
    for _ in range(2):
        response = await client.post(f"{address}cancel/")
        assert (response.status_code, response.json()["status"]) == (202, "cancelled")
    assert (await client.get(f"{address}cancel/")).status_code == 405


async def test_a_deleted_stream_is_missing(client: AsyncClient):
    address = await finished(client, b"x")
    assert (await client.delete(address)).status_code == 204
    assert (await client.delete(address)).status_code == 404
    assert (await client.get(address)).status_code == 404


async def test_csrf_is_djangos(client: AsyncClient):
    strict = AsyncClient(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    address = await live(client, b"x")
    assert (await strict.post("/raw/")).status_code == 403
    assert (await strict.post(f"{address}cancel/")).status_code == 403
    assert (await strict.delete(address)).status_code == 403


# --- retries


async def test_a_retry_joins_the_stream_of_the_first_try(client: AsyncClient):
    key = {"idempotency-key": "4a8f/1"}
    first = await start(client, b"once, ", headers=key)
    second = await client.post("/raw/", headers=key)
    script.say(b"not twice", None)
    assert first[ID] == second[ID]
    assert await read(second) == await read(first) == b"once, not twice"
    assert script.calls == 1


async def test_a_key_means_something_to_its_owner_and_address_only(client: AsyncClient):
    key = {"idempotency-key": "1"}
    other = AsyncClient()
    responses = [
        await start(client, None, headers=key),
        await start(client, None, headers=key, at="/events/"),
        await start(other, None, headers=key),
    ]
    assert len({response[ID] for response in responses}) == 3
    for response in responses:
        await read(response)


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "ü", "\t"])
async def test_a_key_that_is_none_is_refused(client: AsyncClient, key: str):
    response = await client.post("/raw/", headers={"idempotency-key": key})
    assert response.status_code == 400
    assert script.calls == 0


# --- what can go wrong


async def test_an_invalid_id_cannot_be_acquired(client: AsyncClient):
    response = await client.post("/plain/", query_params={"id": "no spaces"})
    assert (response.status_code, response.content) == (400, b'{"error": "invalid_stream_id"}')


async def test_a_full_house_says_when_to_come_back(
    client: AsyncClient, settings: Settings, key_prefix: str
):
    settings.RESUMABLE_STREAMS = {
        "default": {"LOCATION": key_prefix, "LIMITS": {"MAX_STREAMS_PER_OWNER": 1}}
    }
    await live(client, b"x")
    response = await client.post("/raw/")
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (StreamLimitExceeded("MAX_STREAM_BYTES", 5), 413, None),
        (StreamLimitExceeded("MAX_CHUNK_BYTES", 5), 413, None),
        (StreamLimitExceeded("MAX_STREAMS", 5), 429, "1"),
        (StreamLimitExceeded("rate", 5, retry_after=30), 429, "30"),
        (ShuttingDown(7), 503, "7"),
        (StoreUnavailable("default"), 503, "1"),
    ],
)
def test_an_error_has_its_answer(error: StreamError, status: int, retry_after: str | None):
    response = error_response(error)
    assert response.status_code == status
    assert response.get("Retry-After") == retry_after


# --- how often an owner may ask: any library will do, here `limits`


@pytest.fixture
async def rate() -> AsyncIterator[None]:
    """Count from nothing; leave no task of the counter."""
    global counters
    counters = MemoryStorage()
    yield
    if counters.timer is not None:
        counters.timer.cancel()


async def test_an_owner_who_asks_too_often_is_told_when_to_come_back(
    client: AsyncClient, rate: None
):
    for _ in range(2):
        await read(await start(client, None, at="/rated/"))
    response = await client.post("/rated/")
    assert response.status_code == 429
    assert 50 < int(response["Retry-After"]) <= 60
    await read(await start(AsyncClient(), None, at="/rated/"))
    assert script.calls == 3


async def test_a_check_may_answer_itself(client: AsyncClient):
    response = await client.post("/closed/")
    assert (response.status_code, response.content, script.calls) == (402, b"closed", 0)


async def test_a_receiver_refuses_producers_wherever_they_start(client: AsyncClient):
    def refuse(*, role: str, **named: Any) -> None:
        if role == "producer":
            raise StreamLimitExceeded("rate", 0, retry_after=9)

    stream_acquired.connect(refuse)
    try:
        for at in ("/raw/", "/plain/?id=mine"):
            response = await client.post(at)
            assert (response.status_code, response["Retry-After"]) == (429, "9")
    finally:
        stream_acquired.disconnect(refuse)
    assert script.calls == 0


async def test_a_process_that_drains_sends_producers_elsewhere(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runtime, "grace", 0)  # of the process; other tests may have raised it
    body = await client.get(await live(client, b"x"))
    draining = asyncio.create_task(runtime.drain())
    with pytest.raises(BodyCut):
        await read(body)
    await draining
    response = await client.post("/raw/")
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0


async def test_an_unknown_format_is_a_fault_before_anything_starts(client: AsyncClient):
    with pytest.raises(LookupError, match="Known are"):
        await stream_response(HttpRequest(), script.play, format="nope")
    assert script.calls == 0


async def test_a_format_that_is_gone_is_read_as_bytes(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    address = await finished(client, event("a"), at="/events/")
    monkeypatch.setattr(registry, "_known", cache(lambda: {"raw": raw}))
    assert await read(await client.get(address)) == b"data: a\n\n"


def test_under_wsgi_the_same_bytes_arrive(sync_client: Client):
    client = sync_client
    script.say(b"a", b"b", None)
    response = client.post("/raw/")
    assert b"".join(response) == b"ab"
    address = f"/streams/{response[ID]}/"
    assert b"".join(client.get(f"{address}?offset=1")) == b"b"
    assert json.loads(client.get(f"{address}status/").content)["status"] == "done"
    assert client.head(address)["Content-Length"] == "2"
