"""Where an answer starts: a position, and the stream as it is."""

from typing import Any

import pytest

from resumable_streams.exceptions import InvalidOffset, StreamReplaced
from resumable_streams.positions import Position, Span, Start, parse_position, resolve
from resumable_streams.sse import EventId

from .test_positions import info

LIVE_EDGE = 9_007_199_254_740_991


def at(
    status: str = "done",
    size: int = 100,
    *,
    is_log: bool = False,
    can_reset: bool = False,
    headers: dict[str, str] | None = None,
    **query: str,
) -> Start:
    """Resolve what a request says in a stream of the epoch "e"."""
    position = parse_position(query, headers or {})
    return resolve(position, info(status, size), is_log=is_log, can_reset=can_reset)


def after(seen: str, **more: Any) -> Start:
    return at(headers={"Last-Event-ID": seen}, can_reset=True, **more)


def ranged(text: str, condition: str | None = None, **more: Any) -> Start:
    headers = {"Range": f"bytes={text}"}
    return at(
        headers=headers if condition is None else {**headers, "If-Range": condition},
        **{"is_log": True, **more},
    )


def test_without_a_position_an_answer_starts_at_the_beginning():
    assert at() == Start()


def test_an_offset_is_where_it_starts():
    assert at(offset="7", live="0") == Start(offset=7, live=False)
    assert at(offset="100") == Start(offset=100)


def test_beyond_the_end_it_cannot_start():
    for ask in (lambda: at(offset="101"), lambda: after("e-101"), lambda: ranged("101-")):
        with pytest.raises(InvalidOffset) as caught:
            ask()
        assert caught.value.size == 100


def test_an_offset_of_another_incarnation_is_refused():
    assert at(offset="7", epoch="e") == Start(offset=7)
    for epoch in ("f", "", "E", "undefined"):
        with pytest.raises(StreamReplaced) as caught:
            at(offset="7", epoch=epoch)
        assert caught.value.epoch == "e"
        with pytest.raises(StreamReplaced):  # whatever else is wrong with it
            at(offset="700", epoch=epoch)
        with pytest.raises(StreamReplaced):
            at(epoch=epoch)
        with pytest.raises(StreamReplaced):
            ranged("7-", epoch=epoch)


def test_an_event_id_comes_before_the_epoch_of_the_address():
    position = parse_position({"offset": "7", "epoch": "old"}, {"Last-Event-ID": "e-9"})
    assert position == Position(event_id=EventId("e", 9))


def test_after_an_event_it_starts_with_the_next():
    assert after("e-40") == Start(offset=40)
    assert after("e-40", status="streaming", live="0") == Start(offset=40, live=False)


def test_an_event_of_another_incarnation_resets_the_client():
    for seen in ("old-0", "old-40", "old-1000", "old-end"):
        assert after(seen) == Start(reset=True)


def test_where_a_client_cannot_be_reset_an_event_of_another_incarnation_is_refused():
    with pytest.raises(StreamReplaced):
        at(headers={"Last-Event-ID": "old-40"}, can_reset=False)


def test_a_client_that_has_had_it_all_is_told_so():
    assert after("e-100").is_over
    assert after("e-end").is_over
    assert after("e-end", status="error").is_over
    # The end of these is still to be told.
    assert not after("e-100", status="error").is_over
    assert not after("e-100", status="cancelled").is_over
    assert not after("e-100", status="streaming").is_over


def test_a_client_that_was_told_of_an_end_too_early_begins_anew():
    assert after("e-end", status="streaming") == Start(reset=True)


def test_a_range_of_what_is_there_ends():
    assert ranged("40-49", status="streaming") == Start(
        offset=40, live=False, span=Span(40, 49, total=None, length=10)
    )


def test_a_very_large_range_follows_a_live_stream():
    start = ranged(f"40-{LIVE_EDGE}", status="streaming")
    assert (start.offset, start.live) == (40, True)
    assert start.span == Span(40, LIVE_EDGE, total=None, length=None)


def test_a_range_that_cannot_be_answered_starts_at_the_beginning():
    assert ranged("40-", status="streaming") == Start()
    assert ranged("40-", is_log=False) == Start()


def test_a_range_on_condition_is_answered_for_that_incarnation_only():
    assert ranged("40-", '"e"').offset == 40
    for condition in ('"f"', "e", 'W/"e"', "", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert ranged("40-", condition) == Start()
        # A range beyond the end of another incarnation is no fault of the client.
        assert ranged("400-", condition) == Start()
