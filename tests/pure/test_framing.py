"""Bodies of frames against what a browser makes of them: whatever the log is, and however cut."""

import itertools
from collections.abc import Sequence
from functools import partial
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resumable_streams.formats import Encodings, Format, ag_ui, frames, sse, ui_message
from resumable_streams.sse import LOOK_BACK, EventId, Framer, ends_frame
from tests.whatwg import BOM, Event, events

from .test_formats import info

SHORT = 12  # bytes of an unfinished frame that are held here, so that some outgrow it

FIELDS = [
    b"data: a",
    b"data:b",
    b"data",
    b"event: x",
    b"id: 7",
    b"id",
    b"retry: 5",
    b": c",
    b"x" * 20,
]
ODDITIES = [BOM, b"\xff", b"\0", b" ", "é".encode()]
LINE_ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n"]
PIECES = st.sampled_from(FIELDS) | st.sampled_from(ODDITIES) | st.sampled_from(LINE_ENDS)
LOGS = st.lists(PIECES, max_size=14).map(b"".join)
CUTS = st.lists(st.integers(0, 80), max_size=6)


def body(log: bytes, cuts: Sequence[int] = (), start: int = 0, wire: Format = sse) -> bytes:
    """Return the body of a done stream from a byte on, with silence at every cut of the log."""
    short = partial(Framer, max_held=SHORT)
    with mock.patch.object(frames, "Framer", short):
        encoder = wire.encoder(info(), start)
    edges = [start, *sorted(cut for cut in cuts if start < cut < len(log)), len(log)]
    parts = [encoder.opening()]
    for first, last in itertools.pairwise(edges):
        parts += [encoder.keep_alive(), encoder.encode(log[first:last])]
    return b"".join([*parts, encoder.end(info("done", len(log)))])


def said(found: Sequence[Event]) -> list[tuple[str, str]]:
    return [(one.type, one.data) for one in found]


def expected(log: bytes) -> list[tuple[str, str]]:
    """Return what a browser would make of the log itself, its last event completed."""
    return said(events(log + b"\n\n"))


@given(LOGS, CUTS)
@example(b"data: one\n\ndata: two\n", [])
@example(BOM + b"data: one\n\n", [1])
@example(b"data: a\n\n" + BOM + b"data: b\n\n", [9])
@example(b"data: " + b"x" * 40 + b"\ndata: y\n", [20, 47])
@example(b"data: " + b"x" * 40 + b"\n  \n\n", [49])
def test_a_body_has_the_events_of_the_log_and_their_positions(log: bytes, cuts: list[int]):
    found = events(body(log, cuts))
    assert said(found[:-1]) == expected(log)
    assert (found[-1].type, found[-1].last_event_id) == ("done", "e-end")
    for number, one in enumerate(found[:-1]):
        seen = EventId.parse(one.last_event_id)
        assert seen is not None
        assert seen.offset is not None
        before = log[max(0, seen.offset - LOOK_BACK) : seen.offset]
        assert seen.offset == len(log) or ends_frame(before)
        if seen.offset < len(log):  # at the end the answer is 204
            rest = events(body(log, cuts, start=seen.offset))
            assert rest == found[number + 1 :]


@given(LOGS, CUTS)
@example(b"data: {}\n", [])
@example(BOM + b"data: {}\n\n", [1])
def test_the_parts_of_a_message_are_those_of_the_log(log: bytes, cuts: list[int]):
    found = said(events(body(log, cuts, wire=ui_message)))
    assert found == [*expected(log), ("message", "[DONE]")]


@pytest.mark.parametrize("ending", [b"\n", b"\r", b"\r\n", b""])
def test_the_last_event_has_its_own_id_however_it_ends(ending: bytes):
    log = b"data: one\n\ndata: two" + ending
    last, _ = events(body(log))[-2:]
    assert (last.data, last.last_event_id) == ("two", f"e-{len(log)}")


def test_a_byte_order_mark_that_a_source_relays_is_not_sent():
    encoder = sse.encoder(info(), 0)
    assert encoder.keep_alive() + encoder.encode(BOM + b"data: one\n\n") == (
        b": keep-alive\n\ndata: one\nid: e-14\n\n"
    )


def test_a_last_frame_that_outgrew_the_bound_has_its_own_id():
    log = b"data: one\n\ndata: " + b"x" * 100
    assert events(body(log, range(0, 120, 7)))[-2].last_event_id == f"e-{len(log)}"


READERS = st.lists(st.integers(0, 60), min_size=2, max_size=4)


@given(LOGS, CUTS, READERS, st.sampled_from([sse, ui_message, ag_ui]))
@example(b"data: a\n\ndata: b\n\n", [9], [0, 0, 9], ui_message)
@example(BOM + b"data: a\n\n" + BOM + b"data: b\n\n", [12], [0, 12, 12], sse)
@example(b"data: a\n\n\ndata: b\n\n", [4, 9, 10], [9, 10, 4], ag_ui)
def test_frames_that_bodies_share_are_those_of_each(
    log: bytes, cuts: Sequence[int], starts: Sequence[int], wire: Format
) -> None:
    short = partial(Framer, max_held=SHORT)
    with mock.patch.object(frames, "Framer", short):
        sharing = [wire.encoder(info(), start) for start in starts]
        alone = [wire.encoder(info(), start) for start in starts]
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(log)}), len(log)]
    ended = info("done", len(log))
    for first, last in itertools.pairwise(edges):
        encodings: Encodings = {}
        for start, one, other in zip(starts, sharing, alone, strict=True):
            data = log[max(first, start) : last]
            assert one.encode_shared(data, encodings) == other.encode(data)
    for one, other in zip(sharing, alone, strict=True):
        assert one.keep_alive() == other.keep_alive()
        assert one.end(ended) == other.end(ended)
