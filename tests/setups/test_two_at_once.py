"""Two requests of one visitor at once, each of which saves the session whole."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from django.contrib.auth import alogout
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import include, path

from resumable_streams.views import AcquireView, stream_response

from .conftest import Open
from .site import log_in, page
from .sites import sessions

ENGINES = ("db", "cache", "cached_db")
ID = "X-Resumable-Stream-Id"

both: asyncio.Barrier
"""Where each request waits for the other one: both have read the session, neither has saved it."""

released: asyncio.Event
"""When the second one may save it."""


class Model(AcquireView):
    async def refuse(self, request: HttpRequest) -> None:
        await both.wait()

    async def produce(self, request: HttpRequest) -> AsyncIterator[str]:
        yield "an answer"


async def start(request: HttpRequest) -> HttpResponseBase:
    response = await stream_response(request, [b"an answer"])
    await both.wait()
    return response


async def buy(request: HttpRequest) -> HttpResponse:
    """Have a session, as a shop with a cart does."""
    await request.session.aset("cart", request.GET.get("what", "tea"))
    return HttpResponse()


async def buy_late(request: HttpRequest) -> HttpResponse:
    """Read the session before the other request has saved it, and save it afterwards."""
    cart = await request.session.aget("cart")
    await both.wait()
    await released.wait()
    await request.session.aset("cart", f"{cart}, cake")
    return HttpResponse()


urlpatterns = [
    path("page/", page),
    path("login/<str:name>/", log_in),
    path("model/", Model.as_view()),
    path("start/", start),
    path("buy/", buy),
    path("buy-late/", buy_late),
    path("streams/", include("resumable_streams.urls")),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
async def meeting() -> None:
    global both, released
    both, released = asyncio.Barrier(2), asyncio.Event()


async def read(client: httpx.AsyncClient, started: httpx.Response) -> int:
    """Return how the visitor's browser is answered when it comes back."""
    return (await client.get(f"streams/{started.headers[ID]}/")).status_code


@pytest.mark.parametrize("at", ["model/", "start/"])
@pytest.mark.parametrize("engine", ENGINES)
async def test_two_streams_started_at_once_have_one_owner(site: Open, engine: str, at: str):
    there = site(settings_=sessions(engine), has_users=False)
    async with there.visitor("ada") as client:
        await client.get("buy/")
        started = await asyncio.gather(client.post(at), client.post(at))
        assert [await read(client, one) for one in started] == [200, 200]


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_login_later_both_are_still_there(site: Open, engine: str):
    there = site(settings_=sessions(engine), has_users=False)
    async with there.visitor("ada") as client:
        await client.get("buy/")
        started = await asyncio.gather(client.post("model/"), client.post("model/"))
        logged_in = await client.post("login/ada/")
        assert logged_in.status_code == 200
        assert [await read(client, one) for one in started] == [200, 200]


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_request_that_saves_the_session_without_the_token_takes_no_stream_away(
    site: Open, engine: str
):
    there = site(settings_=sessions(engine), has_users=False)
    async with there.visitor("ada") as client:
        await client.get("buy/")
        late = asyncio.create_task(client.get("buy-late/"))
        started = await client.post("model/")
        released.set()
        assert (await late).status_code == 200
        assert await read(client, started) == 200


@pytest.mark.parametrize("engine", [*ENGINES, "signed_cookies"])
async def test_the_same_bad_cookie_is_nobody_in_particular(site: Open, engine: str):
    there = site(settings_=sessions(engine), has_users=False)
    async with there.visitor("ada") as ada, there.visitor("bob") as bob:
        for client in (ada, bob):
            client.cookies.set("sessionid", "undefined-or-stale-or-planted", "testserver.local")
        mine, yours = await asyncio.gather(ada.post("model/"), bob.post("model/"))
        assert await read(ada, yours) == await read(bob, mine) == 404
        assert await read(ada, mine) == await read(bob, yours) == 200


async def test_the_same_session_in_two_cookies_is_two_visitors(site: Open):
    there = site(settings_=sessions("signed_cookies"), has_users=False)
    async with there.visitor("ada") as ada, there.visitor("bob") as bob:
        await ada.get("buy/")
        # As for who buys the same in the same second.
        bob.cookies.set("sessionid", ada.cookies["sessionid"], "testserver.local")
        mine, yours = await asyncio.gather(ada.post("model/"), bob.post("model/"))
        assert await read(ada, yours) == await read(bob, mine) == 404
        assert await read(ada, mine) == await read(bob, yours) == 200


async def test_of_two_sessions_in_cookies_the_browser_keeps_the_last_one(site: Open):
    there = site(settings_=sessions("signed_cookies"), has_users=False)
    async with there.visitor("ada") as client:
        await client.get("buy/")
        started = await asyncio.gather(client.post("model/"), client.post("model/"))
        assert sorted([await read(client, one) for one in started]) == [200, 404]


async def test_two_first_requests_without_a_cookie_are_two_visitors(site: Open):
    there = site(has_users=False)
    async with there.visitor("ada") as client:
        started = await asyncio.gather(client.post("model/"), client.post("model/"))
        assert sorted([await read(client, one) for one in started]) == [200, 404]


async def leave(request: HttpRequest) -> HttpResponse:
    await both.wait()
    await alogout(request)
    return HttpResponse()


async def enter(request: HttpRequest, name: str) -> HttpResponse:
    """Log somebody in, who gets a session of another key with the same data."""
    await both.wait()
    return await log_in(request, name)


urlpatterns += [path("leave/", leave), path("enter/<str:name>/", enter)]
AT_ONCE = {"a login": "enter/ada/", "a logout": "leave/", "another session": "enter/bob/"}


@pytest.mark.parametrize("what", AT_ONCE)
@pytest.mark.parametrize("engine", [*ENGINES, "signed_cookies"])
async def test_a_start_at_once_with_a_change_of_session_is_answered_and_is_nobody_elses(
    site: Open, engine: str, what: str
):
    """Django refuses whoever would save a session that is gone meanwhile: 400, and no 500."""
    there = site(settings_=sessions(engine))
    async with there.visitor("ada") as ada, there.visitor("eve") as eve:
        started, changed = await asyncio.gather(ada.post("model/"), ada.post(AT_ONCE[what]))
        assert changed.status_code in (200, 400)
        assert started.status_code in (200, 400)
        if started.status_code == 200:
            assert await read(eve, started) == 404
            assert await read(ada, started) == (200 if what == "a login" else 404)
