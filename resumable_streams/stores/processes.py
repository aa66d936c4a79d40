"""The contract on processes: those that live, and the streams each of them holds.

A part of `stores.base`, and held to by the same contract.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..types import Fate, Holding, StreamKey

__all__ = ["ALL_TENANTS", "WAITING", "Beat", "Census", "Processes", "Taken", "new_waiting"]

WAITING = "wait:"
"""What the holder of a stream begins with that waits for a process to produce it."""


def new_waiting() -> str:
    """Return a name for the holder of a stream that waits.

    A stream that waits twice does so under two names. Under one, somebody who saw it wait the first
    time, and then saw that nobody waits, would end it while it waits again.
    """
    return f"{WAITING}{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The answer to a heartbeat.

    `is_judged`: others took this process for dead, and its streams are lost; the rest is empty
    then. `is_new`: the store did not know it. `living` maps each process to the seconds until its
    lease ends, `passed` names the holders whose streams somebody has to take over. `news` are the
    hints since `position`, as `Listener` hears them; `is_gap` if there were more.
    """

    is_judged: bool = False
    is_new: bool = False
    living: Mapping[str, float] = field(default_factory=dict)
    passed: Sequence[str] = ()
    news: Sequence[str | StreamKey] = ()
    is_gap: bool = False
    position: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The streams that a dead process held, and those whose end it had begun to tell."""

    held: Sequence[Holding]
    telling: Sequence[Holding]


ALL_TENANTS = ""
"""The name under which a census counts the streams of all tenants together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The processes of a store at one moment, and how many streams they hold.

    `living` counts the processes within their lease, `dying` those whose streams are being taken
    over. `held` counts the streams that living processes produce, `waiting` those that nobody
    produces yet; both by tenant, or under ALL_TENANTS.
    """

    living: int = 0
    dying: int = 0
    held: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)


class Processes(ABC):
    """The processes that share a store, and the streams that each of them holds.

    A process is alive until `lease` seconds after its last heartbeat. It *holds* a stream from
    before its source starts until it *tells* the end; the process that takes over a dead one
    tells the ends of the streams that it held. A stream moves from held to telling in one step, so
    its end is told by one process, and again only if that one dies while it tells.

    All of it lives in one place with one clock. Each verb is atomic and may be repeated.
    """

    @abstractmethod
    async def beat(self, process: str, *, lease: float, position: str) -> Beat:
        """Renew the lease of a process; `position` is that of its last beat, "" for the first."""

    @abstractmethod
    async def leave(self, process: str) -> None:
        """Forget a process that holds nothing; of another one, do nothing."""

    @abstractmethod
    async def hold(self, process: str, holding: Holding) -> bool:
        """Have a process hold a stream; False, doing nothing, if the process is not alive."""

    @abstractmethod
    async def park(self, holder: str, holding: Holding, *, seconds: float) -> None:
        """Have the stream wait for a process, for `seconds`, under a name from `new_waiting`."""

    @abstractmethod
    async def drop(self, holder: str, holding: Holding) -> None:
        """Let go of a stream that somebody else holds, or that never started."""

    @abstractmethod
    async def take(self, holder: str, *, by: str, lease: float) -> Taken | None:
        """Take over a dead holder; None if it lives, or another process is at it.

        The taker has `lease` seconds, after which another process may.
        """

    @abstractmethod
    async def move(self, holding: Holding, *, holder: str, by: str) -> bool:
        """Begin to tell the end of what `holder` held; True for one process only.

        Nobody tells for a process that lives, and a process that was judged tells nothing.
        """

    @abstractmethod
    async def adopt(self, holding: Holding, *, by: str) -> bool:
        """Begin to tell the end of a stream that nobody holds; False for a judged process."""

    @abstractmethod
    async def told(self, holding: Holding, *, by: str) -> None:
        """Note that an end has been told."""

    @abstractmethod
    async def bury(self, holder: str) -> None:
        """Finish the take-over of a holder of which nothing is left."""

    @abstractmethod
    async def fates(self, holders: Sequence[str]) -> list[Fate]:
        """Return what is known of each holder now."""

    @abstractmethod
    async def census(self, *, by_tenant: bool = False) -> Census:
        """Count the processes and their streams; `by_tenant` takes time in proportion to these."""
