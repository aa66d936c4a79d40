"""The parts of an answer on the wire, as AI SDK clients read them."""

import json
from collections.abc import Iterable, Iterator

from resumable_streams.formats import ui_message

TEXT = "text-1"


def start(message_id: str) -> bytes:
    """Open a message and its only text."""
    return (
        frame(type="start", messageId=message_id)
        + frame(type="start-step")
        + frame(type="text-start", id=TEXT)
    )


def delta(text: str) -> bytes:
    """Add words."""
    return frame(type="text-delta", id=TEXT, delta=text)


def finish() -> bytes:
    """Close the text and the message."""
    return frame(type="text-end", id=TEXT) + frame(type="finish-step") + frame(type="finish")


def frame(**part: str) -> bytes:
    """Write one part as a Server-Sent Event."""
    return ui_message.part(part)


def text_of(log: bytes) -> str:
    """Return the words in the bytes of an answer; half a part at the end has none."""
    return joined(_deltas(log.split(b"\n\n")[:-1]))


def joined(words: Iterable[str]) -> str:
    """Join words that may end inside a character: a model's tokens know no characters."""
    return "".join(words).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _deltas(frames: Iterable[bytes]) -> Iterator[str]:
    for data in frames:
        part = json.loads(data.removeprefix(b"data: "))
        if part["type"] == "text-delta":
            yield part["delta"]
