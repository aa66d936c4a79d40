"""Readers, and how far they are."""

from resumable_streams import StreamReader

from .waiting import eventually

__all__ = ["read_all", "read_until", "told", "waits"]


async def read_all(reader: StreamReader) -> bytes:
    """Read to the end."""
    return b"".join([data async for data in reader])


async def read_until(reader: StreamReader, size: int) -> bytes:
    """Read until the reader stands at byte `size` at least."""
    data = b""
    while reader.offset < size:
        data += await anext(reader)
    return data


async def waits(reader: StreamReader) -> None:
    """Return once the reader, in another task, has all there is and waits for more."""
    await eventually(lambda: reader._tail is not None and bool(reader._tail._changed._waiters))


async def told(reader: StreamReader) -> None:
    """Return once its process knows how the stream has ended, or why the reader has to."""
    await eventually(
        lambda: reader._tail is not None and (reader._tail.has_ended or reader._tail._dismissed)
    )
