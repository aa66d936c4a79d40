"""Log-out everywhere: off by default, in sync and async code, never in the way of a log-out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import alogin, alogout, login, logout
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.http import HttpRequest
from django.test import RequestFactory

from resumable_streams import PUBLIC, StreamFailed, StreamManager, streams
from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.owners import user_or_session
from resumable_streams.signals import stream_finalized
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.types import Owner
from tests.tools.streams import Configure

pytestmark = pytest.mark.django_db(transaction=True)

BACKEND = "django.contrib.auth.backends.ModelBackend"


def of_header(request: HttpRequest) -> list[Owner]:
    return [request.headers["X-Owner"], PUBLIC]


def tenant_of_header(request: HttpRequest) -> str:
    return request.headers["X-Tenant"]


@pytest.fixture(autouse=True)
def configure(configure_memory: Configure) -> Configure:
    """Return a function that says on which events to revoke; on none, if it is not called."""

    def configure(*events: str, **more: Any) -> None:
        configure_memory(REVOKE_ON=events, **more)

    configure()
    return configure


def request_of(user: Any, **headers: str) -> HttpRequest:
    request = RequestFactory().get(
        "/", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    request.session = SessionStore()
    request.user = user

    async def auser() -> Any:
        return request.user

    request.auser = auser
    request.META["CSRF_COOKIE"] = "x"
    return request


async def written(owner: Owner, **named: Any) -> str:
    reader = await streams.arun(None, [b"x"], owner=owner, **named)
    async for _ in reader:
        pass
    return reader.stream_id


async def test_a_log_out_revokes_the_user_and_the_session(configure: Any):
    configure("logout")
    user = await User.objects.acreate_user("ann")
    request = request_of(AnonymousUser())
    (visitor,) = await user_or_session(request, acquire=True)
    early = await written(visitor)
    await alogin(request, user, backend=BACKEND)
    late, others = await written(f"user:{user.pk}"), await written("user:99")
    await alogout(request)
    assert await streams.astatus(early, owner=visitor) is None
    assert await streams.astatus(late, owner=f"user:{user.pk}") is None
    assert await streams.astatus(others, owner="user:99") is not None
    assert await streams.astatus(await written(f"user:{user.pk}"), owner=f"user:{user.pk}")


async def test_readers_links_and_producers_end_with_the_log_out(configure: Any):
    configure("logout")
    user = await User.objects.acreate_user("ann")
    owner, ended = f"user:{user.pk}", asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    def finalized(**named: Any) -> None:
        ended.set()

    stream_finalized.connect(finalized)
    reader = await streams.arun(None, endless, owner=owner)
    await anext(reader)
    await alogout(request_of(user))
    with pytest.raises(StreamFailed):
        await anext(reader)
    await ended.wait()
    stream_finalized.disconnect(finalized)


async def test_it_is_off_unless_asked_for():
    user = await User.objects.acreate_user("ann", password="old")
    stream_id = await written(f"user:{user.pk}")
    user.set_password("new")
    await user.asave()
    await alogout(request_of(user))
    assert await streams.astatus(stream_id, owner=f"user:{user.pk}")


async def test_a_visitor_without_streams_leaves_no_mark(
    configure: Any, monkeypatch: pytest.MonkeyPatch
):
    configure("logout")
    marked: list[Any] = []

    async def revoke(store: Any, *args: Any, **named: Any) -> float:
        marked.append(args)
        return 0.0

    monkeypatch.setattr(MemoryStore, "revoke", revoke)
    await alogout(request_of(AnonymousUser()))
    assert not marked


async def test_an_owner_callable_of_your_own_says_whose_streams_end(configure: Any):
    configure("logout", OWNER=f"{__name__}.of_header", TENANT=f"{__name__}.tenant_of_header")
    user = await User.objects.acreate_user("ann")
    ends = await written("ann", tenant="acme")
    stays, public = await written("ann", tenant="beta"), await written(PUBLIC, tenant="acme")
    await alogout(request_of(user, x_owner="ann", x_tenant="acme"))
    assert await streams.astatus(ends, owner="ann", tenant="acme") is None
    assert await streams.astatus(stays, owner="ann", tenant="beta")
    assert await streams.astatus(public, owner=PUBLIC, tenant="acme")


async def test_a_store_that_is_away_keeps_nobody_logged_in(
    configure: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
):
    configure("logout")
    user = await User.objects.acreate_user("ann")

    async def revoke(*args: Any, **named: Any) -> float:
        raise StoreUnavailable("default")

    monkeypatch.setattr(MemoryStore, "revoke", revoke)
    request = request_of(AnonymousUser())
    await alogin(request, user, backend=BACKEND)
    await alogout(request)
    assert "could not be revoked" in caplog.text
    assert request.session.is_empty()


async def test_a_new_password_revokes_when_it_is_committed(configure: Any):
    configure("password_change")
    user = await User.objects.acreate_user("ann", password="old")
    owner = f"user:{user.pk}"
    stream_id = await written(owner)
    user.first_name = "Ann"
    await user.asave()
    assert await user.acheck_password("old")
    await alogout(request_of(user))
    assert await streams.astatus(stream_id, owner=owner)

    def undone() -> None:
        with transaction.atomic():
            user.set_password("new")
            user.save()
            transaction.set_rollback(True)

    await sync_to_async(undone)()
    assert await streams.astatus(stream_id, owner=owner)
    user.set_password("new")
    await user.asave()
    assert await streams.astatus(stream_id, owner=owner) is None


def test_sync_code_logs_out_and_changes_passwords_as_well(configure: Any):
    configure("logout", "password_change")
    manager, user = StreamManager(), User.objects.create_user("ann", password="old")
    owner = f"user:{user.pk}"

    def acquire(stream_id: str) -> None:
        list(manager.run(stream_id, [b"x"], owner=owner))

    request = request_of(AnonymousUser())
    login(request, user, backend=BACKEND)
    acquire("before")
    logout(request)
    assert manager.status("before", owner=owner) is None
    acquire("old-password")
    user.set_password("new")
    user.save()
    assert manager.status("old-password", owner=owner) is None


def test_a_deactivated_user_is_revoked_when_that_is_committed(configure: Any):
    configure("deactivate")
    manager, user = StreamManager(), User.objects.create_user("ann")
    owner = f"user:{user.pk}"
    list(manager.run("s", [b"x"], owner=owner))
    user.first_name = "Ann"
    user.save()
    user.is_active = False
    user.save(update_fields=["first_name"])
    with transaction.atomic():
        user.save()
        assert manager.status("s", owner=owner) is not None
        transaction.set_rollback(True)
    assert manager.status("s", owner=owner) is not None
    user.save()
    assert manager.status("s", owner=owner) is None


@pytest.mark.parametrize("how", ["one", "queryset"])
def test_a_deleted_user_is_revoked_when_that_is_committed(configure: Any, how: str):
    configure("delete")
    manager = StreamManager()
    user, other = User.objects.create_user("ann"), User.objects.create_user("ben")
    owner, owner_of_other = f"user:{user.pk}", f"user:{other.pk}"
    for one in (owner, owner_of_other):
        list(manager.run(one, [b"x"], owner=one))
    with transaction.atomic():
        if how == "one":
            user.delete()
        else:
            User.objects.filter(username="ann").delete()
        assert manager.status(owner, owner=owner) is not None
    assert manager.status(owner, owner=owner) is None
    assert manager.status(owner_of_other, owner=owner_of_other) is not None
