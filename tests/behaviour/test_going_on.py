"""A worker goes on with what a dead one has left: by bytes, by items, or not at all."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from resumable_streams import StreamFailed
from resumable_streams.engine import get_engine
from resumable_streams.formats import ItemEncoder, get_format
from resumable_streams.stores.base import MAX_APPEND_BYTES
from resumable_streams.streams import StreamManager
from resumable_streams.types import StreamInfo
from tests.tools.infos import make_info
from tests.tools.readers import read_all
from tests.tools.streams import Configure

from .test_workers import dies_after, working

Store = Callable[[ItemEncoder], list[bytes]]

HERE = __name__
LARGE = "ä" * MAX_APPEND_BYTES


async def answer(stream_id: str, items: int = 0, **where: Any) -> AsyncIterator[Any]:
    """Yield the items of `given`, all or those that are missing."""
    for item in given[items:]:
        yield item


async def another(stream_id: str, items: int, offset: int) -> AsyncIterator[Any]:
    yield "another answer"


async def in_bytes(stream_id: str, items: int, offset: int) -> AsyncIterator[bytes]:
    yield whole("sse")[offset:]


given: list[Any] = []


def whole(name: str, info: StreamInfo | None = None) -> bytes:
    encoder = get_format(name).item_encoder(info or make_info())
    return b"".join([*map(encoder.encode, given), encoder.end()])


def first(count: int, cut: int | None = None) -> Store:
    """Return the bytes of so many items, of the last one up to a byte."""

    def stored(encoder: ItemEncoder) -> list[bytes]:
        *before, last = [encoder.encode(item) for item in given[:count]]
        return [*before, last[:cut]]

    return stored


async def going_on(
    manager: StreamManager, name: str, stored: Store, recover: str = "answer"
) -> tuple[bytes, StreamInfo]:
    """Return the log of a stream whose first worker died after it stored these chunks."""
    reader = await manager.aenqueue(
        "s", f"{HERE}.answer", owner="me", recover=f"{HERE}.{recover}", attrs={"format": name}
    )
    key, claim = await dies_after(manager, b"")
    store, size = get_engine("default").store, 0
    for chunk in stored(get_format(name).item_encoder(reader.info)):
        for at in range(0, len(chunk), MAX_APPEND_BYTES):
            piece = chunk[at : at + MAX_APPEND_BYTES]
            size = await store.append(key, claim, size, piece, chunks=int(at == 0))
    async with working():
        return await read_all(reader), reader.info


@pytest.fixture(autouse=True)
def soon(configure_redis: Configure) -> None:
    configure_redis(LEASE=0.4, SWEEP=0.1)
    given[:] = ["one", {"type": "data-x", "x": 1}, "two", "three"]


@pytest.mark.parametrize("name", ["raw", "ndjson", "sse", "ui_message", "ag_ui"])
@pytest.mark.parametrize("count", range(1, 5))
async def test_items_go_on_after_those_that_are_stored(
    redis_manager: StreamManager, name: str, count: int
) -> None:
    if name == "raw":
        given[:] = ["one", "two", b"three", "four"]
    log, info = await going_on(redis_manager, name, first(count))
    assert log == whole(name, info)


@pytest.mark.parametrize("name", ["ndjson", "sse", "ui_message", "ag_ui"])
async def test_an_item_that_is_stored_in_part_is_completed(
    redis_manager: StreamManager, name: str
) -> None:
    given[:] = ["one", LARGE, "two"]
    log, info = await going_on(redis_manager, name, first(2, MAX_APPEND_BYTES + 7))
    assert log == whole(name, info)


async def nothing(stream_id: str, items: int, offset: int) -> AsyncIterator[Any]:
    return
    yield


@pytest.mark.parametrize("recover", ["another", "nothing"])
async def test_half_of_an_item_followed_by_another_one_is_lost(
    redis_manager: StreamManager, caplog: pytest.LogCaptureFixture, recover: str
) -> None:
    given[:] = ["one"]
    with pytest.raises(StreamFailed, match="producer_lost"):
        await going_on(redis_manager, "sse", lambda encoder: [b"data: o"], recover)
    assert "Have `recover` start after `items` items." in caplog.text


async def test_bytes_go_on_at_the_byte(redis_manager: StreamManager) -> None:
    log = whole("sse")
    stored, _ = await going_on(
        redis_manager, "sse", lambda encoder: [log[:9], log[9:20]], "in_bytes"
    )
    assert stored == log
    assert json.loads(log.split(b"\n")[2][6:]) == given[1]
