"""The usage that a source reports reaches who is told the end, however that comes."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from resumable_streams import StreamManager, report_usage
from resumable_streams.signals import stream_finalized
from tests.tools.readers import read_until
from tests.tools.sources import produced

told: list[tuple[str, Mapping[str, int]]] = []


def note(*, status: str, usage: Mapping[str, int], **named: Any) -> None:
    told.append((status, usage))


@pytest.fixture(autouse=True)
def receiver() -> Iterator[None]:
    told.clear()
    stream_finalized.connect(note)
    yield
    stream_finalized.disconnect(note)


async def counted(end: BaseException | None = None) -> AsyncIterator[bytes]:
    report_usage(input_tokens=3)
    yield b"a"
    report_usage(output_tokens=1)
    yield b"b"
    report_usage(output_tokens=2)
    if end is not None:
        raise end


def in_a_thread() -> Iterator[bytes]:
    report_usage(input_tokens=3, output_tokens=1)
    yield b"ab"
    report_usage(output_tokens=2)


@pytest.mark.parametrize(
    ("source", "status"),
    [(counted, "done"), (lambda: counted(OSError()), "error"), (in_a_thread, "done")],
)
async def test_the_last_count_of_each_name_is_told(
    manager: StreamManager, source: Any, status: str
):
    await manager.arun("s", source, owner="me")
    await produced()
    assert told == [(status, {"input_tokens": 3, "output_tokens": 2})]


async def test_what_was_used_before_a_cancellation_is_told(manager: StreamManager):
    async def hangs() -> AsyncIterator[bytes]:
        async for chunk in counted():
            yield chunk
        await asyncio.Event().wait()

    reader = await manager.arun("s", hangs, owner="me")
    await read_until(reader, 2)
    await manager.acancel("s", owner="me")
    await produced()
    assert told == [("cancelled", {"input_tokens": 3, "output_tokens": 2})]


async def test_streams_do_not_mix_and_who_reports_nothing_used_nothing(manager: StreamManager):
    report_usage(input_tokens=9)  # outside of a source: for nobody
    await manager.arun("s", [b"x"], owner="me")
    await produced()
    assert told == [("done", {})]
