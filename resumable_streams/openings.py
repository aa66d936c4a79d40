"""From the position that a request names to a reader that stands there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from .exceptions import InvalidOffset, StreamDoesNotExist
from .formats import format_of
from .positions import ByteRange, Position, Span, plan_range
from .readers import StreamReader
from .sse import EventId
from .streams import Asker, StreamManager
from .types import StreamInfo, StreamStatus

__all__ = ["Access", "Opening", "open_stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Hold a reader that stands where the answer begins.

    `reset`: not where the client asked to go on. `is_over`: the client has had it all.
    """

    reader: StreamReader
    reset: bool = False
    span: Span | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Reach one stream in the name of all owners of a request, in their order, or of a link."""

    manager: StreamManager
    stream_id: str
    askers: tuple[Asker, ...]
    tenant: str | None
    request: HttpRequest

    async def resume(self, offset: int, *, live: bool) -> StreamReader:
        for owner in self.askers:
            reader = await self.manager.resume(
                self.stream_id,
                owner=owner,
                tenant=self.tenant,
                offset=offset,
                live=live,
                request=self.request,
            )
            if reader is not None:
                return reader
        raise StreamDoesNotExist

    async def ask(self, verb: Callable[..., Any]) -> Any:
        """Call a verb of the manager for one owner after the other, until one is answered."""
        for owner in self.askers:
            answer = await verb(
                self.stream_id, owner=owner, tenant=self.tenant, request=self.request
            )
            if answer:
                return answer
        raise StreamDoesNotExist

    async def status(self) -> StreamInfo:
        info: StreamInfo = await self.ask(self.manager.status)
        return info


async def open_stream(access: Access, position: Position) -> Opening:
    """Return a reader at the position; raise StreamDoesNotExist, or InvalidOffset beyond it."""
    if position.event_id is not None:
        return await _open_after_event(access, position.event_id, live=position.live)
    if position.byte_range is not None:
        return await _open_range(access, position.byte_range, live=position.live)
    return Opening(reader=await access.resume(position.offset or 0, live=position.live))


async def _open_after_event(access: Access, seen: EventId, *, live: bool) -> Opening:
    offset = seen.offset or 0
    try:
        reader = await access.resume(offset, live=live)
    except InvalidOffset:
        # Beyond the end, or the id is of another, longer incarnation of the stream.
        reader = await access.resume(0, live=live)
        if reader.info.epoch == seen.epoch:
            raise
    if reader.info.epoch != seen.epoch:
        if reader.offset:
            reader = await access.resume(0, live=live)
        return Opening(reader=reader, reset=True)
    return Opening(reader=reader, is_over=_is_over(reader.info, seen))


def _is_over(info: StreamInfo, seen: EventId) -> bool:
    """Return whether a client that saw this has nothing left to learn.

    At the last byte of a failed or cancelled stream it has: that it failed or was cancelled.
    """
    if seen.offset is None:
        return not info.is_streaming
    return info.status is StreamStatus.DONE and seen.offset == info.size


async def _open_range(access: Access, wanted: ByteRange, *, live: bool) -> Opening:
    info = await access.status()
    span = plan_range(wanted, info) if format_of(info).is_log else None
    if span is None:
        return Opening(reader=await access.resume(0, live=live))
    reader = await access.resume(span.first, live=live and span.length is None)
    if reader.info.epoch != info.epoch:  # begun again between the two
        return Opening(reader=await access.resume(0, live=live))
    return Opening(reader=reader, span=span)
