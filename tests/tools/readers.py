"""Readers, and how far they are."""

from resumable_streams import StreamReader

from .waiting import eventually

__all__ = ["read_all", "read_until", "settled", "waits"]


async def read_all(reader: StreamReader) -> bytes:
    """Read to the end."""
    return b"".join([data async for data in reader])


async def read_until(reader: StreamReader, size: int) -> bytes:
    """Read until the reader stands at byte `size` at least."""
    data = b""
    while reader.offset < size:
        data += await anext(reader)
    return data


async def settled(reader: StreamReader) -> None:
    """Return once its process is subscribed to the stream, and has looked what came before."""
    await eventually(lambda: reader._tail is not None and reader._tail.is_settled)


async def waits(reader: StreamReader) -> None:
    """Return once the reader, in another task, has what there is and waits for more."""

    def is_waiting() -> bool:
        tail = reader._tail
        return tail is not None and bool(tail._waiting or tail._pages)

    await eventually(is_waiting)
