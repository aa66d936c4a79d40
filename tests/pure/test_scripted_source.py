"""The source that tests hold in their hand, and the moments it waits for."""

import asyncio
import threading

import pytest

from resumable_streams.testing import HANG, Moment, ScriptedSource


async def test_a_script_yields_its_chunks_and_waits_for_its_moments():
    gate, event = Moment(), asyncio.Event()
    source = ScriptedSource(b"a", "b", gate, event, b"c")
    chunks = source()
    assert [await anext(chunks), await anext(chunks)] == [b"a", "b"]
    waiting = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert (source.calls, source.yielded, source.closed.is_set()) == (1, 2, False)
    gate.set()
    event.set()
    assert await waiting == b"c"
    assert [chunk async for chunk in chunks] == []
    assert source.opened.is_set()
    assert source.closed.is_set()
    assert source.is_finished
    assert source.reason is None


async def test_a_script_raises_its_exceptions_and_yields_what_it_should_not():
    source = ScriptedSource(None, ValueError("wrong"), b"again")
    chunks = source()
    assert await anext(chunks) is None
    with pytest.raises(ValueError, match="wrong"):
        await anext(chunks)
    assert source.closed.is_set()
    assert not source.is_finished
    assert [chunk async for chunk in source()] == [b"again"]
    assert source.is_finished


async def test_a_script_that_is_closed_says_so():
    source = ScriptedSource(b"a", b"b")
    chunks = source()
    assert await anext(chunks) == b"a"
    await chunks.aclose()
    assert source.closed.is_set()
    assert not source.is_finished
    assert source.yielded == 1


async def test_a_script_that_hangs_ends_when_it_is_cancelled():
    source = ScriptedSource(b"a", HANG, b"never")
    chunks = source()
    assert await anext(chunks) == b"a"
    hanging = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0)
    hanging.cancel()
    await source.closed.wait()
    assert not source.is_finished


async def test_a_source_that_is_held_yields_what_it_is_given_until_its_end():
    source = ScriptedSource(b"a", is_held=True)
    chunks = source()
    assert await anext(chunks) == b"a"
    waiting = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0)
    threading.Thread(target=source.give, args=[b"b"]).start()
    assert await waiting == b"b"
    source.end(b"c")
    assert [chunk async for chunk in chunks] == [b"c"]


async def test_a_moment_is_waited_for_in_tasks_and_threads():
    moment, loops = Moment(), []

    def on_another_loop() -> None:
        asyncio.run(moment.wait())
        moment.wait_sync()
        loops.append("another")

    threads = [threading.Thread(target=on_another_loop), threading.Thread(target=moment.wait_sync)]
    for thread in threads:
        thread.start()
    waiting = asyncio.ensure_future(moment.wait())
    left = asyncio.ensure_future(moment.wait())
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    assert not moment.is_set()
    await asyncio.to_thread(moment.set)
    await waiting
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert loops == ["another"]
    await moment.wait()


def test_a_thread_waits_for_a_moment_for_a_while():
    with pytest.raises(TimeoutError):
        Moment().wait_sync(0.01)
