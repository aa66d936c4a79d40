"""What the log says of an unavailable store, and how often."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis import Redis

from resumable_streams.conf import AliasSettings
from resumable_streams.exceptions import Diagnosis, StoreUnavailable
from resumable_streams.stores import outages
from resumable_streams.stores.outages import log_outage
from resumable_streams.stores.redis.connect import Endpoint
from resumable_streams.stores.redis.connection import CommandConnection

WORDS = "connection refused"


def outage(alias: str = "default", words: str = WORDS) -> StoreUnavailable:
    found = Diagnosis(server="redis://h:1/0", words=words)
    return StoreUnavailable(alias, diagnosis=found)


@asynccontextmanager
async def connection_to(location: str) -> AsyncIterator[CommandConnection]:
    endpoint = Endpoint(alias="chat", location=location, cache_alias=None, connect_timeout=1)
    connection = CommandConnection(
        endpoint.server(), alias="chat", timeout=1, connect_timeout=1, refuses_replica=True
    )
    try:
        yield connection
    finally:
        await connection.aclose()


def test_a_cause_is_told_once_a_minute_and_counted_meanwhile(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (outage(), outage(), outage(), outage("other"), outage(words="no route")):
        log_outage(error)
    assert len(caplog.messages) == 3  # another alias and another cause are told
    monkeypatch.setattr(outages, "QUIET_SECONDS", 0.0)
    log_outage(outage())
    log_outage(outage())
    assert [text.count("Met 2 more times") for text in caplog.messages[3:]] == [1, 0]


def test_what_is_remembered_of_causes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "MAX_KEPT", 3)
    for number in range(10):
        log_outage(outage(words=f"cause {'x' * number}"))
    assert len(outages._lines) == 3


async def test_all_commands_that_fail_together_are_one_line(
    caplog: pytest.LogCaptureFixture, redis_url: str
) -> None:
    async with connection_to("redis://somebody:secret@127.0.0.1:1/3") as connection:
        asked = (connection.execute("GET", str(number)) for number in range(20))
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    (line,) = caplog.messages
    assert "'chat' at redis://127.0.0.1:1/3" in line
    assert not {"somebody", "secret"} & set(line.replace("@", " ").replace(":", " ").split())


async def test_closing_a_connection_is_no_outage(
    caplog: pytest.LogCaptureFixture, redis_url: str
) -> None:
    async with connection_to(redis_url) as connection:
        await connection.execute("PING")
        asked = asyncio.ensure_future(connection.execute("BLPOP", "nothing", 5))
        await asyncio.sleep(0)
        await connection.aclose()
        with pytest.raises(StoreUnavailable):
            await asked
    assert caplog.messages == []


async def test_an_error_that_is_an_answer_is_no_outage(
    caplog: pytest.LogCaptureFixture, redis_url: str, key_prefix: str, redis_server: Redis
) -> None:
    redis_server.xadd(key_prefix, {"a": "b"})
    async with connection_to(redis_url) as connection:
        with pytest.raises(StoreUnavailable, match="NOGROUP"):
            await connection.execute("XREADGROUP", "GROUP", "g", "w", "STREAMS", key_prefix, ">")
        redis_server.pexpire(key_prefix, 10_000)
    assert caplog.messages == []


async def test_a_node_of_a_cluster_names_the_option(
    caplog: pytest.LogCaptureFixture, redis_url: str
) -> None:
    async with connection_to(redis_url) as connection:
        with pytest.raises(StoreUnavailable, match=r"set OPTIONS {.cluster.: True}"):
            await connection.execute("EVAL", "return {err='MOVED 1 127.0.0.1:7001'}", 0)
    assert "MOVED 1 127.0.0.1:7001" in caplog.text


def test_settings_show_no_password() -> None:
    settings = AliasSettings(alias="a", location="redis://:secret@h/0", options={"p": "secret"})
    assert "secret" not in repr(settings)


def test_the_level_is_shown_by_the_default_handler_of_python() -> None:
    assert outages.logger.getEffectiveLevel() <= logging.WARNING
