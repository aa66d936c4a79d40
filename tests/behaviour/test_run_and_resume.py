"""One producer, any number of readers, each at its own byte."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from resumable_streams import (
    PUBLIC,
    InvalidOffset,
    Role,
    StreamDoesNotExist,
    StreamFailed,
    StreamManager,
    StreamStatus,
)
from tests.tools.readers import read_all, read_until, waits
from tests.tools.sources import Tap, finished

CHUNKS = [b"chunk %d," % number for number in range(200)]
BODY = b"".join(CHUNKS)


async def test_twenty_concurrent_callers_call_the_source_once_and_read_the_same(
    manager: StreamManager,
):
    tap = Tap(*CHUNKS)
    tap.end()
    readers = await asyncio.gather(*(manager.arun("chat", tap, owner="a") for _ in range(20)))
    bodies = await asyncio.gather(*(read_all(reader) for reader in readers))
    assert set(bodies) == {BODY}
    assert tap.calls == 1
    assert [reader.role for reader in readers].count(Role.PRODUCER) == 1


async def test_a_run_after_the_end_replays_without_calling_the_source(manager: StreamManager):
    first, second = Tap(), Tap()
    first.end(b"once")
    assert await read_all(await manager.arun("chat", first, owner="a")) == b"once"
    reader = await manager.arun("chat", second, owner="a")
    assert (await read_all(reader), reader.role, second.calls) == (b"once", Role.CONSUMER, 0)


async def test_a_stream_without_an_id_gets_one_of_its_own(manager: StreamManager):
    one = await manager.arun(None, finished([b"1"]), owner="a")
    two = await manager.arun(None, finished([b"2"]), owner="a")
    assert one.stream_id != two.stream_id
    assert [await read_all(one), await read_all(two)] == [b"1", b"2"]


async def test_second_reader_replays_from_its_offset_then_follows(
    manager: StreamManager, elsewhere: StreamManager
):
    tap = Tap(b"0123456789")
    await read_until(await manager.arun("chat", tap, owner="a"), 10)
    here = await manager.arequire_resume("chat", owner="a", offset=4)
    there = await elsewhere.arequire_resume("chat", owner="a", offset=7)
    assert await anext(here) == b"456789"
    assert await anext(there) == b"789"
    tap.end("äb")
    assert [await read_all(here), await read_all(there)] == ["äb".encode()] * 2
    assert here.offset == there.offset == here.info.size == there.info.size == 13
    assert here.info.status is there.info.status is StreamStatus.DONE


async def test_every_offset_of_a_finished_stream_gives_the_rest(manager: StreamManager):
    await read_all(await manager.arun("chat", finished([b"abc", b"", b"de"]), owner="a"))
    for offset in range(6):
        reader = await manager.arequire_resume("chat", owner="a", offset=offset)
        assert await read_all(reader) == b"abcde"[offset:]


async def test_a_stream_of_no_bytes_ends_at_once(manager: StreamManager):
    reader = await manager.arun("chat", finished([]), owner="a")
    assert await read_all(reader) == b""
    assert (reader.info.status, reader.info.entries) == (StreamStatus.DONE, 0)


async def test_a_foreign_owner_gets_what_a_missing_stream_gives(manager: StreamManager):
    tap = Tap(b"secret")
    await manager.arun("chat", tap, owner="a")
    other = Tap()
    for owner in ("b", PUBLIC):
        for stream_id in ("chat", "missing"):
            assert await manager.aresume(stream_id, owner=owner) is None
            assert await manager.aresume(stream_id, owner=owner, offset=10**30) is None
            assert await manager.astatus(stream_id, owner=owner) is None
            assert await manager.acancel(stream_id, owner=owner) is None
            assert await manager.adelete(stream_id, owner=owner) is False
            with pytest.raises(StreamDoesNotExist):
                await manager.arequire_resume(stream_id, owner=owner)
        with pytest.raises(StreamDoesNotExist):
            await manager.arun("chat", other, owner=owner)
    assert other.calls == 0
    tap.end()
    assert await read_all(await manager.arequire_resume("chat", owner="a")) == b"secret"


async def test_a_tenant_does_not_see_the_streams_of_another(manager: StreamManager):
    await read_all(await manager.arun("chat", finished(["x"]), owner="a", tenant="4"))
    assert await manager.aresume("chat", owner="a", tenant="42") is None
    assert await manager.aresume("chat", owner="a") is None
    assert await read_all(await manager.arequire_resume("chat", owner="a", tenant="4")) == b"x"


async def test_a_public_stream_is_for_everyone_to_read_and_for_nobody_named_to_end(
    manager: StreamManager,
):
    tap = Tap(b"news")
    await manager.arun("feed", tap, owner=PUBLIC)
    joined = await manager.arun("feed", tap, owner="b")
    assert await manager.acancel("feed", owner="b") is None
    assert await manager.adelete("feed", owner="public") is False
    info = await manager.astatus("feed", owner="c")
    assert info is not None
    assert info.is_streaming
    tap.end()
    assert await read_all(joined) == b"news"
    assert await manager.adelete("feed", owner=PUBLIC)


@pytest.mark.parametrize("offset", [-1, True, "abc", 1.0, None, b"1"])
async def test_an_offset_that_is_no_position_is_refused(manager: StreamManager, offset):
    with pytest.raises(InvalidOffset) as refusal:
        await manager.aresume("chat", owner="a", offset=offset)
    assert refusal.value.size is None


async def test_an_offset_beyond_the_end_is_refused_with_the_size(manager: StreamManager):
    await read_all(await manager.arun("chat", finished([b"12345"]), owner="a"))
    for offset in (6, 10**30):
        with pytest.raises(InvalidOffset) as refusal:
            await manager.aresume("chat", owner="a", offset=offset)
        assert refusal.value.size == 5


async def test_a_resume_that_is_not_live_ends_at_what_is_stored(
    manager: StreamManager, elsewhere: StreamManager
):
    tap = Tap(b"so far")
    await read_until(await manager.arun("chat", tap, owner="a"), 6)
    for side in (manager, elsewhere):
        reader = await side.arequire_resume("chat", owner="a", live=False)
        assert await read_all(reader) == b"so far"
        assert reader.info.is_streaming


async def test_a_resume_that_is_not_live_ends_although_production_goes_on(
    manager: StreamManager, elsewhere: StreamManager
):
    async def forever():
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0)

    await read_until(await manager.arun("chat", forever, owner="a"), 1000)
    for side in (manager, elsewhere):
        reader = await side.arequire_resume("chat", owner="a", live=False)
        size = reader.info.size
        async with asyncio.timeout(10):
            async for _ in reader:
                await asyncio.sleep(0.005)  # slower than the source
        assert reader.offset >= size
        assert reader.info.is_streaming


async def test_a_cancelled_read_loses_nothing(manager: StreamManager, elsewhere: StreamManager):
    tap = Tap()
    await manager.arun("chat", tap, owner="a")
    numbers = [b"%02d" % number for number in range(30)]
    for rounds, side in enumerate((manager, elsewhere), 1):
        reader = await side.arequire_resume("chat", owner="a")
        got = await read_until(reader, reader.info.size)
        for turns, number in enumerate(numbers):
            read = asyncio.ensure_future(anext(reader))
            for _ in range(turns % 7):
                await asyncio.sleep(0)
            tap.give(number)
            for _ in range(turns % 5):
                await asyncio.sleep(0)
            read.cancel()
            await asyncio.wait([read])
            got += b"" if read.cancelled() else read.result()
        got += await read_until(reader, rounds * 60)
        assert got == b"".join(numbers) * rounds
    tap.end()


async def test_production_goes_on_without_any_reader(manager: StreamManager):
    tap = Tap(b"a")
    reader = await manager.arun("chat", tap, owner="a")
    await anext(reader)
    await reader.aclose()
    del reader
    tap.give(b"b", b"c")
    tap.end()
    await tap.closed.wait()
    again = await manager.arequire_resume("chat", owner="a", offset=1)
    assert await read_all(again) == b"bc"


async def test_a_closed_reader_ends_and_lets_the_others_read_on(manager: StreamManager):
    tap = Tap(b"a")
    reader = await manager.arun("chat", tap, owner="a")
    other = await manager.arequire_resume("chat", owner="a")
    await anext(reader)
    reader.close()
    reader.close()
    assert [data async for data in reader] == []
    tap.end(b"b")
    assert await read_all(other) == b"ab"


async def test_a_read_that_waits_ends_when_its_reader_is_closed(
    manager: StreamManager, elsewhere: StreamManager
):
    tap = Tap(b"a")
    await manager.arun("chat", tap, owner="a")
    for side in (manager, elsewhere):
        reader = await side.arequire_resume("chat", owner="a")
        await read_until(reader, 1)
        waiting = asyncio.ensure_future(read_all(reader))
        await waits(reader)
        reader.close()
        async with asyncio.timeout(10):
            assert await waiting == b""


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_run_leaves_a_stream_that_is_produced_or_none(
    manager: StreamManager, turns
):
    tap = Tap()
    tap.end(b"whole")
    caller = asyncio.ensure_future(manager.arun("chat", tap, owner="a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    # Whoever comes next reads everything, whether he joins or produces.
    async with asyncio.timeout(10):
        assert await read_all(await manager.arun("chat", tap, owner="a")) == b"whole"
    assert tap.calls == 1


async def test_a_reader_of_a_deleted_stream_does_not_touch_the_next_one_of_that_id(
    manager: StreamManager, elsewhere: StreamManager
):
    old, new = Tap(b"old"), Tap(b"new")
    await read_until(await manager.arun("chat", old, owner="a"), 3)
    late = [await side.arequire_resume("chat", owner="a") for side in (manager, elsewhere)]
    assert await manager.adelete("chat", owner="a")
    await old.closed.wait()
    reader = await manager.arun("chat", new, owner="a")
    await read_until(reader, 3)
    for stale in late:  # attached by its first read: now
        with pytest.raises(StreamFailed) as failure:
            await read_all(stale)
        assert failure.value.code == "expired"
    new.end(b"er")
    assert await read_all(reader) == b"er"
    assert reader.info.status is StreamStatus.DONE


@pytest.mark.lengthy
async def test_two_hundred_readers_of_one_stream_read_everything(
    manager: StreamManager, elsewhere: StreamManager
):
    tap = Tap()
    await manager.arun("chat", tap, owner="a")
    sides = [manager, elsewhere] * 100
    readers = [await side.arequire_resume("chat", owner="a") for side in sides]
    reads = [asyncio.ensure_future(read_all(reader)) for reader in readers]
    for chunk in CHUNKS:
        tap.give(chunk)
        await asyncio.sleep(0)
    tap.end()
    assert set(await asyncio.gather(*reads)) == {BODY}


async def test_attributes_and_times_are_bound_once(manager: StreamManager):
    reader = await manager.arun("chat", finished(["x"]), owner="a", ttl=100, attrs={"k": "v"})
    await read_all(reader)
    again = await manager.arun("chat", finished(["y"]), owner="a", ttl=900, attrs={"k": "w"})
    assert again.info.attrs == reader.info.attrs == {"k": "v"}
    assert again.info.expires - again.info.created <= 101


@pytest.mark.parametrize("ttl", [0, -1, 15, float("nan"), float("inf")])
async def test_a_ttl_that_cannot_be_is_refused(manager: StreamManager, ttl):
    with pytest.raises(ValueError, match="ttl"):
        await manager.arun("chat", finished([]), owner="a", ttl=ttl)


@pytest.mark.parametrize("ttl", ["5m", timedelta(minutes=5)])
async def test_a_ttl_that_is_no_number_is_refused(manager: StreamManager, ttl: Any):
    message = f"ttl is a number of seconds, not {type(ttl).__name__}"
    with pytest.raises(TypeError, match=message):
        await manager.arun("chat", finished([]), owner="a", ttl=ttl)
    with pytest.raises(TypeError, match=message):
        await manager.aretire(ttl=ttl)
