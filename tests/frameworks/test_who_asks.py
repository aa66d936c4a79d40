"""Start, cut, resume, cancel, quota and retry: the same for the users of every framework.

Over a real server, by a real client: with a session and the CSRF token of a page, or with a token
in `Authorization` and nothing else.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from redis import Redis

from resumable_streams.conf import DEFAULT_OWNER
from tests.tools.serving import served_here
from tests.tools.streams import REDIS

from . import site
from .callers import Caller, HttpCaller, Refused, SocketCaller, Way
from .site import taps

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.lengthy]

WAYS = [
    Way(at="rest"),
    Way(at="rest", scheme="Token"),
    Way(at="plain-rest"),
    Way(at="plain-rest", scheme="Token"),
    Way(at="async"),
    Way(at="async", scheme="Token"),
    Way(at="ninja"),
    Way(at="ninja", scheme="Bearer"),
    Way(at="plain-ninja"),
    Way(at="plain-ninja", scheme="Bearer"),
    Way(at="django"),
    Way(at="django", scheme="JWT"),
    Way(at="session", is_socket=True),
    Way(at="token", scheme="Bearer", is_socket=True),
]

Call = Callable[[Way, str], Awaitable[Any]]


@pytest.fixture
async def url(
    settings: Any, redis_url: str, redis_server: Redis, key_prefix: str, closes_runtime: None
) -> AsyncIterator[str]:
    """Serve the site, where each owner may have one live stream."""
    entry = {
        "BACKEND": REDIS,
        "LOCATION": redis_url,
        "LIMITS": {"MAX_STREAMS_PER_OWNER": 1},
        "DRAIN_TIMEOUT": 0,
    }
    rest = "resumable_streams.contrib.rest_framework.authenticated_owner"
    owners = {"default": DEFAULT_OWNER, "rest": rest, "ninja": f"{site.__name__}.owner_of_ninja"}
    settings.RESUMABLE_STREAMS = {
        alias: {**entry, "KEY_PREFIX": f"{key_prefix}:{alias}", "OWNER": owner}
        for alias, owner in owners.items()
    }
    settings.ROOT_URLCONF = site.__name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{site.__name__}.jwt_middleware"]
    settings.REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": [
            "rest_framework.authentication.TokenAuthentication",
            "rest_framework.authentication.SessionAuthentication",
        ]
    }
    async with served_here(site.application()) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def call(url: str) -> AsyncIterator[Call]:
    """Return a function that makes the client of a user."""
    async with AsyncExitStack() as closing:

        async def connected(way: Way, name: str) -> Caller:
            headers = await sync_to_async(headers_of)(way, name)
            if way.is_socket:
                return SocketCaller(way=way, url=url, headers=headers)
            caller = HttpCaller(way=way, url=url, headers=headers)
            await closing.enter_async_context(caller.client)
            return caller

        yield connected


def headers_of(way: Way, name: str) -> dict[str, str]:
    """Return what a user of this way sends with each request."""
    user, _ = User.objects.get_or_create(username=name)
    if way.scheme is not None:
        return {"Authorization": f"{way.scheme} {site.TOKENS[way.scheme](user)}"}
    browser = Client()
    browser.force_login(user)
    token = browser.get("/page/").content.decode()
    cookies = "; ".join(f"{key}={one.value}" for key, one in browser.cookies.items())
    return {"Cookie": cookies, "X-CSRFToken": token}


async def refused(work: Awaitable[object]) -> Refused:
    with pytest.raises(Refused) as info:
        await work
    return info.value


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_a_user_finds_what_it_has_started_and_nobody_else_does(
    call: Call, way: Way, key_prefix: str
):
    ada, bob = await call(way, "ada"), await call(way, "bob")
    first, other, second = (f"{key_prefix}-{turn}" for turn in ("first", "other", "second"))

    # Start, cut; a retry joins.
    taps[first].give(b"Hello, ")
    stream_id, head = await ada.start(first, key="1", size=7)
    assert head == b"Hello, "
    assert await ada.start(first, key="1", size=7) == (stream_id, head)
    assert taps[first].calls == 1

    # The quota is this user's, and no other's.
    assert (await refused(ada.start(other, size=1))).word == "too_many_streams"
    taps[other].end(b"!")
    assert (await bob.start(other, size=1))[1] == b"!"

    # To others it is not there.
    for verb in ("resume", "status", "cancel"):
        foreign = await refused(getattr(bob, verb)(stream_id))
        missing = await refused(getattr(bob, verb)("missing"))
        assert foreign.word == "stream_not_found"
        assert foreign.seen == missing.seen

    # Resume without loss.
    taps[first].end(b"world")
    assert await ada.resume(stream_id, offset=len(head)) == b"world"
    assert await ada.resume(stream_id) == b"Hello, world"
    assert await ada.status(stream_id) == "done"

    # Cancel.
    taps[second].give(b"on and on")
    stream_id, head = await ada.start(second, size=9)
    assert await ada.cancel(stream_id) == "cancelled"
    assert await ada.cancel(stream_id) == "cancelled"
    assert await ada.resume(stream_id, offset=4) == head[4:]
    assert taps[second].closed.is_set()

    if isinstance(ada, HttpCaller):
        await deletes(ada, bob, stream_id)
    if way.scheme is not None:
        assert not await Session.objects.aexists()  # nobody has become a visitor


async def deletes(ada: HttpCaller, bob: HttpCaller, stream_id: str) -> None:
    foreign, missing = await refused(bob.delete(stream_id)), await refused(bob.delete("missing"))
    assert foreign.seen == missing.seen
    await ada.delete(stream_id)
    assert (await refused(ada.resume(stream_id))).seen == missing.seen


@pytest.mark.parametrize("way", [way for way in WAYS if not way.is_socket], ids=str)
async def test_a_user_lists_what_is_running_and_sees_nobody_elses(call: Call, way: Way):
    ada, eve = await call(way, "ada"), await call(way, "eve")
    for name, caller in (("ada", ada), ("eve", eve)):
        taps[f"{way} {name}"].give(b"a")
        started, _ = await caller.start(f"{way} {name}", size=1)
        assert await caller.running() == [started]
    await eve.cancel(started)
    assert await eve.running() == []
    assert len(await ada.running()) == 1
