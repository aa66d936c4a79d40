"""The source that tests hold in their hand."""

import asyncio

import pytest

from resumable_streams.testing import ScriptedSource


async def test_a_script_yields_its_chunks_and_waits_for_its_events():
    gate = asyncio.Event()
    source = ScriptedSource(b"a", "b", gate, b"c")
    chunks = source()
    assert [await anext(chunks), await anext(chunks)] == [b"a", "b"]
    waiting = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert (source.calls, source.yielded, source.closed.is_set()) == (1, 2, False)
    gate.set()
    assert await waiting == b"c"
    assert [chunk async for chunk in chunks] == []
    assert source.opened.is_set()
    assert source.closed.is_set()


async def test_a_script_raises_its_exceptions_and_yields_what_it_should_not():
    source = ScriptedSource(None, ValueError("wrong"))
    chunks = source()
    assert await anext(chunks) is None
    with pytest.raises(ValueError, match="wrong"):
        await anext(chunks)
    assert source.closed.is_set()


async def test_a_script_that_is_closed_says_so():
    source = ScriptedSource(b"a", b"b")
    chunks = source()
    assert await anext(chunks) == b"a"
    await chunks.aclose()
    assert source.closed.is_set()
    assert source.yielded == 1
