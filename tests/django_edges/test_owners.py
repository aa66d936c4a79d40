"""Owners: the user, else a token in the session; asked of any callable, sync or async."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import alogin, alogout
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import AsyncRequestFactory

from resumable_streams.links import SignedLink
from resumable_streams.owners import get_identity, get_link, owners_of, user_or_session
from resumable_streams.types import PUBLIC, StreamInfo, StreamStatus
from tests.tools.streams import Configure

database = pytest.mark.django_db(transaction=True)


def ask(session: SessionBase | None = None, user: User | None = None) -> HttpRequest:
    request = AsyncRequestFactory().get("/")
    if session is not None:
        request.session = session

    async def auser() -> User | AnonymousUser:
        return AnonymousUser() if user is None else user

    request.auser = auser
    return request


class Session(dict[str, str]):
    """Keep data where a session does."""

    async def aget(self, key):
        return self.get(key)

    async def aset(self, key, value):
        self[key] = value


async def test_a_user_is_its_primary_key():
    assert await owners_of(User(pk=5), Session()) == ("user:5",)


async def test_a_visitor_gets_a_token_when_starting_a_stream():
    session = Session()
    owners = await owners_of(AnonymousUser(), session, acquire=True)
    assert len(owners) == len(session) == 1
    assert str(owners[0]).startswith("session:")
    assert await owners_of(AnonymousUser(), session) == owners
    assert await owners_of(AnonymousUser(), session, acquire=True) == owners


async def test_a_visitor_who_only_looks_leaves_no_trace():
    session = Session()
    first, second = [await owners_of(AnonymousUser(), session) for _ in range(2)]
    assert not session
    assert first != second


async def test_a_user_does_not_meet_a_visitor_of_that_name():
    session = Session(_resumable_streams_owner="5")
    assert await owners_of(AnonymousUser(), session) != await owners_of(User(pk=5), Session())


async def test_a_visitor_who_has_logged_in_may_read_what_the_visitor_started():
    session = Session()
    visitor = await owners_of(AnonymousUser(), session, acquire=True)
    assert await owners_of(User(pk=5), session, acquire=True) == ("user:5", *visitor)


async def test_without_user_and_session_there_is_no_owner():
    assert await owners_of(None, None, acquire=True) == ()
    assert await user_or_session(ask()) == ()


@database
async def test_the_token_survives_the_login_and_dies_with_the_logout():
    user = await User.objects.acreate_user("ann")
    session = SessionStore()
    request = ask(session)
    (token,) = await user_or_session(request, acquire=True)
    await session.asave()
    before = session.session_key
    request.META["CSRF_COOKIE"] = "x"
    await alogin(request, user, backend="django.contrib.auth.backends.ModelBackend")
    assert session.session_key != before
    assert await user_or_session(ask(session, user)) == (f"user:{user.pk}", token)
    await alogout(request)
    assert token not in await user_or_session(ask(session))


def test_a_link_comes_by_the_query_of_a_request_or_a_scope():
    info = StreamInfo(
        stream_id="chat",
        tenant="acme",
        generation=1,
        owner="ann",
        status=StreamStatus.DONE,
        size=0,
        entries=0,
        created=0,
        expires=0,
        epoch="e",
    )
    link = SignedLink.make(info, alias="default")
    request = AsyncRequestFactory().get("/", query_params={"token": str(link)})
    scope = {"type": "websocket", "query_string": f"offset=1&token={link}".encode()}
    assert get_link(request) == get_link(scope) == link
    assert get_link(AsyncRequestFactory().get("/")) is None
    assert get_link({"type": "websocket", "query_string": b""}) is None
    bad = get_link({"type": "websocket", "query_string": b"token=%ff%00"})
    assert bad is not None
    assert bad.tenant == "default"


def of_header(request):
    return request.headers.get("X-Owner")


async def of_header_async(request):
    return request.headers.get("X-Owner")


def of_everybody(request):
    return PUBLIC


def of_database(request):
    return f"u{User.objects.count()}"


def told(request, *, acquire):
    return f"acquire={acquire}"


def tenant(request):
    return request.headers["X-Tenant"]


@pytest.fixture
def configure(configure_memory: Configure) -> Configure:
    """Return a function that has settings name functions of this module."""

    def configure(**names: str) -> None:
        configure_memory(**{key.upper(): f"{__name__}.{name}" for key, name in names.items()})

    return configure


@pytest.mark.parametrize("name", ["of_header", "of_header_async"])
async def test_a_callable_of_your_own_is_sync_or_async(configure, name: str):
    configure(owner=name)
    request = AsyncRequestFactory().get("/", headers={"x-owner": "ann"})
    assert (await get_identity(request, using="default")).owners == ("ann",)
    nobody = AsyncRequestFactory().get("/")
    assert (await get_identity(nobody, using="default")).owners == ()


async def test_a_callable_may_opt_out_of_ownership(configure):
    configure(owner="of_everybody")
    assert (await get_identity(ask(), using="default")).owners == (PUBLIC,)


@database
async def test_a_sync_callable_may_query_the_database(configure):
    await sync_to_async(User.objects.create_user)("ann")
    configure(owner="of_database")
    assert (await get_identity(ask(), using="default")).owners == ("u1",)


async def test_a_callable_that_asks_is_told_whether_a_stream_is_being_started(configure):
    configure(owner="told")
    for acquire in (False, True):
        identity = await get_identity(ask(), using="default", acquire=acquire)
        assert identity.owners == (f"acquire={acquire}",)


async def test_a_tenant_comes_from_its_callable(configure):
    configure(owner="of_everybody", tenant="tenant")
    request = AsyncRequestFactory().get("/", headers={"x-tenant": "acme"})
    assert (await get_identity(request, using="default")).tenant == "acme"


async def test_there_is_one_tenant_unless_you_say_so(configure):
    configure(owner="of_everybody")
    assert (await get_identity(ask(), using="default")).tenant is None
