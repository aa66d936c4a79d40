"""The appender alone, on each store: fenced, in order, each byte once, whatever the store does."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from resumable_streams.conf import get_settings
from resumable_streams.exceptions import (
    StoreUnavailable,
    StreamClaimLost,
    StreamDoesNotExist,
    StreamFailed,
    StreamLimitExceeded,
)
from resumable_streams.producing.appender import Appender
from resumable_streams.reading.tail import Tail
from resumable_streams.signals import StreamSignal, stream_appended, stream_first_byte
from resumable_streams.stores import make_store
from resumable_streams.stores.base import MAX_APPEND_BYTES, BaseStore
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing.acts import KEY, TERMS, body
from resumable_streams.types import Claim, ErrorCode, StreamInfo, StreamStatus
from tests.tools.streams import Configure

CLAIM = Claim(token="mine", epoch="00000001", holder="here")
KIB = 1024


@pytest.fixture
async def store(configure: Configure) -> AsyncIterator[BaseStore]:
    configure(LIMITS={"MAX_ENTRIES_PER_STREAM": 5})
    opened = make_store(get_settings("default"))
    try:
        yield opened
    finally:
        await opened.aclose()


@pytest.fixture
async def tail(store: BaseStore) -> Tail:
    acquisition = await store.acquire(KEY, CLAIM, TERMS)
    await store.confirm(KEY, CLAIM)
    return Tail(store, acquisition.info, KEY)


@pytest.fixture
def told() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def appender(store: BaseStore, tail: Tail, told: list[dict[str, Any]]) -> Appender:
    async def tell(signal: StreamSignal, **named: Any) -> None:
        told.append({"signal": signal, **named})

    return Appender(store, tail, CLAIM, patience=5, tell=tell)


async def state(store: BaseStore) -> StreamInfo:
    info = await store.look(KEY)
    assert info is not None
    return info


async def rewind(store: BaseStore, size: int) -> None:
    """Take the log back to `size` bytes, as a failover to a replica that lags does."""
    if isinstance(store, MemoryStore):
        del store._space.streams[KEY].log[size:]
        return
    assert isinstance(store, RedisStore)
    meta, log = store.keys.meta(KEY), store.keys.log(KEY)
    kept = await store._nodes.execute(log, "GETRANGE", log, 0, size - 1) if size else b""
    await store._nodes.execute(log, "SET", log, kept, "PX", 60_000)
    await store._nodes.execute(meta, "HSET", meta, "size", size)


def fail(store: BaseStore, verb: str, times: int, *, afterwards: bool) -> list[int]:
    """Have a verb fail so often; `afterwards` it was carried out, and the answer is lost."""
    real: Callable[..., Awaitable[Any]] = getattr(store, verb)
    calls: list[int] = []

    async def failing(*args: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > times:
            return await real(*args, **named)
        if afterwards:
            await real(*args, **named)
        raise StoreUnavailable("default")

    setattr(store, verb, failing)
    return calls


async def test_appends_follow_each_other_and_are_shown_once_they_are_stored(
    store: BaseStore, tail: Tail, appender: Appender
):
    await appender.append([b"one"])
    await appender.append([b" two", b" three"])
    assert appender.end_offset == 13
    assert tail.window.read(0) == await body(store) == b"one two three"
    info = await state(store)
    assert (info.size, info.entries) == (13, 3)


async def test_a_large_chunk_is_stored_in_pieces_and_counts_once(
    store: BaseStore, appender: Appender
):
    large = bytes(range(256)) * 3 * KIB
    assert len(large) > 2 * MAX_APPEND_BYTES
    await appender.append([large])
    assert await body(store) == large
    assert (await state(store)).entries == 1


async def test_a_limit_lets_through_what_it_would_of_single_chunks(
    store: BaseStore, tail: Tail, appender: Appender
):
    await appender.append([b"0", b"1", b"2"])
    with pytest.raises(StreamLimitExceeded):
        await appender.append([b"3", b"4", b"5", b"6"])
    assert await body(store) == tail.window.read(0) == b"01234"


@pytest.mark.parametrize("afterwards", [False, True])
async def test_an_append_is_repeated_while_the_store_is_away_and_stored_once(
    store: BaseStore, tail: Tail, appender: Appender, afterwards: bool
):
    calls = fail(store, "append", 3, afterwards=afterwards)
    renewed_at = appender.renewed_at
    await appender.append([b"once"])
    assert len(calls) == 4
    assert await body(store) == tail.window.read(0) == b"once"
    assert (await state(store)).entries == 1
    assert appender.renewed_at > renewed_at


async def test_patience_ends_and_nobody_is_shown_what_was_not_acknowledged(
    store: BaseStore, tail: Tail, told: list[dict[str, Any]]
):
    async def tell(signal: StreamSignal, **named: Any) -> None:
        told.append({"signal": signal, **named})

    appender = Appender(store, tail, CLAIM, patience=0.05, tell=tell)
    fail(store, "append", 1_000, afterwards=True)
    with pytest.raises(StoreUnavailable):
        await appender.append([b"unheard"])
    assert (appender.end_offset, tail.window.read(0), told) == (0, b"", [])


async def test_bytes_that_the_store_has_lost_since_are_sent_again(
    store: BaseStore, tail: Tail, appender: Appender
):
    await appender.append([b"0123456789"])
    await rewind(store, 4)
    await appender.append([b"after"])
    assert await body(store) == tail.window.read(0) == b"0123456789after"


async def test_bytes_older_than_the_window_are_lost(
    store: BaseStore, tail: Tail, appender: Appender
):
    for _ in range(4):
        await appender.append([b"x" * 100 * KIB])
    assert tail.window.start > 0
    await rewind(store, tail.window.start - 1)
    with pytest.raises(StreamFailed) as failure:
        await appender.append([b"after"])
    assert failure.value.code == ErrorCode.DATA_LOST


async def test_nothing_is_written_without_the_claim(
    store: BaseStore, tail: Tail, appender: Appender
):
    await appender.append([b"ours"])
    theirs = Claim(token="theirs", epoch=CLAIM.epoch, holder="there")
    await store.reclaim(KEY, CLAIM.token, theirs)
    with pytest.raises(StreamClaimLost):
        await appender.append([b"zombie"])
    with pytest.raises(StreamClaimLost):
        await appender.end(StreamStatus.DONE)
    assert await body(store) == tail.window.read(0) == b"ours"
    assert (await state(store)).is_streaming


async def test_nothing_is_written_to_a_stream_that_is_gone(store: BaseStore, appender: Appender):
    await store.delete(KEY)
    with pytest.raises(StreamDoesNotExist):
        await appender.append([b"x"])
    assert await appender.look() is None


async def test_appends_are_told_while_somebody_listens(
    appender: Appender, told: list[dict[str, Any]], hear: Callable[..., object]
):
    await appender.append([b"unheard"])
    hear(stream_appended)
    await appender.append([b"a", b"b"])
    (heard,) = told
    assert (heard["signal"], heard["offset"]) == (stream_appended, 7)
    assert (heard["size"], heard["chunks"]) == (2, 2)
    assert heard["duration"] >= 0


async def test_the_first_byte_is_told_once(
    appender: Appender, told: list[dict[str, Any]], hear: Callable[..., object]
):
    hear(stream_first_byte)
    await appender.append([b"first"])
    await appender.append([b"second"])
    assert [(one["signal"], one["size"]) for one in told] == [(stream_first_byte, 5)]


@pytest.mark.parametrize("afterwards", [False, True])
async def test_an_end_is_written_once_the_store_answers(
    store: BaseStore, appender: Appender, afterwards: bool
):
    fail(store, "finalize", 2, afterwards=afterwards)
    info = await appender.end(StreamStatus.ERROR, code=ErrorCode.INTERRUPTED, detail="a deploy")
    assert (info.status, info.error_code, info.error) == ("error", "interrupted", "a deploy")
    again = await appender.end(StreamStatus.DONE)  # the first end stays
    assert (again.status, again.error_code) == ("error", "interrupted")


async def test_an_end_waits_for_all_that_was_acknowledged(store: BaseStore, appender: Appender):
    await appender.append([b"0123456789"])
    await rewind(store, 4)
    info = await appender.end(StreamStatus.DONE)
    assert (info.status, info.size) == ("done", 10)
    assert await body(store) == b"0123456789"


async def test_an_end_as_data_lost_takes_the_log_as_it_is(
    store: BaseStore, tail: Tail, appender: Appender
):
    for _ in range(4):
        await appender.append([b"x" * 100 * KIB])
    await rewind(store, 10)
    with pytest.raises(StreamFailed):
        await appender.end(StreamStatus.DONE)
    info = await appender.end(StreamStatus.ERROR, code=ErrorCode.DATA_LOST)
    assert (info.error_code, info.size) == ("data_lost", 10)


async def test_an_end_after_a_wait_in_vain_is_tried_once(store: BaseStore, appender: Appender):
    calls = fail(store, "finalize", 1_000, afterwards=False)
    with pytest.raises(StoreUnavailable):
        await appender.end(StreamStatus.ERROR, code=ErrorCode.STORE_UNAVAILABLE)
    assert len(calls) == 1
