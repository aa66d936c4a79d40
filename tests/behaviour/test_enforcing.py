"""Enforcing what operators decided: whatever goes wrong with it is told, and it is tried again."""

import asyncio
import logging
from collections.abc import Collection

import pytest

from resumable_streams import StreamFailed, StreamManager
from resumable_streams.control import revoke
from resumable_streams.engine import get_engine
from resumable_streams.reading.tail import Tail
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap
from tests.tools.waiting import within


@pytest.mark.lengthy
async def test_a_revocation_is_enforced_though_the_first_attempt_fails(
    manager: StreamManager, caplog: pytest.LogCaptureFixture
):
    reader = await manager.arun("chat", Tap(b"abc"), owner="a")
    await read_until(reader, 3)
    reading = asyncio.create_task(read_all(reader))
    engine = get_engine("default")
    enforce, failures = engine.enforce_control, [LookupError("a mistake of ours")]

    async def fail_first(tails: Collection[Tail]) -> set[Tail]:
        if failures:
            raise failures.pop()
        return await enforce(tails)

    engine.enforce_control = fail_first  # type: ignore[method-assign]
    caplog.set_level(logging.ERROR)
    await revoke("default", "default", "a")
    async with within(5):
        with pytest.raises(StreamFailed, match="expired"):
            await reading
    assert [
        r for r in caplog.records if "change of control failed" in r.getMessage() and r.exc_info
    ]
