"""Frames: encoded, found again in any cutting of the log, and named by ids."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_streams.sse import EventId, Framer, comment, event

LOG = b"data: a\n\n\n\ndata: b\r\n\r\nid: 7\ndata: c\r\rdata: d\n\r\ndata: e\ndata: f\n\nhalf"


def frames(log: bytes, *cuts: int, offset: int = 0) -> list[tuple[bytes, int]]:
    """Return the frames (without the line ends around them) and where they end."""
    framer, edges = Framer(offset), [0, *sorted(cuts), len(log)]
    fragments = [
        fragment
        for start, end in itertools.pairwise(edges)
        for fragment in framer.push(log[start:end])
    ]
    return [(f.data.strip(), f.end) for f in fragments if f.data.strip()]


def test_a_frame_has_a_data_line_for_each_line():
    assert event("a\nb\r\nc\rd") == b"data: a\ndata: b\ndata: c\ndata: d\n\n"


def test_a_frame_has_a_name_and_an_id():
    assert event(b"x", "reset", event_id="e-0") == b"event: reset\ndata: x\nid: e-0\n\n"


def test_a_field_has_one_line():
    for build in (
        lambda: event("x", "a\nb"),
        lambda: event("x", event_id="\0"),
        lambda: comment("\r"),
    ):
        with pytest.raises(ValueError, match="one line"):
            build()


def test_frames_end_at_any_blank_line():
    texts = [text for text, _ in frames(LOG)]
    assert texts == [b"data: a", b"data: b", b"id: 7\ndata: c", b"data: d", b"data: e\ndata: f"]


@given(st.lists(st.integers(0, len(LOG)), max_size=12))
def test_frames_do_not_depend_on_how_the_log_was_cut(cuts: list[int]):
    assert [text for text, _ in frames(LOG, *cuts)] == [text for text, _ in frames(LOG)]


@given(st.lists(st.integers(0, len(LOG)), max_size=12))
@pytest.mark.lengthy
def test_from_the_end_of_a_frame_the_next_one_follows(cuts: list[int]):
    found = frames(LOG, *cuts)
    for number, (_, end) in enumerate(found):
        rest = [text for text, _ in frames(LOG[end:], offset=end)]
        assert rest == [text for text, _ in found[number + 1 :]]


def test_the_end_of_a_frame_counts_from_the_offset():
    assert frames(b"data: a\n\n", offset=100) == [(b"data: a", 109)]


def test_an_unfinished_frame_waits():
    framer = Framer(0)
    assert list(framer.push(b"data: a\n")) == []
    assert framer.between_frames
    assert framer.rest() == b"data: a\n"
    assert framer.rest() == b""


def test_a_frame_that_outgrows_the_bound_is_passed_on_in_parts():
    framer, log = Framer(0, max_held=100), b"data: " + b"x" * 1_000 + b"\n\n"
    fragments = [
        f for start in range(0, len(log), 10) for f in framer.push(log[start : start + 10])
    ]
    assert b"".join(f.data for f in fragments) + b"\n\n" == log
    assert [f.complete for f in fragments] == [False] * (len(fragments) - 1) + [True]
    assert fragments[-1].end == len(log)
    assert framer.between_frames


def test_no_frame_is_held_beyond_the_bound():
    framer = Framer(0, max_held=100)
    list(framer.push(b"x" * 1_000))
    assert not framer.between_frames
    assert len(framer.rest()) <= 100


@given(st.from_regex(r"[0-9a-f]{8}", fullmatch=True), st.none() | st.integers(0, 10**15 - 1))
@pytest.mark.lengthy
def test_an_id_survives_the_way_to_the_client(epoch: str, offset: int | None):
    assert EventId.parse(str(EventId(epoch, offset))) == EventId(epoch, offset)


@pytest.mark.parametrize(
    "text", ["", "7", "e-", "e--1", "e-1x", "-1", "e-1\n", "e-٣", "e-1e9", "e-1" + "0" * 30, "é-1"]
)
def test_what_is_not_an_id_is_refused(text: str):
    assert EventId.parse(text) is None
