"""Readers that are closed while they read: at whatever they wait, they end."""

import asyncio

from resumable_streams import StreamManager
from resumable_streams.engine import get_engine
from resumable_streams.reading.tail import Tail
from tests.tools.readers import read_all
from tests.tools.sources import Tap


async def test_a_reader_that_is_closed_while_it_is_looked_up_whether_it_is_barred_ends(
    manager: StreamManager, elsewhere: StreamManager
):
    tap = Tap()
    await manager.arun("chat", tap, owner="a")
    for side in (manager, elsewhere):
        reader = await side.arequire_resume("chat", owner="a")
        engine, reached, opened = get_engine(side.alias), asyncio.Event(), asyncio.Event()

        async def enforce_control(tails: object, reached=reached, opened=opened) -> set[Tail]:
            reached.set()
            await opened.wait()
            return set()

        engine.enforce_control = enforce_control  # type: ignore[method-assign]
        engine.hub.control_changed(
            "default"
        )  # news that came between the resume and the first read
        reading = asyncio.ensure_future(read_all(reader))
        await reached.wait()
        reader.close()
        await asyncio.sleep(0)  # the turn in which it is detached
        opened.set()
        async with asyncio.timeout(10):
            assert await reading == b""
