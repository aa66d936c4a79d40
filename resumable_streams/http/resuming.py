"""From the position that a request names to a reader that stands there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from ..engine.reader import StreamReader
from ..exceptions import OffsetInsideFrame, StreamDoesNotExist
from ..formats import format_of
from ..positions import Peek, Position, Start, resolve
from ..sse import LOOK_BACK, ends_frame
from ..streams import Asker, StreamManager
from ..types import StreamInfo

__all__ = ["Resumption", "StreamAccess"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """A reader that stands where the answer starts."""

    reader: StreamReader
    start: Start


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAccess:
    """One stream, reached in the name of all owners of a request, or of a link: one look a verb."""

    manager: StreamManager
    stream_id: str
    asker: Asker
    request: HttpRequest

    async def open(self, position: Position, *, active: bool = False) -> Resumption:
        """Return a reader at the position; with `active`, only of a stream that has not ended.

        Raises StreamDoesNotExist, InvalidOffset beyond the end or inside a frame, and
        StreamReplaced for a position in another incarnation of the stream.
        """
        locator = _Locator(position, active=active)
        reader = await self.ask(self.manager.aresume, locate=locator)
        return Resumption(reader=reader, start=locator.start)

    async def look(self, position: Position) -> tuple[StreamInfo, Start]:
        """Return the state of the stream, and where `open` would start; raise what it raises."""
        locator = _Locator(position)
        info = await self.ask(self.manager.astatus, locate=locator)
        return info, locator.start

    async def ask(self, verb: Callable[..., Any], **named: Any) -> Any:
        """Return what a verb of the manager answers; raise StreamDoesNotExist if it has nothing."""
        answer = await verb(self.stream_id, owner=self.asker, request=self.request, **named)
        if not answer:
            raise StreamDoesNotExist
        return answer


class _Locator:
    """The position of a request, and where in the stream that turned out to be."""

    def __init__(self, position: Position, *, active: bool = False) -> None:
        self._position = position
        self._active = active
        self.start = Start()

    async def __call__(self, info: StreamInfo, peek: Peek) -> Start:
        if self._active and not info.is_streaming:
            raise StreamDoesNotExist
        wire_format = format_of(info)
        self.start = resolve(
            self._position, info, is_log=wire_format.is_log, can_reset=wire_format.can_reset
        )
        if wire_format.is_framed:
            await _refuse_torn_frame(self.start.offset, info, peek)
        return self.start


async def _refuse_torn_frame(offset: int, info: StreamInfo, peek: Peek) -> None:
    # A stream that has ended may have ended inside a frame: what tells of the end follows it.
    if not offset or (offset == info.size and not info.is_streaming):
        return
    size = min(LOOK_BACK, offset)
    before = await peek(offset - size, size)
    # Fewer bytes are a loss, which the reader finds out.
    if len(before) == size and not ends_frame(before):
        raise OffsetInsideFrame
