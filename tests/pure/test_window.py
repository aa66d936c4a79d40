"""The last bytes of a log, shared by the readers of one process."""

from hypothesis import given
from hypothesis import strategies as st

from resumable_streams.reading.tail import Window

LOG = bytes(range(256)) * 4


def test_a_window_starts_empty_where_it_is_told_to():
    window = Window(7)
    assert (window.start, window.end) == (7, 7)
    assert [window.read(offset) for offset in (0, 6, 7, 8)] == [b""] * 4


def test_bytes_are_read_from_any_offset_that_is_there():
    window = Window(10)
    window.append(b"abc")
    window.append(b"de")
    assert [window.read(offset) for offset in range(9, 17)] == [
        b"", b"abcde", b"bcde", b"cde", b"de", b"e", b"", b"",
    ]  # fmt: skip
    assert window.read(10, 2) == b"ab"
    assert window.read(13, 1) == b"d"


def test_the_newest_append_is_handed_on_without_a_copy():
    window = Window(0)
    window.append(b"first")
    newest = b"newest"
    window.append(newest)
    assert window.read(5) is newest


def test_encodings_are_kept_until_the_next_append():
    window = Window(0)
    window.append(b"first")
    window.encodings["place"] = b"of the first"
    assert window.encodings == {"place": b"of the first"}
    window.append(b"second")
    assert window.encodings == {}
    window.encodings["place"] = b"of the second"
    window.restart(20)
    assert window.encodings == {}


def test_a_full_window_forgets_its_oldest_bytes():
    window = Window(0, limit=4)
    window.append(b"abc")
    window.append(b"def")
    assert (window.start, window.end) == (2, 6)
    assert [window.read(offset) for offset in range(7)] == [
        b"", b"", b"cdef", b"def", b"ef", b"f", b"",
    ]  # fmt: skip


def test_an_append_larger_than_the_window_is_still_handed_on_whole():
    window = Window(0, limit=4)
    window.append(b"ab")
    window.append(b"0123456789")
    assert (window.start, window.end) == (8, 12)
    assert window.read(2) == b"0123456789"
    assert [window.read(offset) for offset in (0, 3, 7, 8, 11)] == [b"", b"", b"", b"6789", b"9"]
    assert window.read(2, 3) == b""  # for a page of the store


def test_a_restarted_window_has_nothing_of_before():
    window = Window(0)
    window.append(b"abc")
    window.restart(10)
    assert (window.start, window.end) == (10, 10)
    assert [window.read(offset) for offset in (0, 2, 3, 9, 10)] == [b""] * 5
    window.append(b"xyz")
    assert [window.read(offset) for offset in (2, 9, 10, 12)] == [b"", b"", b"xyz", b"z"]


STEPS = st.one_of(st.integers(0, 60), st.tuples(st.integers(0, 60)))


@given(
    st.integers(0, 50),
    st.integers(1, 80),
    st.lists(STEPS, max_size=12),
    st.integers(0, 700),
    st.integers(1, 90),
)
def test_whatever_was_appended_a_read_is_a_piece_of_the_log(start, limit, steps, offset, most):
    window = Window(start, limit=limit)
    known = newest = start
    for step in steps:
        if isinstance(step, tuple):  # a gap
            known = newest = known + step[0]
            window.restart(known)
        else:
            window.append(LOG[known : known + step])
            newest, known = known, known + step
    data = window.read(offset, most)
    assert window.end == known
    assert window.end - window.start <= limit
    assert len(data) <= most
    assert data == LOG[offset : offset + len(data)]
    if window.start <= offset < window.end or (offset == newest and known - newest <= most):
        assert len(data) == min(most, known - offset)
    else:
        assert data == b""
