"""A cluster that has lost a primary for good: what the others have goes on."""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytest
from redis.crc import key_slot

from resumable_streams import StoreUnavailable, StreamFailed, StreamManager, StreamReader
from resumable_streams.control import revoke
from resumable_streams.engine import get_engine
from resumable_streams.operating.bulk import Progress, StreamBatches, purge
from resumable_streams.operating.selection import Selection
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.types import StreamKey
from tests.nodes import CLUSTER_SLOTS, Node, cluster
from tests.tools.lengthy import starts_a_process
from tests.tools.readers import read_all, settled
from tests.tools.sources import Tap
from tests.tools.streams import REDIS
from tests.tools.waiting import eventually

PRIMARIES, LOST = 3, 2
GOOD = 5


def primary_of(name: str) -> int:
    return key_slot(name.encode()) * PRIMARIES // CLUSTER_SLOTS


class Place(NamedTuple):
    """A cluster, and where its slots are."""

    nodes: list[Node]
    keys: KeySpace

    def is_lost(self, name: str) -> bool:
        return primary_of(name) == LOST

    def streams(self, *, lost: bool) -> Iterator[str]:
        """Name streams that are, or are not, on the primary that will be lost."""
        for number in count():
            key = StreamKey(tenant="default", generation=1, stream_id=f"s{number}")
            if self.is_lost(self.keys.meta(key)) is lost:
                yield key.stream_id

    def lose(self) -> None:
        self.nodes[PRIMARIES + LOST].kill()  # or it would take over
        self.nodes[LOST].kill()


@pytest.fixture
@starts_a_process
def place(settings, closes_runtime: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr("resumable_streams.stores.redis.feed.MISSED_SECONDS", 0.2)
    with cluster(PRIMARIES, "cluster-require-full-coverage no", patience=2) as nodes:
        keys = next(keys for keys in map(KeySpace, map("p{}".format, count())) if not governs(keys))
        entry = {
            "BACKEND": REDIS,
            "LOCATION": nodes[0].url,
            "KEY_PREFIX": keys.prefix,
            "STORE_TIMEOUT": 2,
            "LEASE": 30,
            "SWEEP": 0.1,
            "OPTIONS": {"cluster": [f"127.0.0.1:{nodes[1].port}"]},
        }
        settings.RESUMABLE_STREAMS = {"default": entry, "elsewhere": entry}
        control = keys.control("default")  # known: no test here means to ask the database
        nodes[primary_of(control)].client.hset(control, "generation", 1)
        yield Place(nodes, keys)


def governs(keys: KeySpace) -> bool:
    """Return whether what governs everybody would be lost with the primary."""
    place = Place([], keys)
    names = [keys.control("default"), keys.revoked("default", "a"), keys.shared("news")]
    return any(map(place.is_lost, names))


async def end_of(reader: StreamReader, reading: "asyncio.Task[bytes]") -> str:
    """Return how a revoked stream ended for a reader; the end of its producer may come first."""
    try:
        await reading
    except StreamFailed as failure:
        return failure.code
    return str(reader.info.status)


async def test_readers_of_what_the_others_have_learn_its_end_and_what_bars_it(place: Place) -> None:
    produced, read = StreamManager(), StreamManager("elsewhere")
    bad = next(place.streams(lost=True))
    good = [name for name, _ in zip(place.streams(lost=False), range(GOOD + 1), strict=False)]
    taps = {name: Tap(b"abc") for name in [bad, *good]}
    for name, tap in taps.items():
        await produced.arun(name, tap, owner="a")
    readers = {name: await read.arequire_resume(name, owner="a") for name in taps}
    reading = {name: asyncio.create_task(read_all(reader)) for name, reader in readers.items()}
    for reader in readers.values():
        await settled(reader)
    place.lose()
    lost_tail = readers[bad]._tail
    hub = get_engine("elsewhere").hub
    await eventually(lambda: lost_tail in hub._looks)
    for name in good[:-1]:
        taps[name].end(b"def")
    async with asyncio.timeout(20):
        for name in good[:-1]:
            assert await reading[name] == b"abcdef"
        await revoke("default", "default", "a")
        assert await end_of(readers[good[-1]], reading[good[-1]]) in ("expired", "cancelled")
        with pytest.raises((StoreUnavailable, StreamFailed)):
            await reading[bad]


async def test_a_purge_removes_what_the_others_have_and_says_that_it_is_not_all(
    place: Place,
) -> None:
    manager = StreamManager()
    names = zip(place.streams(lost=False), range(GOOD), strict=False)
    for name in [*(name for name, _ in names), next(place.streams(lost=True))]:
        await read_all(await manager.arun(name, [b"abc"], owner="a"))
    place.lose()
    for owner in ("a", None):
        progress = Progress()
        selection = Selection(tenant="default", owner=owner)
        with pytest.raises(StoreUnavailable):
            await purge(StreamBatches(get_engine("default").store, selection), progress)
        assert progress.done == (GOOD if owner else 0)
