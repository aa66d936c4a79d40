"""The user of a request: who has been set stays, who is lazy is loaded, in the request's thread."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import alogin, alogout
from django.contrib.auth.middleware import AuthenticationMiddleware, auser
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, override_settings
from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from resumable_streams.owners import load_user, user_or_session
from resumable_streams.views import StatusView

pytestmark = pytest.mark.django_db(transaction=True)

BACKEND = "django.contrib.auth.backends.ModelBackend"


async def coming(user: User | None = None) -> Any:
    """Return a request as Django's middleware passes it on; with a user, of a login before."""
    session = SessionStore()
    if user is not None:
        before = AsyncRequestFactory().get("/")
        before.session, before.META["CSRF_COOKIE"] = session, "x"
        await alogin(before, user, backend=BACKEND)
        await session.asave()
    request = AsyncRequestFactory().get("/")
    request.session = SessionStore(session.session_key)
    AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
    return request


async def ann() -> User:
    return await User.objects.acreate_user("ann")


async def test_the_user_of_the_session_is_loaded_once(django_db_blocker: Any):
    user = await ann()
    request = await coming(user)
    assert await load_user(request) == user
    with django_db_blocker.block():
        assert request.user.is_authenticated
        assert await request.auser() is request.user
        assert await load_user(request) is request.user
        assert await user_or_session(request) == (f"user:{user.pk}",)


async def test_without_a_session_nobody_is_asked(django_db_blocker: Any):
    request = await coming()
    with django_db_blocker.block():
        assert isinstance(await load_user(request), AnonymousUser)
        assert not request.user.is_authenticated


@pytest.mark.parametrize("is_lazy", [False, True])
async def test_a_user_whom_somebody_has_set_stays(is_lazy: bool):
    """Whoever set it: a token of a device counts, and not the session beside it."""
    device, visitor = await User.objects.acreate_user("device"), await ann()
    request = await coming(visitor)
    load: Callable[[], Any] = partial(User.objects.get, username="device")
    request.user = SimpleLazyObject(load) if is_lazy else device
    assert await load_user(request) == device
    assert request.user == await request.auser() == device
    assert await user_or_session(request) == (f"user:{device.pk}",)


async def test_a_token_that_names_nobody_is_nobody():
    request = await coming(await ann())
    request.user = AnonymousUser()
    (owner,) = await user_or_session(request)
    assert str(owner).startswith("session:")


async def test_a_lazy_user_that_is_none_is_none():
    request: Any = AsyncRequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: None)
    assert await load_user(request) is None
    assert await user_or_session(request) == ()


async def test_a_request_may_know_its_user_in_async_code_only():
    user = await ann()
    request = await coming(user)
    del request.user
    assert await load_user(request) == user
    del request.auser
    assert await load_user(request) is None


async def test_a_login_and_a_logout_later_on_are_seen():
    user = await ann()
    request = await coming()
    request.META["CSRF_COOKIE"] = "x"
    await load_user(request)
    await alogin(request, user, backend=BACKEND)
    assert await user_or_session(request) == (f"user:{user.pk}",)
    assert await request.auser() == user
    await alogout(request)
    assert not (await request.auser()).is_authenticated


async def test_a_middleware_of_another_name_may_load_the_user():
    """What is lazy and not Django's own is loaded by whoever made it."""
    user = await ann()
    request = await coming(await User.objects.acreate_user("other"))
    asked: list[str] = []

    async def never() -> Any:
        asked.append("auser")
        return await auser(request)

    request.user, request.auser = SimpleLazyObject(lambda: User.objects.get(pk=user.pk)), never
    assert await load_user(request) == user
    assert not asked


async def test_a_view_has_loaded_the_user_before_anything_of_its_class_is_called():
    user = await ann()
    seen: list[Any] = []

    class Look(StatusView):
        async def get(self, request: HttpRequest, stream_id: str) -> HttpResponse:
            seen.append(request.user.get_username())
            return HttpResponse()

    await Look.as_view()(await coming(user), stream_id="any")
    assert seen == ["ann"]


async def test_a_user_is_loaded_in_the_thread_of_the_request():
    user = await ann()
    request = await coming()
    threads: list[Any] = []

    def load() -> User:
        threads.append(threading.get_ident())
        return user

    request.user = SimpleLazyObject(load)
    await load_user(request)
    assert threads == [await sync_to_async(threading.get_ident)()]


# --- Frameworks: what an authenticator has found


async def test_a_user_in_auth_counts_and_not_the_session_beside_it():
    """An authenticator of ninja returns the user, and sets `request.auth` alone."""
    user = await ann()
    request = await coming(await User.objects.acreate_user("other"))
    request.auth = user
    assert await load_user(request) == user
    assert request.user == await request.auser() == user
    assert await user_or_session(request) == (f"user:{user.pk}",)


@pytest.mark.parametrize("auth", ["key", {"sub": "ann"}, object(), AnonymousUser()])
async def test_whoever_was_let_in_for_no_user_is_nobody(auth: object):
    """A visitor it could only be until its next request, which brings no cookie."""
    request = await coming()
    request.auth = auth
    assert await user_or_session(request, acquire=True) == ()
    assert not request.session.modified


async def test_nobody_was_found_is_a_visitor():
    request = await coming()
    request.auth = None
    (owner,) = await user_or_session(request)
    assert str(owner).startswith("session:")


@pytest.mark.parametrize("user", [None, AnonymousUser()])
async def test_a_token_makes_no_visitor(user: Any):
    request = await coming()
    request.user = user
    request.META["HTTP_AUTHORIZATION"] = "Token unknown"
    assert await user_or_session(request, acquire=True) == ()
    assert not request.session.modified


async def test_basic_credentials_of_the_web_server_make_a_visitor():
    request = await coming()
    request.META["HTTP_AUTHORIZATION"] = "Basic YTpi"
    (owner,) = await user_or_session(request, acquire=True)
    assert str(owner).startswith("session:")


async def test_a_user_without_middleware_counts():
    """What a unit test does first: a request of the factory, and its user."""
    request: Any = AsyncRequestFactory().get("/")
    request.user = await ann()
    assert await user_or_session(request) == (f"user:{request.user.pk}",)


async def test_a_request_of_rest_framework_knows_its_user():
    user = await ann()

    class Everybody(BaseAuthentication):
        def authenticate(self, request: Any) -> tuple[User, str]:
            return User.objects.get(username="ann"), "token"

    plain = await coming(await User.objects.acreate_user("other"))
    request: Any = Request(plain, authenticators=[Everybody()])
    assert await user_or_session(request) == (f"user:{user.pk}",)
    assert plain.user == await plain.auser() == user


async def test_nobody_of_rest_framework_is_nobody_of_the_session_either(settings: Any):
    plain = await coming(await ann())
    with override_settings(REST_FRAMEWORK={"UNAUTHENTICATED_USER": None}):
        (owner,) = await user_or_session(Request(plain))
    assert str(owner).startswith("session:")
