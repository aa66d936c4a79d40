"""What the one pipelined connection makes of errors: the server's, the network's and our own."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextvars import Context, ContextVar

import pytest
from redis.exceptions import ResponseError

from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.stores.redis import RedisStore
from resumable_streams.stores.redis import store as store_module
from resumable_streams.stores.redis.connect import Endpoint
from resumable_streams.stores.redis.connection import CommandConnection, Unreadable
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, refusal, start
from tests.proxy import proxy_to
from tests.tools.waiting import eventually


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[CommandConnection]:
    opened = connection_to(redis_url)
    yield opened
    await opened.aclose()


def connection_to(location: str, timeout: float = 5) -> CommandConnection:
    endpoint = Endpoint(alias="test", location=location, cache_alias=None, connect_timeout=5)
    return CommandConnection(endpoint.server(), alias="test", timeout=timeout)


async def test_a_mistake_of_ours_is_no_outage(connection: CommandConnection) -> None:
    """It would be tried again for as long as a store may be away."""

    assert await connection.execute("PING") == b"PONG"
    session = connection._session
    assert session is not None

    def send(arguments: object, **named: object) -> None:
        raise AttributeError("a typing mistake of ours")

    session.send = send  # type: ignore[assignment,method-assign]
    with pytest.raises(AttributeError):
        await connection.execute("PING")


async def test_what_a_server_says_of_a_key_is_no_outage_either(
    connection: CommandConnection, key_prefix: str
) -> None:
    await connection.execute("SET", key_prefix, "x", "PX", 10_000)
    for command in (
        ("HGET", key_prefix, "x"),
        ("EVAL", "return redis.call('HGET', KEYS[1], 'x')", 1, key_prefix),
        ("EVAL", "return 1 < nil", 0),
    ):
        error = await refusal(Unreadable, connection.execute(*command))
        assert isinstance(error.__cause__, ResponseError)
    assert await connection.execute("GET", key_prefix) == b"x"  # the connection goes on


async def test_an_answer_that_no_script_of_ours_gives_is_told_as_such(
    redis_url: str, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as a claim that was lost, which would end the producer without a word."""
    store = RedisStore(
        alias="test",
        key_prefix=key_prefix,
        location=redis_url,
        limits=StreamStoreContract.limits,
    )
    claim = await start(store)
    monkeypatch.setitem(store_module.SCRIPTS, "append.lua", "return {'something', 'else'}")
    store_module._script.cache_clear()
    with pytest.raises(StoreUnavailable, match="unknown answer") as failure:
        await store.append(KEY, claim, 0, b"abc")
    assert failure.value.is_final
    monkeypatch.undo()
    store_module._script.cache_clear()
    assert await store.append(KEY, claim, 0, b"abc") == 3
    await store.aclose()


async def test_what_nobody_waits_for_any_more_is_taken_note_of(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer to ASKING, for one: nobody but the connection knows that it was sent."""
    port = int(redis_url.rsplit(":", 1)[1].partition("/")[0])
    async with proxy_to(port) as proxy:
        connection = connection_to(proxy.location, timeout=0.2)
        await connection.execute("PING")
        proxy.open_hole()
        commands = [
            asyncio.create_task(connection.execute_asking("PING")),
            asyncio.create_task(connection.execute("PING", then=("PING",))),
        ]
        answers = await asyncio.gather(*commands, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
        await connection.aclose()
    del commands, answers, connection
    caplog.set_level(logging.ERROR, "asyncio")
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


asked_by: ContextVar[object] = ContextVar("asked_by")


async def test_timers_keep_nothing_of_a_caller(connection: CommandConnection) -> None:
    await asyncio.create_task(connection.execute("PING"), context=Context())
    session = connection._session
    assert session is not None
    session._reset_watchdog()
    asked_by.set(object())
    asking = asyncio.create_task(connection.execute("PING", may_wait=True))
    await eventually(lambda: session._watchdog or asking.done())
    timers = [one for one in (session._watchdog, session._alarm, session._warmer) if one]
    assert timers
    assert not any(asked_by in timer._context for timer in timers)  # type: ignore[attr-defined]
    await asking
