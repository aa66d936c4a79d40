"""Gathering: bounded, in order, nothing lost, nothing doubled."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_streams.producing.buffer import GATHER_BYTES, GATHER_CHUNKS, Gathering
from resumable_streams.stores.base import MAX_APPEND_BYTES


async def test_what_was_put_is_taken_together_and_in_order():
    gathering = Gathering()
    for number in range(5):
        assert await gathering.put(b"%d" % number)
    gathering.close()
    assert await gathering.take() == [b"0", b"1", b"2", b"3", b"4"]
    assert await gathering.take() == []


async def test_a_take_waits_for_the_first_chunk():
    gathering = Gathering()
    taking = asyncio.ensure_future(gathering.take())
    await asyncio.sleep(0)
    assert not taking.done()
    await gathering.put(b"x")
    assert await taking == [b"x"]


async def test_a_put_waits_while_there_is_no_room():
    gathering = Gathering()
    await gathering.put(b"x" * GATHER_BYTES)
    putting = asyncio.ensure_future(gathering.put(b"y"))
    await asyncio.sleep(0)
    assert not putting.done()
    assert await gathering.take() == [b"x" * GATHER_BYTES]
    assert await putting
    assert await gathering.take() == [b"y"]


async def test_many_small_chunks_are_bounded_by_their_number():
    gathering = Gathering()
    for _ in range(GATHER_CHUNKS):
        await gathering.put(b"x")
    putting = asyncio.ensure_future(gathering.put(b"y"))
    await asyncio.sleep(0)
    assert not putting.done()
    await gathering.take()
    assert await putting


async def test_a_chunk_larger_than_everything_comes_alone():
    gathering = Gathering()
    large = b"x" * (GATHER_BYTES + 1)
    await gathering.put(b"a")
    putting = asyncio.ensure_future(gathering.put(large))
    await asyncio.sleep(0)
    assert await gathering.take() == [b"a"]
    assert await putting
    assert await gathering.take() == [large]


async def test_an_error_comes_after_what_was_gathered_before_it():
    gathering = Gathering()
    await gathering.put(b"x")
    assert gathering.close(LookupError())
    assert not gathering.close(ValueError())
    assert await gathering.take() == [b"x"]
    with pytest.raises(LookupError):
        await gathering.take()


async def test_an_abort_comes_before_what_was_gathered():
    gathering = Gathering()
    await gathering.put(b"x" * GATHER_BYTES)
    putting = asyncio.ensure_future(gathering.put(b"y"))
    await asyncio.sleep(0)
    gathering.abort(LookupError())
    with pytest.raises(LookupError):
        await gathering.take()
    assert await putting is False
    assert await gathering.put(b"z") is False


async def test_a_cancelled_put_or_take_loses_nothing():
    gathering = Gathering()
    taking = asyncio.ensure_future(gathering.take())
    await asyncio.sleep(0)
    await gathering.put(b"x" * GATHER_BYTES)
    taking.cancel()
    await asyncio.wait([taking])
    putting = asyncio.ensure_future(gathering.put(b"y"))
    await asyncio.sleep(0)
    putting.cancel()
    await asyncio.wait([putting])
    await_all = [] if taking.cancelled() else taking.result()
    await_all += [] if await_all else await gathering.take()
    assert await_all == [b"x" * GATHER_BYTES]


sizes = st.lists(
    st.one_of(st.integers(1, 20), st.integers(100_000, 300_000), st.just(MAX_APPEND_BYTES)),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(sizes=sizes, pauses=st.lists(st.booleans(), max_size=30))
def test_every_take_fits_one_append_and_all_of_them_are_the_source(sizes, pauses):
    chunks = [bytes([number]) * size for number, size in enumerate(sizes)]

    async def flow() -> list[list[bytes]]:
        gathering = Gathering()

        async def put() -> None:
            for number, chunk in enumerate(chunks):
                await gathering.put(chunk)
                if number < len(pauses) and pauses[number]:
                    await asyncio.sleep(0)
            gathering.close()

        putting = asyncio.create_task(put())
        taken = []
        while batch := await gathering.take():
            taken.append(batch)
        await putting
        return taken

    taken = asyncio.run(flow())
    assert [chunk for batch in taken for chunk in batch] == chunks
    for batch in taken:
        assert len(batch) == 1 or sum(map(len, batch)) <= MAX_APPEND_BYTES
