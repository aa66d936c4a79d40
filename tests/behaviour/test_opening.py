"""An answer that does not wait for the opening of its source any longer."""

import asyncio
import gc
from typing import Any

import pytest

from resumable_streams import StreamManager
from resumable_streams.http.opening import Opening
from resumable_streams.producing.sources import WrongSource
from tests.tools.readers import read_all
from tests.tools.sources import finished


async def test_a_source_that_proves_wrong_after_the_answer_is_no_news_to_the_loop(
    memory_manager: StreamManager, monkeypatch
):
    """Its producer tells; the loop would once more, of an exception nobody asked for."""
    monkeypatch.setattr("resumable_streams.http.opening.OPENING_SECONDS", 0)
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    reader = await memory_manager.arun("chat", finished([b"x"]), owner="a")

    async def late() -> Any:
        return 3

    opening = Opening(late)
    await opening.seen(reader)
    with pytest.raises(WrongSource):
        await opening()
    await asyncio.sleep(0)  # the answer hears of it in the next turn
    await asyncio.sleep(0)
    del opening
    gc.collect()
    assert told == []
    assert await read_all(reader) == b"x"
