"""What a subclass of AcquireView is asked, in sync code and in async code, with the ORM in both."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import path
from pytest_django import Settings

from resumable_streams.views import AcquireView


class Sync(AcquireView):
    async def produce(self, request: HttpRequest) -> Any:
        return [b"x"]

    def refuse(self, request: HttpRequest) -> HttpResponse | None:
        is_closed = Group.objects.filter(name="closed").exists()
        return HttpResponse("closed", status=402) if is_closed else None

    def get_stream_id(self, request: HttpRequest) -> str:
        return f"groups-{Group.objects.count()}"

    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        return {"content_type": Group.objects.values_list("name", flat=True)[0]}


class Async(Sync):
    async def refuse(self, request: HttpRequest) -> Any:  # type: ignore[override]
        is_closed = await Group.objects.filter(name="closed").aexists()
        return HttpResponse("closed", status=402) if is_closed else None

    async def get_stream_id(self, request: HttpRequest) -> str:  # type: ignore[override]
        return f"groups-{await Group.objects.acount()}"

    async def get_attrs(self, request: HttpRequest) -> Any:  # type: ignore[override]
        group = await Group.objects.aget()
        return {"content_type": group.name}


class Awaitables(Async):
    """Sync functions that return what has to be awaited."""

    def refuse(self, request: HttpRequest) -> Any:
        return super().refuse(request)

    def get_stream_id(self, request: HttpRequest) -> Any:
        return super().get_stream_id(request)

    def get_attrs(self, request: HttpRequest) -> Any:
        return super().get_attrs(request)


VIEWS = {"sync": Sync, "async": Async, "awaitables": Awaitables}
urlpatterns = [path(f"{name}/", view.as_view()) for name, view in VIEWS.items()]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def client(settings: Settings, key_prefix: str) -> AsyncClient:
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix, "DRAIN_TIMEOUT": 0}}
    return AsyncClient()


@pytest.mark.parametrize("name", VIEWS)
async def test_a_hook_may_ask_the_database(client: AsyncClient, name: str):
    await Group.objects.acreate(name="text/plain")
    response: Any = await client.post(f"/{name}/")
    assert response["X-Resumable-Stream-Id"] == "groups-1"
    assert response["Content-Type"] == "text/plain"
    assert b"".join([part async for part in response]) == b"x"


@pytest.mark.parametrize("name", VIEWS)
async def test_a_check_that_asks_the_database_may_refuse(client: AsyncClient, name: str):
    await Group.objects.acreate(name="closed")
    assert (await client.post(f"/{name}/")).status_code == 402
