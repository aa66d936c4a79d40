"""Positions: what a request says about where it goes on, and what of it is there."""

from typing import Any

import pytest

from resumable_streams.exceptions import InvalidOffset, StreamReplaced
from resumable_streams.positions import (
    MAX_OFFSET,
    ByteRange,
    Position,
    Span,
    Start,
    parse_position,
    plan_range,
    resolve,
)
from resumable_streams.sse import EventId
from resumable_streams.types import StreamInfo, StreamStatus

LIVE_EDGE = 9_007_199_254_740_991


def info(status: str, size: int) -> StreamInfo:
    return StreamInfo(
        stream_id="s",
        tenant="default",
        generation=1,
        owner="me",
        status=StreamStatus(status),
        size=size,
        entries=1,
        created=0,
        expires=0,
        epoch="e",
    )


def parse(header: str = "", **query: str) -> Position:
    name, _, value = header.partition(": ")
    return parse_position(query, {name: value} if name else {})


def test_a_request_without_a_position_starts_at_the_beginning():
    assert parse() == Position()


@pytest.mark.parametrize(
    ("text", "offset"),
    [("0", 0), ("7", 7), ("007", 7), ("0" * 5_000 + "1", 1), ("1" + "0" * 30, MAX_OFFSET)],
)
def test_an_offset_is_a_whole_number(text: str, offset: int):
    assert parse(offset=text).offset == offset


def test_an_offset_of_any_length_is_a_number():
    assert parse(offset="9" * 100_000).offset == MAX_OFFSET


@pytest.mark.parametrize("text", ["", "-1", "abc", "1.0", "1e3", "+1", " 1", "٣", "1\n", "0x1"])
def test_what_is_not_a_whole_number_is_refused(text: str):
    with pytest.raises(InvalidOffset):
        parse(offset=text)


def test_an_event_id_is_one_of_ours():
    assert parse("Last-Event-ID: ab12-9").event_id == EventId("ab12", 9)
    with pytest.raises(InvalidOffset):
        parse("Last-Event-ID: 9")


def test_an_event_id_comes_before_the_offset_of_the_address():
    position = parse("Last-Event-ID: ab12-9", offset="3")
    assert (position.event_id, position.offset) == (EventId("ab12", 9), None)


def test_an_empty_event_id_is_none():
    assert parse("Last-Event-ID: ", offset="3").offset == 3


def test_a_bad_offset_is_refused_even_next_to_an_event_id():
    with pytest.raises(InvalidOffset):
        parse("Last-Event-ID: ab12-9", offset="x")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bytes=0-", ByteRange(0, None)),
        ("bytes=5-9", ByteRange(5, 9)),
        ("Bytes = 5-9", ByteRange(5, 9)),
        ("bytes=-5", ByteRange(None, 5)),
        ("bytes=5-" + "9" * 40, ByteRange(5, MAX_OFFSET)),
        ("lines=1-2", None),
        ("bytes=0-1,5-6", None),
        ("", None),
    ],
)
def test_one_range_of_bytes_is_understood_and_others_are_ignored(
    text: str, wanted: ByteRange | None
):
    assert parse(f"Range: {text}").byte_range == wanted


@pytest.mark.parametrize("text", ["bytes=", "bytes=-", "bytes=9-5", "bytes=a-b", "bytes=--5"])
def test_a_malformed_range_is_refused(text: str):
    with pytest.raises(InvalidOffset):
        parse(f"Range: {text}")


def test_live_is_0_or_1():
    assert parse(live="0").live is False
    assert parse(live="1").live is True
    with pytest.raises(InvalidOffset):
        parse(live="maybe")


def plan(status: str, size: int, first: int | None, last: int | None) -> Span | None:
    return plan_range(ByteRange(first, last), info(status, size))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0, None, "bytes 0-99/100"),
        (40, None, "bytes 40-99/100"),
        (40, 49, "bytes 40-49/100"),
        (40, 1_000, "bytes 40-99/100"),
        (40, LIVE_EDGE, "bytes 40-99/100"),
        (None, 10, "bytes 90-99/100"),
        (None, 1_000, "bytes 0-99/100"),
    ],
)
def test_a_range_of_a_done_stream_has_all_its_numbers(first: Any, last: Any, expected: str):
    span = plan("done", 100, first, last)
    assert span is not None
    assert span.content_range == expected
    assert span.length == span.last - span.first + 1


def test_a_range_of_a_live_stream_that_is_there_has_an_unknown_total():
    assert plan("streaming", 100, 40, 49) == Span(40, 49, total=None, length=10)
    assert plan("streaming", 100, 40, 1_000) == Span(40, 99, total=None, length=60)


def test_a_very_large_last_byte_of_a_live_stream_follows_it():
    span = plan("streaming", 100, 100, LIVE_EDGE)
    assert span == Span(100, LIVE_EDGE, total=None, length=None)
    assert span.content_range == f"bytes 100-{LIVE_EDGE}/*"


@pytest.mark.parametrize(("first", "last"), [(40, None), (None, 10)])
def test_a_range_of_a_live_stream_without_a_known_end_is_ignored(first: Any, last: Any):
    assert plan("streaming", 100, first, last) is None


@pytest.mark.parametrize(
    ("status", "size", "first", "last"),
    [
        ("done", 100, 100, None),
        ("done", 100, 10**15, 10**15),
        ("done", 0, 0, None),
        ("done", 0, None, 5),
        ("done", 100, None, 0),
        ("streaming", 100, 101, LIVE_EDGE),
        ("streaming", 100, 100, 150),
    ],
)
def test_a_range_beyond_the_end_is_not_satisfiable(status: str, size: int, first: Any, last: Any):
    with pytest.raises(InvalidOffset) as caught:
        plan(status, size, first, last)
    assert caught.value.size == size


def test_the_end_of_a_failed_stream_is_not_promised():
    assert plan("error", 100, 40, None) == Span(40, 99, total=None, length=None)
    assert plan("error", 100, 40, 49) == Span(40, 49, total=None, length=10)


@pytest.mark.parametrize("seen", [EventId("other", 3), EventId("e", None)])
def test_who_cannot_be_reset_is_told_that_its_position_is_of_another_stream(seen: EventId):
    live = info("streaming", 7)
    resets = resolve(Position(event_id=seen), live, is_log=False, can_reset=True)
    assert resets == Start(reset=True)
    with pytest.raises(StreamReplaced):
        resolve(Position(event_id=seen), live, is_log=False, can_reset=False)
