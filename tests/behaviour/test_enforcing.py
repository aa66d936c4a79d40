"""Enforcing what operators decided: whatever goes wrong with it is told, and it is tried again."""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

import pytest

from resumable_streams import StreamFailed, StreamInfo, StreamManager
from resumable_streams.control import revoke
from resumable_streams.engine import get_engine
from resumable_streams.reading.tail import Tail
from resumable_streams.signals import stream_finalized
from resumable_streams.types import StreamKey
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap
from tests.tools.waiting import eventually, within

Hear = Callable[..., list[dict[str, Any]]]


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


async def test_a_stream_that_is_revoked_before_its_producer_has_begun_ends_at_once(
    manager: StreamManager, hear: Hear
):
    """Its tail has ended by then, so no news would stop the producer any more."""
    ends, tap = hear(stream_finalized), Tap()
    await manager.astatus("chat", owner="a")
    engine = get_engine("default")
    open_local = engine.hub.open_local

    def end_at_once(info: StreamInfo, key: StreamKey) -> Tail:
        tail = open_local(info, key)
        tail.fail(StreamFailed("expired"))
        return tail

    engine.hub.open_local = end_at_once  # type: ignore[method-assign]
    await manager.arun("chat", tap, owner="a")
    await eventually(lambda: ends)
    await tap.closed.wait()
    assert [end["error_code"] for end in ends] == ["expired"]
