"""Items: the values that a source yields, and the bytes of the log that each becomes.

| item                                | becomes                                            |
|-------------------------------------|----------------------------------------------------|
| bytes, bytearray, memoryview        | the same bytes of the log, in every format         |
| str                                 | text, as the format of the stream writes text      |
| mapping, dataclass, pydantic model  | one part or event, if the format has such a thing  |

Text is never wire format: a text that looks like a frame is shown as the text that it is. A source
whose `str` are ready frames (the encoders of other libraries) goes through `encoded`.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, ClassVar, overload

__all__ = ["ItemEncoder", "WrongItem", "as_mapping", "encoded", "utf8"]


class WrongItem(TypeError):
    """An item that the format of its stream cannot write; the message says what to yield."""

    def __init__(self, item: object, remedy: str) -> None:
        super().__init__(f"A source of this stream cannot yield {type(item).__name__}. {remedy}")


class ItemEncoder:
    """The way from the items of one source to its log; a subclass is the way of one format.

    An encoder lives as long as its source, and may hold state: the part that is open, say. What it
    returns are whole frames, in a format that has frames. The first item that it refuses ends the
    stream as `source_failed`.
    """

    remedy: ClassVar[str] = "Yield bytes or str."
    """The advice in the error about an item that this format cannot write."""

    passes_bytes: bool = True
    """Bytes go into the log without a call of `wire`, and cost nothing."""

    def blocks(self, item: Any) -> bool:
        """Return whether `encode` may wait for this item, so that it has to run in a thread."""
        return False

    def encode(self, item: Any) -> bytes:
        """Return the bytes of the log that an item becomes; raise WrongItem where there are none.

        No bytes at all, as of an empty text, are no entry of the log.
        """
        if type(item) is bytes:
            return item if self.passes_bytes else self.wire(item)
        if isinstance(item, str):
            return self.text(item)
        if isinstance(item, bytes | bytearray | memoryview):
            return self.wire(bytes(item))
        part = as_mapping(item)
        if part is None:
            raise WrongItem(item, self.remedy)
        return self.part(part, item)

    def wire(self, data: bytes) -> bytes:
        """Return what bytes become: themselves, after what has to be closed before them."""
        return data

    def text(self, text: str) -> bytes:
        """Return what text becomes."""
        return utf8(text)

    def part(self, part: Mapping[str, Any], item: Any) -> bytes:
        """Return what a mapping becomes; `item` is the object it was made of."""
        raise WrongItem(item, self.remedy)

    def end(self) -> bytes:
        """Return what the log still needs after the last item of a source that has ended."""
        return b""

    def restore(self, frame: bytes) -> None:
        """Take note of a whole frame that the log has already; called in their order, before any
        item, when a worker goes on with a stream. The frame comes without its blank line.
        """


def utf8(text: str) -> bytes:
    """Encode text; half a surrogate pair, which has no UTF-8, becomes U+FFFD, as in a browser."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def as_mapping(item: Any) -> Mapping[str, Any] | None:
    """Return an item as the mapping it stands for; None if it stands for none."""
    if isinstance(item, Mapping):
        return item
    if is_dataclass(item) and not isinstance(item, type):
        return asdict(item)
    dump = getattr(item, "model_dump", None)
    if callable(dump) and not isinstance(item, type):
        dumped: Mapping[str, Any] = dump(mode="json", by_alias=True, exclude_none=True)
        return dumped
    return None


@overload
def encoded(source: AsyncIterable[str | bytes]) -> AsyncIterator[bytes]: ...
@overload
def encoded(source: Iterable[str | bytes]) -> Iterator[bytes]: ...
def encoded(source: Any) -> Any:
    """Return a source whose `str` are frames of the wire, ready to be sent, and not text.

    For encoders that yield them so: `return encoded(adapter.encode_stream(events))`. Closes the
    source when it is closed. Text of a model that such an encoder does not escape is a frame, too.
    """
    return _encoded_async(source) if isinstance(source, AsyncIterable) else _encoded(source)


async def _encoded_async(source: AsyncIterable[str | bytes]) -> AsyncIterator[bytes]:
    try:
        async for frame in source:
            yield frame.encode() if isinstance(frame, str) else frame
    finally:
        if (close := getattr(source, "aclose", None)) is not None:
            await close()


def _encoded(source: Iterable[str | bytes]) -> Iterator[bytes]:
    try:
        for frame in source:
            yield frame.encode() if isinstance(frame, str) else frame
    finally:
        if (close := getattr(source, "close", None)) is not None:
            close()
