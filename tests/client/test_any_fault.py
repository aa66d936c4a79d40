"""The property: a client yields what was produced, in every format, whatever is cut."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from django.core.handlers.asgi import ASGIHandler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resumable_streams.client import AsyncRemoteStream, AsyncSiteClient, Backoff, RemoteFailure
from resumable_streams.sse import event
from tests import whatwg
from tests.setups.asgi import Transport

from . import site
from .weather import BadLine, Fault

pytestmark = pytest.mark.lengthy

KINDS = ["unsent", "lost", "refused", "broken", "ended", "silent"]
FAULTS = st.lists(
    st.builds(Fault, kind=st.sampled_from(KINDS), size=st.integers(0, 120)), max_size=12
)
PIECES = st.sampled_from([1, 3, 65_536])
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
TEXTS = st.lists(TEXT | st.sampled_from(["é", "漢字", "🙂🙂", "\r\n", "data: x\n\n"]), max_size=8)
JSON = st.dictionaries(st.sampled_from(["a", "b"]), TEXT | st.integers() | st.booleans())
CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)

PATIENT = Backoff(attempts=30, first=0.0001, longest=0.0001)

Iterate = Callable[[AsyncRemoteStream], AsyncIterator[Any]]


class SourceFailed(Exception):
    """A fault of the model."""


async def received(
    items: list[Any], iterate: Iterate, wire_format: str, line: BadLine, *, fails: bool
) -> list[Any]:
    """Return what a client yields of a stream of these items, behind a bad line."""
    name = uuid.uuid4().hex

    async def source() -> AsyncIterator[Any]:
        for item in items:
            yield item
            await asyncio.sleep(0)
        if fails:
            raise SourceFailed

    site.scripts[name] = source
    async with httpx.AsyncClient(transport=line) as http:
        client = AsyncSiteClient("http://testserver", http=http, token="ada", backoff=PATIENT)
        stream = await client.acquire(f"/answer/{name}/?format={wire_format}")
        found: list[Any] = []
        with pytest.raises(RemoteFailure, match="source_failed") if fails else nullcontext():
            async for item in iterate(stream):
                found.append(item)
        assert stream.ended == ("error" if fails else "done")
    assert site.calls[name] == 1
    return found


@pytest.fixture
def bad_line(sources: Any) -> Callable[..., BadLine]:
    """Return a function that makes a line to the site."""
    transport = Transport(ASGIHandler())

    def make(faults: list[Fault], pieces: int) -> BadLine:
        return BadLine(transport, faults, pieces=pieces)

    return make


anything = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@anything
@given(items=CHUNKS, faults=FAULTS, pieces=PIECES, fails=st.booleans())
async def test_the_bytes_of_a_raw_stream(
    bad_line: Any, items: list[bytes], faults: list[Fault], pieces: int, fails: bool
) -> None:
    line = bad_line(faults, pieces)
    found = await received(items, AsyncRemoteStream.bytes, "raw", line, fails=fails)
    assert b"".join(found) == b"".join(items)


@anything
@given(items=TEXTS, faults=FAULTS, pieces=PIECES, fails=st.booleans())
async def test_the_text_of_a_raw_stream(
    bad_line: Any, items: list[str], faults: list[Fault], pieces: int, fails: bool
) -> None:
    line = bad_line(faults, pieces)
    found = await received(items, AsyncRemoteStream.text, "raw", line, fails=fails)
    assert "".join(found) == "".join(items)


@anything
@given(items=st.lists(JSON, max_size=8), faults=FAULTS, pieces=PIECES, fails=st.booleans())
async def test_the_lines_of_ndjson(
    bad_line: Any, items: list[Any], faults: list[Fault], pieces: int, fails: bool
) -> None:
    line = bad_line(faults, pieces)
    found = await received(items, AsyncRemoteStream.parts, "ndjson", line, fails=fails)
    assert found == items


@anything
@given(items=st.lists(JSON, max_size=8), faults=FAULTS, pieces=PIECES, fails=st.booleans())
async def test_the_events_of_a_run(
    bad_line: Any, items: list[Any], faults: list[Fault], pieces: int, fails: bool
) -> None:
    events = [{"type": "CUSTOM", "name": "any", "value": item} for item in items]
    line = bad_line(faults, pieces)
    found = await received(events, AsyncRemoteStream.parts, "ag_ui", line, fails=fails)
    assert [one for one in found if one["type"] == "CUSTOM"] == events
    kinds = [one["type"] for one in found if one["type"] != "CUSTOM"]
    assert kinds == ["RUN_STARTED", *["RUN_FINISHED"] * (not fails)] * bool(events)


@anything
@given(items=TEXTS, faults=FAULTS, pieces=PIECES, fails=st.booleans())
async def test_the_events_of_sse(
    bad_line: Any, items: list[str], faults: list[Fault], pieces: int, fails: bool
) -> None:
    frames = [event(item, "word") for item in [*items, "", *items]]
    line = bad_line(faults, pieces)
    found = await received(frames, AsyncRemoteStream.events, "sse", line, fails=fails)
    wanted = whatwg.events(b"".join(frames))
    assert [(one.type, one.data) for one in found] == [(one.type, one.data) for one in wanted]


@anything
@given(items=TEXTS, faults=FAULTS, pieces=PIECES, fails=st.booleans())
async def test_the_bytes_of_sse_are_whole_frames(
    bad_line: Any, items: list[str], faults: list[Fault], pieces: int, fails: bool
) -> None:
    frames = [event(item) for item in items]
    line = bad_line(faults, pieces)
    found = await received(frames, AsyncRemoteStream.bytes, "sse", line, fails=fails)
    assert [re.sub(rb"\nid: [0-9a-f]+-[0-9]+\n\n\Z", b"\n\n", one) for one in found] == frames


@anything
@given(items=st.lists(JSON, max_size=8), faults=FAULTS, pieces=PIECES, fails=st.booleans())
async def test_the_parts_of_a_message(
    bad_line: Any, items: list[Any], faults: list[Fault], pieces: int, fails: bool
) -> None:
    parts = [{"type": "data-any", "data": item} for item in items]
    line = bad_line(faults, pieces)
    found = await received(parts, AsyncRemoteStream.parts, "ui_message", line, fails=fails)
    assert [part for part in found if part["type"] == "data-any"] == parts
    kinds = [part["type"] for part in found if part["type"] != "data-any"]
    assert kinds == ["start", *["finish"] * (not fails)] * bool(parts)


@pytest.mark.parametrize("size", [0, 40])
async def test_a_body_that_is_cut_unseen_again_and_again_is_never_the_end(
    bad_line: Any, size: int
) -> None:
    faults = [Fault(kind="ended", size=size), *[Fault(kind="ended")] * 20]
    line = bad_line(faults, 65_536)
    part = {"type": "data-any", "data": {}}
    found = await received([part], AsyncRemoteStream.parts, "ui_message", line, fails=False)
    assert found == [{"type": "start"}, part, {"type": "finish"}]
