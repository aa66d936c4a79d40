"""In whose name a socket asks: the rule of HTTP, for the scope that Channels' middleware leaves."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.sessions import SessionMiddlewareStack
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSession
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.test import AsyncClient
from django.urls import include, path

from resumable_streams import PUBLIC, StreamManager
from resumable_streams.consumers import StreamConsumer
from resumable_streams.websocket import handshake
from tests.tools.sources import Tap, finished, produced
from tests.tools.streams import Configure

from .clients import Socket, connected

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.lengthy,
    pytest.mark.urls(__name__),
]

urlpatterns = [path("streams/", include("resumable_streams.urls"))]


@pytest.fixture
def manager(configure_memory: Configure, closes_runtime: None) -> StreamManager:
    return StreamManager()


@pytest.fixture
def looks_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "LOOK_AGAIN_SECONDS", -1)


class Answers(StreamConsumer):
    async def produce(self, data: Any) -> AsyncIterator[str]:
        yield "Hello"


class WithUser(Answers):
    """A consumer with the middleware that finds session and user."""

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Any:
        return AuthMiddlewareStack(super().as_asgi(**initkwargs))


class WithSession(Answers):
    """A consumer with the middleware that finds the session alone."""

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Any:
        return SessionMiddlewareStack(super().as_asgi(**initkwargs))


def cookie(session: Any) -> Mapping[str, Any]:
    return {"headers": [(b"cookie", f"sessionid={session.session_key}".encode())]}


def socket_of(
    session: Any, consumer: type[StreamConsumer] = WithUser
) -> AbstractAsyncContextManager[Socket]:
    return connected(consumer, **cookie(session))


async def log_in(name: str) -> tuple[AsyncClient, Any]:
    user = await User.objects.acreate(username=name)
    client = AsyncClient()
    await client.aforce_login(user)
    return client, SessionStore(client.cookies["sessionid"].value)


async def test_a_user_reaches_the_same_streams_over_http_and_by_socket(manager: StreamManager):
    ada, session = await log_in("ada")
    async with socket_of(session) as socket:
        opened = await socket.ask("acquire")
        await socket.read()
    response: Any = await ada.get(f"/streams/{opened['id']}/")
    assert b"".join([part async for part in response]) == b"Hello"
    info = await manager.astatus(opened["id"], owner=f"user:{(await User.objects.aget()).pk}")
    assert info is not None
    _, another = await log_in("bob")
    async with socket_of(another) as socket:
        assert (await socket.ask("resume", id=opened["id"]))["error"] == "stream_not_found"


async def test_a_socket_outlives_a_log_out_until_it_asks_again(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
):
    ada, session = await log_in("ada")
    tap = Tap(b"abc")
    await manager.arun("s", tap, owner=f"user:{(await User.objects.aget()).pk}")
    async with socket_of(session) as socket:
        assert (await socket.ask("resume", id="s"))["type"] == "opened"
        assert (await socket.hear())["data"] == b"abc"
        await ada.alogout()
        assert (await socket.ask("status", 2, id="s"))["type"] == "status"  # within 15 seconds
        tap.give(b"def")
        assert (await socket.hear())["data"] == b"def"
        monkeypatch.setattr(handshake, "LOOK_AGAIN_SECONDS", -1)
        assert await socket.ask("status", 2, id="s") == {"type": "closing", "code": 4401}
    tap.end()


@pytest.mark.parametrize("asked", ["acquire", "resume", "cancel"])
async def test_whoever_is_still_logged_in_goes_on(
    manager: StreamManager, looks_every_time: None, asked: str
):
    _, session = await log_in("ada")
    async with socket_of(session) as socket:
        await socket.ask("status", id="s")
        fields: dict[str, Any] = {} if asked == "acquire" else {"id": "s"}
        answer = await socket.ask(asked, **fields)
        assert answer["type"] == ("opened" if asked == "acquire" else "error")
        if asked == "acquire":
            await socket.read()
        await User.objects.aupdate(is_active=False)
        assert await socket.ask("status", 2, id="s") == {"type": "closing", "code": 4401}


async def test_another_user_of_the_session_ends_the_socket(
    manager: StreamManager, looks_every_time: None
):
    _, session = await log_in("ada")
    _, other = await log_in("bob")
    async with socket_of(session) as socket:
        assert (await socket.ask("status", id="s"))["error"] == "stream_not_found"
        stored = await Session.objects.aget(session_key=session.session_key)
        stored.session_data = (await Session.objects.aget(pk=other.session_key)).session_data
        await stored.asave()
        assert await socket.ask("status", id="s") == {"type": "closing", "code": 4401}


async def visit() -> tuple[AsyncClient, SessionStore]:
    """Return a visitor whose session has something else in it."""
    session = SessionStore()
    await session.aset("seen", 1)
    await session.asave()
    client = AsyncClient()
    client.cookies["sessionid"] = str(session.session_key)
    return client, session


@pytest.mark.parametrize("consumer", [WithUser, WithSession])
async def test_a_visitor_with_a_session_comes_back_to_what_it_started(
    manager: StreamManager, looks_every_time: None, consumer: type[StreamConsumer]
):
    client, session = await visit()
    async with socket_of(session, consumer) as socket:
        opened = await socket.ask("acquire")
        assert (await socket.read())[0] == b"Hello"
        await socket.say("resume", id=opened["id"], offset=2)
        assert (await socket.read())[0] == b"llo"
    response: Any = await client.get(f"/streams/{opened['id']}/")
    assert b"".join([part async for part in response]) == b"Hello"
    async with socket_of(session, consumer) as socket:
        await socket.say("resume", id=opened["id"])
        assert (await socket.read())[0] == b"Hello"


async def test_a_visitor_whom_no_cookie_brings_back_reads_and_starts_nothing(
    manager: StreamManager, looks_every_time: None
):
    await manager.arun("s", finished([b"for all"]), owner=PUBLIC)
    await produced()
    async with connected(WithUser) as socket:
        for _ in range(2):  # the second time it is looked up afresh
            await socket.say("resume", id="s")
            assert (await socket.read())[0] == b"for all"
        assert await socket.ask("acquire") == {"type": "closing", "code": 4401}
    assert await Session.objects.acount() == 0


async def test_a_visitor_whose_session_is_in_its_cookie_starts_nothing(
    manager: StreamManager, settings: Any
):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    session = CookieSession()
    await session.aset("seen", 1)
    await session.asave()
    async with socket_of(session) as socket:
        assert (await socket.ask("status", id="s"))["error"] == "stream_not_found"
        assert await socket.ask("acquire") == {"type": "closing", "code": 4401}


async def test_a_session_that_is_deleted_meanwhile_starts_nothing(manager: StreamManager):
    _, session = await visit()
    async with socket_of(session) as socket:
        await socket.ask("status", id="s")
        await Session.objects.all().adelete()
        assert await socket.ask("acquire") == {"type": "closing", "code": 4401}


async def test_without_the_middleware_of_channels_the_socket_is_nobodys(manager: StreamManager):
    async with connected(Answers) as socket:
        assert await socket.hear() == {"type": "closing", "code": 4401}


async def test_a_user_whom_another_middleware_has_set_stays(
    manager: StreamManager, looks_every_time: None
):
    user = await User.objects.acreate(username="ada")
    await manager.arun("s", finished([b"abc"]), owner=f"user:{user.pk}")
    await produced()
    async with connected(user=user) as socket:
        for _ in range(2):
            await socket.say("resume", id="s")
            assert (await socket.read())[0] == b"abc"


VALID = {"Token ada"}


def by_token(request: HttpRequest) -> str | None:
    """Return whose token the request brings, in the same way for HTTP and for sockets."""
    token = request.headers.get("Authorization")
    return token.removeprefix("Token ") if token in VALID else None


def shop(request: HttpRequest) -> str:
    name = request.headers["Host"].partition(".")[0]
    if name == "closed":
        raise PermissionDenied
    if name not in ("north", "south"):
        raise Http404
    return name


async def test_one_function_knows_tokens_and_tenants_of_both(
    configure_memory: Configure, closes_runtime: None, looks_every_time: None,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    configure_memory(OWNER=f"{__name__}.by_token", TENANT=f"{__name__}.shop")
    streams = StreamManager()
    await streams.arun("s", finished([b"abc"]), owner="ada", tenant="north")
    await produced()

    def headers(host: bytes, token: bytes) -> list[tuple[bytes, bytes]]:
        return [(b"host", host), (b"authorization", token)]

    async with connected(headers=headers(b"north.example", b"Token ada")) as socket:
        await socket.say("resume", id="s")
        assert (await socket.read())[0] == b"abc"
        monkeypatch.setattr(f"{__name__}.VALID", set())  # it was taken back
        assert await socket.ask("resume", id="s") == {"type": "closing", "code": 4401}
        monkeypatch.undo()
    async with connected(headers=headers(b"south.example", b"Token ada")) as socket:
        assert (await socket.ask("resume", id="s"))["error"] == "stream_not_found"
    async with connected(headers=headers(b"north.example", b"Token bob")) as socket:
        assert await socket.hear() == {"type": "closing", "code": 4401}
    async with connected(headers=headers(b"closed.example", b"Token ada")) as socket:
        assert await socket.hear() == {"type": "closing", "code": 4401}
    async with connected(headers=headers(b"west.example", b"Token ada")) as socket:
        assert await socket.hear() == {"type": "closing", "code": 4404}


async def test_receivers_get_the_request_of_the_socket(manager: StreamManager, hear: Any):
    from resumable_streams.signals import owner_checked, stream_acquired, stream_refused

    heard = hear(stream_acquired, owner_checked, stream_refused)
    _, session = await log_in("ada")
    scope = {**cookie(session), "client": ["192.0.2.1", 5]}
    async with connected(WithUser, **scope) as socket:
        await socket.ask("acquire")
        await socket.read()
        await socket.ask("resume", id="none")
    requests = [one["request"] for one in heard]
    assert all(isinstance(one, HttpRequest) for one in requests)
    assert {(one.resolver_match, one.body) for one in requests} == {(None, b"")}
    assert {(one.path, one.META["REMOTE_ADDR"]) for one in requests} == {
        ("/ws/streams/", "192.0.2.1")
    }
    (refused,) = (one for one in heard if one["signal"] is stream_refused)
    assert (refused["operation"], refused["stream_id"], refused["status"]) == (
        "resume", "none", 404
    )  # fmt: skip
