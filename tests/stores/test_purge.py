"""What a purge costs the server, counted: commands, scripts, and streams in flight."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.operating.bulk import Progress, StreamBatches, purge
from resumable_streams.operating.pace import MOST
from resumable_streams.operating.selection import Selection
from resumable_streams.stores.redis import RedisStore
from resumable_streams.stores.redis.connection import _Session
from resumable_streams.testing.acts import KEY, start
from resumable_streams.types import StreamKey, StreamStatus
from tests.stores.test_redis import redis_store


@pytest.fixture
async def store(redis_url: str, key_prefix: str) -> AsyncIterator[RedisStore]:
    async with redis_store(redis_url, key_prefix) as opened:
        yield opened


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the commands that are sent, by their names."""
    counted, send = Counter[str](), _Session.send

    def counting(session: _Session, arguments: Any, **named: Any) -> Any:
        counted[arguments[0]] += 1
        return send(session, arguments, **named)

    monkeypatch.setattr(_Session, "send", counting)
    return counted


async def finished(store: RedisStore, count: int) -> list[StreamKey]:
    keys = [replace(KEY, stream_id=f"s{number}") for number in range(count)]
    for key in keys:
        claim = await start(store, key)
        await store.append(key, claim, 0, b"abc")
        await store.finalize(key, claim, StreamStatus.DONE)
    return keys


async def test_a_purge_runs_no_script_on_streams_that_have_ended(
    store: RedisStore, commands: Counter[str]
) -> None:
    first, *others = await finished(store, 11)
    await store.purge(first)  # by a script, which asks for the right to push
    commands.clear()
    assert [await store.purge(key) for key in others] == [True] * 10
    assert commands == {"HMGET": 10, "UNLINK": 10, "ZREM": 10}


async def test_a_purge_ends_running_streams_by_the_script(
    store: RedisStore, commands: Counter[str]
) -> None:
    await store.purge(*await finished(store, 1))
    await start(store)
    commands.clear()
    assert await store.purge(KEY)
    assert commands["EVALSHA"] + commands["EVAL"] > 0


async def test_a_purge_waits_for_replicas_as_a_script_does(
    redis_url: str, key_prefix: str, commands: Counter[str]
) -> None:
    async with redis_store(redis_url, key_prefix) as plain:
        keys = await finished(plain, 2)
    async with redis_store(redis_url, key_prefix, wait_replicas=1, command_timeout=0.2) as store:
        for key in keys:
            commands.clear()
            with pytest.raises(StoreUnavailable):  # the server has no replica
                await store.purge(key)
            assert commands["WAIT"]
            assert not commands["UNLINK"]


async def test_a_purge_has_few_streams_in_flight(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await finished(store, 200)
    flying: list[int] = []
    send = _Session.send

    def watching(session: _Session, arguments: Any, **named: Any) -> Any:
        flying.append(len(session._waiting))
        return send(session, arguments, **named)

    monkeypatch.setattr(_Session, "send", watching)
    progress = Progress()
    await purge(StreamBatches(store, Selection(tenant=KEY.tenant)), progress)
    assert progress.done == 200
    assert max(flying) < MOST
