"""Going on with a stream: what its log has already, for a worker that took it over.

The items of the log are counted, and the encoder is told the frames that they became. So the source
that goes on starts at the item after them, or at the byte where the log ends, as it likes. A log
that ends inside a frame has a part of one more item: the source has to yield that one again.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..formats import ItemEncoder, format_of
from ..sse import Framer
from ..stores.base import MAX_APPEND_BYTES, BaseStore
from ..types import StreamInfo

__all__ = ["Continuation", "continue_after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """Where a source goes on: after `items` items, of which the next one is stored up to `rest`."""

    encoder: ItemEncoder
    items: int = 0
    rest: bytes = b""


async def continue_after(store: BaseStore, info: StreamInfo) -> Continuation:
    """Return where a source goes on; reads the log once if its format has frames or lines."""
    wire_format = format_of(info)
    encoder = wire_format.item_encoder(info)
    if not wire_format.is_framed:
        rest = await _unfinished_line(store, info) if wire_format.has_lines else b""
        return Continuation(encoder=encoder, items=info.entries - bool(rest), rest=rest)
    framer = Framer(0, max_held=info.size)
    async for data in _log(store, info):
        for fragment in framer.push(data):
            encoder.restore(fragment.data)
    rest = framer.rest()
    return Continuation(encoder=encoder, items=info.entries - bool(rest), rest=rest)


async def _unfinished_line(store: BaseStore, info: StreamInfo) -> bytes:
    rest = b""
    async for data in _log(store, info):
        rest = (rest + data).rpartition(b"\n")[2]
    return rest


async def _log(store: BaseStore, info: StreamInfo) -> AsyncIterator[bytes]:
    offset = 0
    while offset < info.size:
        page = await store.read(info.key, offset, MAX_APPEND_BYTES)
        if page is None or not page.data:
            return
        yield page.data[: info.size - offset]
        offset += len(page.data)
