"""Telling: the end of each stream, to receivers, from whichever process finds it.

Before telling an end, a process moves the stream from the set its holder *held* to the set it
*tells* itself, in one step: if it cannot move it, it does not tell it. A process that dies while
telling is taken over with that set. So an end is told exactly once, and at least once if its teller
dies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..exceptions import StoreUnavailable
from ..process.runtime import runtime
from ..signals import StreamSignal, stream_failed, stream_finalized
from ..stores.base import BaseStore
from ..stores.patience import patiently
from ..types import ErrorCode, Holding, Owner, StreamInfo, StreamStatus

__all__ = ["Ending", "Teller", "ending_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of a stream, as its teller knows it.

    `owner` is None where the stream is gone and nobody remembers whose it was. `failure` is what
    the producer failed with, if it was the one who ended the stream. `duration` is seconds. `usage`
    is what the source has reported, which only its producer knows.
    """

    status: StreamStatus
    error_code: str = ""
    size: int = 0
    duration: float = 0.0
    owner: Owner | None = None
    failure: BaseException | None = None
    usage: Mapping[str, int] = field(default_factory=dict)


def ending_of(info: StreamInfo | None) -> Ending:
    """Return the end of a stream from its state; None if the stream is gone."""
    if info is None:
        return Ending(status=StreamStatus.ERROR, error_code=ErrorCode.EXPIRED)
    return Ending(
        status=info.status,
        error_code=info.error_code,
        size=info.size,
        duration=max(0.0, info.expires - info.ttl - info.created),
        owner=info.owner,
    )


class Teller:
    """The telling of ends in one alias. Exceptions of receivers are logged.

    It waits for a store that is away, except in a drain: the process that takes over this one tells
    then.
    """

    def __init__(self, store: BaseStore):
        self._store = store
        self._table = store.processes

    async def tell(self, holding: Holding, ending: Ending, *, holder: str, by: str) -> bool:
        """Tell the end of what `holder` held, unless somebody else does; return whether we did.

        Cancelled before the move, nobody has told it yet; after it, it may be told once more.
        """
        try:
            mine = await patiently(
                lambda: self._table.move(holding, holder=holder, by=by), _in_a_drain
            )
        except StoreUnavailable:
            return False
        if mine:
            await self.tell_moved(holding, ending, by=by)
        return mine

    async def tell_moved(self, holding: Holding, ending: Ending, *, by: str) -> None:
        """Tell an end that is ours to tell already."""
        await self._tell(holding, ending)
        try:
            await patiently(lambda: self._store.release(holding), _in_a_drain)
            await patiently(lambda: self._table.told(holding, by=by), _in_a_drain)
        except StoreUnavailable:
            pass  # the process that takes over this one does it, having told it once more

    async def _tell(self, holding: Holding, ending: Ending) -> None:
        if ending.failure is not None:
            await self._send(
                stream_failed,
                holding,
                ending,
                error_code=ending.error_code,
                error=ending.failure,
                size=ending.size,
            )
        await self._send(
            stream_finalized,
            holding,
            ending,
            status=ending.status,
            error_code=ending.error_code,
            size=ending.size,
            duration=ending.duration,
            usage=ending.usage,
        )

    async def _send(
        self, signal: StreamSignal, holding: Holding, ending: Ending, **named: Any
    ) -> None:
        if signal.receivers:
            await signal.notify(
                type(self._store),
                hook_errors="log",  # it has been decided, and nobody waits for us
                alias=self._store.alias,
                tenant=holding.key.tenant,
                generation=holding.key.generation,
                stream_id=holding.key.stream_id,
                epoch=holding.epoch,
                owner=ending.owner,
                **named,
            )


def _in_a_drain(pause: float) -> bool:
    return runtime.is_draining
