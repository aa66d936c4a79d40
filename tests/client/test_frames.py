"""Event streams taken apart as the HTML standard has it, wherever the bytes are cut."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_streams.client.decoding import AS_PARTS, BodyKind
from resumable_streams.client.frames import ServerEvent, WireEnd, WireFrames, conclusion
from tests import whatwg

FIELDS = "data: a|data:é🙂|data|data:  b|event: x|id: e1-7|id: e1-end|id: a\0b|retry: 40|: c|d: e"
LINES = st.sampled_from([*FIELDS.split("|"), "", ""])
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
BODIES = st.lists(st.tuples(LINES, ENDS), max_size=20).map(
    lambda lines: "".join(line + end for line, end in lines).encode()
)


def frames_of(body: bytes, size: int) -> list[Any]:
    frames = WireFrames()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return [frame for piece in pieces for frame in frames.push(piece)]


@given(body=BODIES, size=st.integers(1, 40), has_bom=st.booleans())
def test_the_events_are_those_of_the_standard(body: bytes, size: int, has_bom: bool) -> None:
    body = whatwg.BOM * has_bom + body + b"\n\ndata: last\n\n"
    found = [frame.event for frame in frames_of(body, size) if frame.event is not None]
    wanted = whatwg.events(body)
    assert [(one.type, one.data) for one in found] == [(one.type, one.data) for one in wanted]


def test_a_frame_says_where_the_log_is_and_when_to_come_back() -> None:
    first, comment, last = frames_of(b"data: a\nid: e1-9\n\n: b\nretry: 70\n\nid: e1-end\n\n", 5)
    assert (first.epoch, first.offset, first.is_last, first.retry) == ("e1", 9, False, None)
    assert first.data == b"data: a\nid: e1-9\n\n"
    assert (comment.offset, comment.is_last, comment.event, comment.retry) == (
        None,
        False,
        None,
        70,
    )
    assert (last.offset, last.is_last) == (None, True)


@pytest.mark.parametrize(
    ("frame", "before", "expected"),
    [
        (b"event: done\ndata: {}", None, WireEnd(status="done")),
        (b"event: cancelled\ndata: {}", None, WireEnd(status="cancelled")),
        (
            b'event: error\ndata: {"code":"x","detail":"y"}',
            None,
            WireEnd(status="error", code="x", detail="y"),
        ),
        (b"data: [DONE]", None, WireEnd(status="done")),
        (b"data: [DONE]", '{"type":"abort"}', WireEnd(status="cancelled")),
        (
            b"data: [DONE]",
            '{"type":"error","errorText":"y"}',
            WireEnd(status="error", detail="y"),
        ),
        (b'data: {"type":"RUN_ERROR","code":"cancelled"}', None, WireEnd(status="cancelled")),
        (b'data: {"type":"RUN_ERROR","code":"x"}', None, WireEnd(status="error", code="x")),
        (b"data: of a format of your own", None, None),
        (b": nothing", None, None),
    ],
)
def test_the_last_frame_of_each_format(
    frame: bytes, before: str | None, expected: WireEnd | None
) -> None:
    (last,) = frames_of(frame + b"\nid: e1-end\n\n", 3)
    assert conclusion(last, ServerEvent(data=before) if before else None) == expected


def test_an_error_of_another_place_does_not_tell_how_the_stream_ended() -> None:
    decoder = AS_PARTS.make(BodyKind.FRAMES, 0)
    body = b'data: {"type":"error"}\n\ndata: {}\nid: e1-9\n\ndata: [DONE]\nid: e1-end\n\n'
    assert list(decoder.push(body)) == [({}, 9)]
    assert (decoder.is_over, decoder.conclusion) == (True, WireEnd(status="done"))
