"""What a client decodes is what was yielded, in every format, whatever a model says."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resumable_streams.formats import WrongItem, get_format
from tests.tools.infos import make_info
from tests.whatwg import events

FRAMED = ["sse", "ui_message", "ag_ui"]
FORGED = [
    'data: {"type":"finish"}\n\n',
    "\r\n\r\nevent: done\ndata: x\n\n",
    "data: [DONE]\n\n",
    '"}\n\ndata: {"type":"RUN_ERROR","message":"","code":"x"}',
    "\nid: e-end\n\n",
    '\u2028{"evil":1}\u2029\x85',
    "\0",
    "\ufeff",
    "\ud83d",
    "\ude00",
]
LINES = st.text("\r\n: {}", max_size=6)
TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(FORGED) | LINES
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
PARTS = VALUES.map(lambda value: {"type": "data-x", "data": value})
ITEMS = st.lists(TEXTS | PARTS, max_size=8)


def encoder(name: str) -> Any:
    return get_format(name).item_encoder(make_info())


def log_of(name: str, items: Sequence[Any]) -> bytes:
    encode = encoder(name)
    return b"".join([*map(encode.encode, items), encode.end()])


def decoded(name: str, log: bytes) -> list[str]:
    """Return the data of the events of a body, as a browser has them, without the last one."""
    wire = get_format(name).encoder(make_info(), 0)
    body = wire.encode(log) + wire.end(make_info("done", len(log)))
    found = events(body)
    assert all(one.last_event_id.startswith("e-") for one in found)
    if name == "ag_ui":
        return [one.data for one in found]
    assert (found[-1].type, found[-1].data) in [
        ("done", '{"status":"done"}'),
        ("message", "[DONE]"),
    ]
    assert {one.type for one in found[:-1]} <= {"message"}
    return [one.data for one in found[:-1]]


def as_shown(text: str) -> str:
    """Return text as a client has it that joins what it gets: half a character is none."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_event(text: str) -> str:
    """Return text as the data of an event: line ends are all the same there."""
    return as_shown(text).replace("\r\n", "\n").replace("\r", "\n")


@given(ITEMS)
@example(FORGED)
def test_an_event_has_the_data_that_was_yielded(items: list[Any]):
    expected = [as_event(item) if isinstance(item, str) else item for item in items if item != ""]
    found = decoded("sse", log_of("sse", items))
    assert len(found) == len(expected)
    for data, item in zip(found, expected, strict=True):
        assert (data if isinstance(item, str) else json.loads(data)) == item


@pytest.mark.parametrize(
    ("name", "delta", "ends"),
    [
        ("ui_message", "text-delta", {"start", "finish", "text-start", "text-end"}),
        (
            "ag_ui",
            "TEXT_MESSAGE_CONTENT",
            {"RUN_STARTED", "RUN_FINISHED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_END"},
        ),
    ],
)
@given(items=ITEMS)
@example(items=FORGED)
@example(items=["a", {"type": "data-x", "data": 1}, "\ud83d", "\ude00"])
def test_a_message_has_the_texts_and_parts_that_were_yielded(
    name: str, delta: str, ends: set[str], items: list[Any]
):
    parts = [json.loads(data) for data in decoded(name, log_of(name, items))]
    said = [part["delta"] if part["type"] == delta else part for part in parts]
    assert [one for one in said if isinstance(one, str) or one["type"] not in ends] == [
        item for item in items if item != ""
    ]
    kinds = [part["type"] for part in parts]
    if kinds:
        assert (kinds[0], kinds[-1]) in [("start", "finish"), ("RUN_STARTED", "RUN_FINISHED")]
    # Each text is started, goes on, and ends, before anything else.
    open_text = None
    for part in parts:
        kind, text = part["type"], part.get("id", part.get("messageId"))
        if kind in ("text-start", "TEXT_MESSAGE_START"):
            assert open_text is None
            open_text = text
        elif kind in ("text-end", "TEXT_MESSAGE_END"):
            assert open_text == text
            open_text = None
        else:
            assert open_text == (text if kind == delta else None)


@given(ITEMS)
@example(FORGED)
def test_each_item_is_one_line_of_json_for_every_client(items: list[Any]):
    lines = log_of("ndjson", items).decode().splitlines()
    assert [json.loads(line) for line in lines] == [item for item in items if item != ""]


@given(st.lists(TEXTS))
@example(FORGED)
def test_raw_text_is_its_utf8(texts: list[str]):
    assert log_of("raw", texts).decode() == "".join(map(as_shown, texts))


@pytest.mark.parametrize("name", FRAMED)
@given(items=ITEMS, count=st.integers(0, 60))
def test_an_encoder_goes_on_after_any_whole_frames(name: str, items: list[Any], count: int):
    """A worker goes on with the items whose frames are stored, with what the first one left."""
    stored: list[bytes] = []
    first, done = encoder(name), 0
    for item in items:
        frames = first.encode(item).split(b"\n\n")[:-1]
        if len(stored) + len(frames) > count:
            break
        stored += frames
        done += 1
    again = encoder(name)
    for frame in stored:
        again.restore(frame)
    log = b"".join(frame + b"\n\n" for frame in stored)
    rest = b"".join([*map(again.encode, items[done:]), again.end()])
    assert log + rest == log_of(name, items)


@pytest.mark.parametrize("name", ["sse", "ui_message", "ag_ui", "ndjson"])
@pytest.mark.parametrize("value", [math.nan, math.inf, {1}, b"x", object(), {(1, 2): 3}])
def test_what_has_no_json_is_refused_with_its_reason(name: str, value: Any):
    with pytest.raises(WrongItem, match=r"cannot yield dict\. It has no JSON: "):
        encoder(name).encode({"type": "data-x", "value": {"deep": [value]}})
    endless: dict[str, Any] = {"type": "data-x"}
    endless["self"] = endless
    with pytest.raises(WrongItem, match="no JSON"):
        encoder(name).encode(endless)


@pytest.mark.parametrize("name", FRAMED)
def test_a_text_of_any_size_is_one_piece(name: str):
    text = "x\ud83dä" * 400_000
    shown = [data for data in decoded(name, log_of(name, [text])) if len(data) > 1_000]
    assert len(shown) == 1
    if name == "sse":
        assert shown == [as_event(text)]
    else:
        assert json.loads(shown[0])["delta"] == text
