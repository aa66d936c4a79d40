"""What clients send, whatever it is: read, or refused in words."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_streams.websocket.channel import SendWindow
from resumable_streams.websocket.messages import (
    BadMessage,
    ClientMessage,
    Frames,
    MessageType,
    TextFrames,
    dump,
    frames_of,
    parse_message,
)

NAMES = ["type", "channel", "id", "epoch", "offset", "live", "frames", "token", "key", "data"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(
        [*MessageType, *Frames]
    ),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=5,
)  # fmt: skip


def read(text: str) -> BadMessage | ClientMessage:
    try:
        return parse_message(text)
    except BadMessage as error:
        return error


@given(st.dictionaries(st.sampled_from([*NAMES, "other"]), VALUES) | VALUES)
def test_any_json_is_read_or_refused(value: object) -> None:
    found = read(json.dumps(value))
    if isinstance(found, BadMessage):
        assert dump({"detail": found.detail, "channel": found.channel})
    else:
        assert 0 <= found.channel < 2**32
        assert 0 <= found.offset < 2**53


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert isinstance(read(text), BadMessage | ClientMessage)


@given(st.text(min_size=1), st.integers(1, 5), st.integers(0, 2**40))
def test_frames_are_the_log_whatever_the_pieces(text: str, size: int, offset: int) -> None:
    log = text.encode("utf-8", "replace")
    encoder = TextFrames(1, offset)
    log_read, end = b"", offset
    for start in range(0, len(log), size):
        frame = encoder.frame(log[start : start + size])
        if frame is not None:
            assert frame.text is not None
            message = json.loads(frame.text)
            assert message["offset"] == end
            log_read, end = log_read + message["text"].encode(), message["end"]
            assert frame.end == end == offset + len(log_read)
    assert log_read == log


def test_a_binary_frame_has_its_channel_and_offset_before_the_bytes() -> None:
    frame = frames_of(Frames.BINARY, 7, 300).frame(b"abc")
    assert frame is not None
    assert (frame.data, frame.end) == (b"\0\0\0\7\0\0\0\0\0\0\1\x2cabc", 303)


def test_a_number_of_many_digits_is_refused() -> None:
    with pytest.raises(BadMessage):
        parse_message('{"channel":' + "1" * 10_000 + "}")


async def test_a_window_has_room_for_what_is_acknowledged_and_no_more() -> None:
    window = SendWindow(100, 1_000)
    sent = acknowledged = 1_000
    for _ in range(500):
        room = await window.room()
        assert room == 100 - (sent - acknowledged) > 0
        sent += random.randint(1, room)
        window.send(sent)
        assert not window.acknowledge(sent + 1)
        acknowledged = random.randint(acknowledged + (sent - acknowledged == 100), sent)
        assert window.acknowledge(acknowledged)
