"""Items: what a source may yield, and that text is never more than text."""

import dataclasses
import datetime
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pydantic
import pytest

from resumable_streams.formats import WrongItem, encoded, get_format, sse, ui_message
from resumable_streams.sse import data_of
from tests.tools.infos import make_info

NAMES = ["raw", "sse", "ui_message"]


@dataclasses.dataclass
class Point:
    type: str
    x: int


class Model(pydantic.BaseModel):
    type: str
    at: datetime.date
    point: Point | None = None
    missing: int | None = None


def encoder(name: str) -> Any:
    return get_format(name).item_encoder(make_info(attrs={"format": name}))


def log(name: str, *items: Any) -> bytes:
    encode = encoder(name)
    return b"".join([*map(encode.encode, items), encode.end()])


def parts(data: bytes) -> list[Any]:
    return [json.loads(data_of(frame)) for frame in data.split(b"\n\n") if frame]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [b"x", b"", bytearray(b"x\n\n"), memoryview(b"abc")[1:]])
def test_bytes_stay_as_they_are_in_every_format(name: str, data: Any):
    assert log(name, data) == bytes(data)
    assert type(encoder(name).encode(data)) is bytes


def test_text_is_utf8_in_raw():
    assert log("raw", "ä€", "", "😀") == "ä€😀".encode()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("item", [None, 1, 1.5, ["x"], object(), Point, Model])
def test_anything_else_is_refused_by_its_type_with_a_remedy(name: str, item: Any):
    with pytest.raises(WrongItem, match=rf"cannot yield {type(item).__name__}\. Yield "):
        encoder(name).encode(item)


def test_a_mapping_has_no_place_in_raw():
    with pytest.raises(WrongItem, match=r"cannot yield dict\. Yield bytes or str\."):
        encoder("raw").encode({"x": 1})


def test_a_part_without_a_type_is_no_part():
    with pytest.raises(WrongItem, match="with a `type`"):
        encoder("ui_message").encode({"x": 1})


def test_text_is_the_data_of_one_event_line_breaks_and_all():
    assert log("sse", "a\n\nevent: done\ndata: forged\r\n\rb") == (
        b"data: a\ndata: \ndata: event: done\ndata: data: forged\ndata: \ndata: b\n\n"
    )


@pytest.mark.parametrize("name", ["sse", "ui_message"])
def test_what_stands_for_a_mapping_is_json(name: str):
    model = Model(type="data-x", at=datetime.date(2026, 1, 2), point=Point("p", 2))
    wanted: list[Mapping[str, Any]] = [
        {"type": "data-x", "at": "2026-01-02", "point": {"type": "p", "x": 2}},
        {"type": "data-y", "x": 1},
        {"type": "data-z", "at": "2026-01-02"},
    ]
    items = [model, Point("data-y", 1), {"type": "data-z", "at": datetime.date(2026, 1, 2)}]
    assert [part for part in parts(log(name, *items)) if "data-" in part["type"]] == wanted


def test_plain_text_is_a_whole_message_for_the_ai_sdk():
    assert parts(log("ui_message", "Hel", "", "lo")) == [
        {"type": "start"},
        {"type": "text-start", "id": "text:1"},
        {"type": "text-delta", "id": "text:1", "delta": "Hel"},
        {"type": "text-delta", "id": "text:1", "delta": "lo"},
        {"type": "text-end", "id": "text:1"},
        {"type": "finish"},
    ]


def test_a_part_closes_the_text_before_it_and_starts_the_message():
    kinds = [part["type"] for part in parts(log("ui_message", {"type": "data-x"}, "a", "b"))]
    assert kinds == ["start", "data-x", "text-start", *2 * ["text-delta"], "text-end", "finish"]
    kinds = [part["type"] for part in parts(log("ui_message", "a", {"type": "data-x"}, "b"))]
    assert kinds[1:-1] == [
        *["text-start", "text-delta", "text-end", "data-x"],
        *["text-start", "text-delta", "text-end"],
    ]


@pytest.mark.parametrize("last", ["finish", "error", "abort"])
def test_a_message_that_the_source_starts_and_ends_is_left_alone(last: str):
    items = [{"type": "start", "messageId": "m"}, "a", {"type": last}]
    made = parts(log("ui_message", *items))
    assert (made[0], made[-1]) == (items[0], items[-1])
    assert len(made) == 5


def test_nothing_is_made_around_the_bytes_of_a_source():
    frame = ui_message.part({"type": "data-x"})
    assert log("ui_message", frame, frame) == frame * 2
    assert log("ui_message") == b""


@pytest.mark.parametrize("items", [[], ["a"], ["a", {"type": "data-x"}], [{"type": "data-x"}, "b"]])
def test_a_restored_encoder_goes_on_as_if_it_had_never_ended(items: list[Any]):
    rest = ["more", {"type": "data-y"}, "text"]
    before, whole = encoder("ui_message"), log("ui_message", *items, *rest)
    stored = b"".join(map(before.encode, items))
    again = encoder("ui_message")
    for frame in stored.split(b"\n\n")[:-1]:
        again.restore(frame)
    assert stored + b"".join(map(again.encode, rest)) + again.end() == whole


@pytest.mark.parametrize("name", ["ui_message", "ag_ui"])
@pytest.mark.parametrize("data", ['{"type":{}}', '{"type":[]}', '{"type":1}', "[" * 100_000])
def test_frames_of_a_source_that_are_no_parts_are_passed_over(name: str, data: str):
    again = encoder(name)
    again.restore(f"data: {data}".encode())
    assert again.encode("a") == encoder(name).encode("a")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x"])
def test_what_no_browser_reads_is_refused(value: Any):
    for name in ("sse", "ui_message"):
        with pytest.raises((TypeError, ValueError), match="JSON"):
            encoder(name).encode({"type": "data-x", "value": value})


async def test_ready_frames_pass_as_bytes_and_their_source_is_closed():
    closed: list[str] = []

    async def frames() -> AsyncIterator[str]:
        try:
            yield "data: a\n\n"
            yield "data: b\n\n"
        finally:
            closed.append("async")

    def sync_frames() -> Iterator[str | bytes]:
        try:
            yield "data: a\n\n"
            yield b"data: b\n\n"
        finally:
            closed.append("sync")

    wire = encoded(frames())
    assert await anext(wire) == b"data: a\n\n"
    await wire.aclose()  # type: ignore[attr-defined]
    assert closed == ["async"]
    assert log("sse", *encoded(sync_frames())) == sse_log("a", "b")
    assert closed == ["async", "sync"]


def sse_log(*texts: str) -> bytes:
    return b"".join(map(encoder(sse.name).encode, texts))
