"""What people put around views: mixins and decorators, sync and async, of classes and functions."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import AsyncRequestFactory
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject

from resumable_streams.views import AcquireView, StatusView

from .conftest import Open
from .site import ADDRESSES
from .visit import visit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("name", ADDRESSES)
async def test_who_may_streams_and_nobody_else(site: Open, name: str):
    there = site(start=ADDRESSES[name])
    async with there.open() as nobody:
        nobody.headers["X-CSRFToken"] = (await nobody.get("page/")).text
        async with there.ask(nobody, uuid.uuid4().hex) as response:
            assert response.status_code in (302, 403)
    await visit(there)


class Known(LoginRequiredMixin, AcquireView):
    raise_exception = True

    async def produce(self, request: HttpRequest) -> Any:
        return [f"{self.owner} {request.user.get_username()}"]


@method_decorator(login_required, name="dispatch")
class Decorated(Known):
    pass


@pytest.mark.parametrize("view", [Known, Decorated])
@pytest.mark.parametrize("is_lazy", [False, True])
async def test_a_user_that_a_token_stands_for_is_the_one_who_streams(
    view: type[Known], is_lazy: bool
):
    """Without a session, as an API has it."""
    user = await User.objects.acreate_user("robot")
    request: Any = AsyncRequestFactory().post("/")
    load: Callable[[], Any] = lambda: User.objects.get(username="robot")  # noqa: E731
    request.user = SimpleLazyObject(load) if is_lazy else user
    response: Any = await view.as_view()(request)
    assert response.status_code == 200
    body = b"".join([part async for part in response])
    assert body == f"user:{user.pk} robot".encode()


class Waiting(LoginRequiredMixin, StatusView):
    async def get(self, request: HttpRequest, stream_id: str) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()


began: asyncio.Event
ended: asyncio.Event


@pytest.mark.parametrize("in_thread", [True, False])
async def test_who_leaves_ends_a_view_that_is_waiting(in_thread: bool):
    global began, ended
    began, ended = asyncio.Event(), asyncio.Event()
    request: Any = AsyncRequestFactory().get("/")
    request.user = await User.objects.acreate_user("ann")
    view = Waiting if in_thread else type("Bare", (StatusView,), {"get": Waiting.get})
    answer = asyncio.create_task(view.as_view()(request, stream_id="any"))  # type: ignore[attr-defined]
    await began.wait()
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert ended.is_set()
    assert await sync_to_async(lambda: "a thread is free")()
