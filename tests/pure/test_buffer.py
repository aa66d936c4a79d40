"""The buffer of chunks: bounded, in order, nothing lost, nothing doubled."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_streams.producing.buffer import GATHER_BYTES, GATHER_CHUNKS, ChunkBuffer
from resumable_streams.stores.base import MAX_APPEND_BYTES


async def test_what_was_put_is_taken_together_and_in_order():
    buffer = ChunkBuffer()
    for number in range(5):
        assert await buffer.put(b"%d" % number)
    buffer.close()
    assert await buffer.take() == [b"0", b"1", b"2", b"3", b"4"]
    assert await buffer.take() == []


async def test_a_take_waits_for_the_first_chunk():
    buffer = ChunkBuffer()
    taking = asyncio.ensure_future(buffer.take())
    await asyncio.sleep(0)
    assert not taking.done()
    await buffer.put(b"x")
    assert await taking == [b"x"]


async def test_a_put_waits_while_there_is_no_room():
    buffer = ChunkBuffer()
    await buffer.put(b"x" * GATHER_BYTES)
    putting = asyncio.ensure_future(buffer.put(b"y"))
    await asyncio.sleep(0)
    assert not putting.done()
    assert await buffer.take() == [b"x" * GATHER_BYTES]
    assert await putting
    assert await buffer.take() == [b"y"]


async def test_many_small_chunks_are_bounded_by_their_number():
    buffer = ChunkBuffer()
    for _ in range(GATHER_CHUNKS):
        await buffer.put(b"x")
    putting = asyncio.ensure_future(buffer.put(b"y"))
    await asyncio.sleep(0)
    assert not putting.done()
    await buffer.take()
    assert await putting


async def test_a_chunk_larger_than_everything_comes_alone():
    buffer = ChunkBuffer()
    large = b"x" * (GATHER_BYTES + 1)
    await buffer.put(b"a")
    putting = asyncio.ensure_future(buffer.put(large))
    await asyncio.sleep(0)
    assert await buffer.take() == [b"a"]
    assert await putting
    assert await buffer.take() == [large]


async def test_an_error_comes_after_what_was_gathered_before_it():
    buffer = ChunkBuffer()
    await buffer.put(b"x")
    assert buffer.close(LookupError())
    assert not buffer.close(ValueError())
    assert await buffer.take() == [b"x"]
    with pytest.raises(LookupError):
        await buffer.take()


async def test_an_abort_comes_before_what_was_gathered():
    buffer = ChunkBuffer()
    await buffer.put(b"x" * GATHER_BYTES)
    putting = asyncio.ensure_future(buffer.put(b"y"))
    await asyncio.sleep(0)
    buffer.abort(LookupError())
    with pytest.raises(LookupError):
        await buffer.take()
    assert await putting is False
    assert await buffer.put(b"z") is False


async def test_a_cancelled_put_or_take_loses_nothing():
    buffer = ChunkBuffer()
    taking = asyncio.ensure_future(buffer.take())
    await asyncio.sleep(0)
    await buffer.put(b"x" * GATHER_BYTES)
    taking.cancel()
    await asyncio.wait([taking])
    putting = asyncio.ensure_future(buffer.put(b"y"))
    await asyncio.sleep(0)
    putting.cancel()
    await asyncio.wait([putting])
    await_all = [] if taking.cancelled() else taking.result()
    await_all += [] if await_all else await buffer.take()
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
        buffer = ChunkBuffer()

        async def put() -> None:
            for number, chunk in enumerate(chunks):
                await buffer.put(chunk)
                if number < len(pauses) and pauses[number]:
                    await asyncio.sleep(0)
            buffer.close()

        putting = asyncio.create_task(put())
        taken = []
        while batch := await buffer.take():
            taken.append(batch)
        await putting
        return taken

    taken = asyncio.run(flow())
    assert [chunk for batch in taken for chunk in batch] == chunks
    for batch in taken:
        assert len(batch) == 1 or sum(map(len, batch)) <= MAX_APPEND_BYTES
