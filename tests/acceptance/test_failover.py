"""Primaries that die under load: every acknowledged byte reaches every reader, once, in order."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from pytest_django import Settings

from resumable_streams import streams
from tests.tools.streams import REDIS

from ..nodes import Node, cluster, sentinel_group
from ..tools.readers import read_all
from ..tools.waiting import eventually

LOAD = 60
CHUNKS = 100
PAUSE = 0.03  # they take 3 s and more: the failure falls in the middle


pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def configure(settings: Settings, key_prefix: str) -> Callable[..., None]:
    def configure(location: str, **options: Any) -> None:
        entry = {
            "BACKEND": REDIS,
            "LOCATION": location,
            "KEY_PREFIX": key_prefix,
            "STORE_TIMEOUT": 20,
            "OPTIONS": {"command_timeout": 1, "connect_timeout": 1, **options},
        }
        settings.RESUMABLE_STREAMS = {"default": entry, "elsewhere": entry}

    return configure


def body(number: int) -> list[bytes]:
    return [b"%d:%d;" % (number, index) for index in range(CHUNKS)]


async def produce(number: int) -> AsyncIterator[bytes]:
    for chunk in body(number):
        yield chunk
        await asyncio.sleep(PAUSE)


async def under_load(fail: Callable[[], Awaitable[None]]) -> float:
    """Run writers and remote readers, let `fail` happen amid, compare all bytes."""
    for number in range(LOAD):
        await streams.arun(f"s{number}", partial(produce, number), owner="me")
    readers = [
        await streams.using("elsewhere").arequire_resume(f"s{number}", owner="me")
        for number in range(LOAD)
    ]
    reading = [asyncio.create_task(read_all(reader)) for reader in readers]
    await eventually(lambda: all(reader.offset for reader in readers))
    failed = time.monotonic()
    await fail()
    bodies = await asyncio.wait_for(asyncio.gather(*reading), timeout=100)
    assert bodies == [b"".join(body(number)) for number in range(LOAD)]
    assert {reader.info.status for reader in readers} == {"done"}
    return time.monotonic() - failed


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    with cluster(patience=1) as running:
        yield running


async def test_a_cluster_primary_dies_under_load(
    nodes: list[Node], configure: Callable[..., None], transactional_db: None
) -> None:
    configure(nodes[0].url, cluster=True)

    async def kill() -> None:
        await asyncio.to_thread(nodes[1].kill)

    await under_load(kill)


async def test_the_primary_that_sentinel_watches_dies_under_load(
    configure: Callable[..., None], transactional_db: None
) -> None:
    with sentinel_group() as (primary, _, sentinel):
        configure(primary.url, sentinels=[f"127.0.0.1:{sentinel.port}"])

        async def kill() -> None:
            await asyncio.to_thread(primary.kill)

        await under_load(kill)


async def test_a_replica_that_lags_takes_over(
    configure: Callable[..., None], key_prefix: str, transactional_db: None
) -> None:
    """The new primary lacks acknowledged bytes: the producers send them again."""
    with sentinel_group() as (primary, replica, sentinel):
        configure(primary.url, sentinels=[f"127.0.0.1:{sentinel.port}"])

        def stop_replication() -> None:
            primary.client.execute_command("ACL SETUSER default -psync -sync")
            primary.client.execute_command("CLIENT KILL TYPE replica")

        def stored(node: Node) -> int:
            logs = (f"{key_prefix}:default:g1:{{s{number}}}:data" for number in range(LOAD))
            return sum(map(node.client.strlen, logs))

        def is_ahead() -> bool:
            return stored(primary) > stored(replica) > 0

        async def lag_and_kill() -> None:
            await asyncio.to_thread(stop_replication)
            await eventually(lambda: asyncio.to_thread(is_ahead))
            await asyncio.to_thread(primary.kill)

        await under_load(lag_and_kill)
