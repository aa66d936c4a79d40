"""Lists: the streams of an owner, in pages, and the live one in a slot.

They come from the index that elections enter and the tellers of ends leave, so a list costs as much
as its page. Every entry is shown as its own state says; streams that were deleted, revoked or
rotated away since are left out. Whoever lists also looks whether the streams have a living process,
so the stream of a killed one leaves the list of running ones within a lease and a sweep.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .control import FIRST_GENERATION, read_control
from .engine import Engine
from .engine.slots import find_occupant
from .exceptions import InvalidPage
from .identifiers import owner_digest, slot_of
from .stores.base import known
from .types import Holding, Listed, Owner, StreamInfo, StreamKey, StreamPage, StreamStatus

__all__ = ["find_active", "list_streams", "read_page"]

MAX_LISTED = 1_000
"""How many streams a page may have."""

MAX_LOOKED_AT = 10
"""How many times its length a page looks at entries that it leaves out."""

CURSOR = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,15})\.([0-9a-f]{1,32})\.([A-Za-z0-9_.:-]{1,256}))?")
"""The number of a name of the owner, and the last entry of its index that was seen."""


def read_page(status: str | None, limit: object) -> tuple[StreamStatus | None, int]:
    """Validate which streams are asked for, and how many; raise InvalidPage."""
    if status is not None and status not in list(StreamStatus):
        raise InvalidPage(f"A status is one of {', '.join(StreamStatus)}.")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MAX_LISTED:
        raise InvalidPage(f"A limit is a whole number from 1 to {MAX_LISTED}.")
    return None if status is None else StreamStatus(status), limit


async def find_active(
    engine: Engine, tenant: str, names: Sequence[Owner], slot: str
) -> StreamInfo | None:
    """Return the live stream in the slot of an owner, whichever of its names has it."""
    for owner in names:
        control = await read_control(engine, tenant, owner)
        generation = control.generation or FIRST_GENERATION
        address = StreamKey(tenant=tenant, generation=generation, stream_id="")
        _, info = await find_occupant(engine.store, slot_of(address, owner, slot), control)
        if info is not None:
            _suspect(engine, [info])
            return info
    return None


async def list_streams(
    engine: Engine,
    tenant: str,
    names: Sequence[Owner],
    *,
    status: StreamStatus | None,
    limit: int,
    cursor: str,
) -> StreamPage:
    """Return a page of the streams that an owner has under its names, one name after the other."""
    number, after = _read(cursor, len(names))
    walk = _Walk(engine, tenant, status=status, left=limit, looks=limit * MAX_LOOKED_AT)
    for at, owner in enumerate(names[number:], start=number):
        if walk.left <= 0 or walk.looks <= 0:
            return StreamPage(streams=walk.found, next=str(at))
        last = await walk.follow(owner, after)
        if last is not None:
            return StreamPage(streams=walk.found, next=_write(at, last))
        after = None
    return StreamPage(streams=walk.found)


@dataclass
class _Walk:
    """The making of one page, within bounds."""

    engine: Engine
    tenant: str
    status: StreamStatus | None
    left: int
    looks: int

    def __post_init__(self) -> None:
        self.found: list[StreamInfo] = []

    async def follow(self, owner: Owner, after: "_Place | None") -> Listed | None:
        """Go through the index of one name; return where to go on, None if that was all of it."""
        control = await read_control(self.engine, self.tenant, owner)
        generation, digest = control.generation or FIRST_GENERATION, owner_digest(owner)
        last = None if after is None else after.entry(self.tenant, generation, digest)
        is_live = self.status is StreamStatus.STREAMING
        while True:
            if last is not None and (self.left <= 0 or self.looks <= 0):
                return last
            asked = max(1, min(self.left, self.looks))
            entries = await self.engine.store.listed(
                self.tenant,
                digest,
                generation=None if is_live else generation,
                after=last,
                limit=asked,
            )
            for info in await self._look(entries):
                if info.owner == owner and control.admits(info):
                    self.found.append(info)
                    self.left -= 1
            self.looks -= len(entries)
            if len(entries) < asked:
                return None
            last = entries[-1]

    async def _look(self, entries: Sequence[Listed]) -> list[StreamInfo]:
        """Return the states of those that are there, and as they are asked for."""
        keys = [entry.holding.key for entry in entries]
        states = map(known, await self.engine.store.status(keys))
        found = [
            info
            for entry, info in zip(entries, states, strict=True)
            if info is not None
            and info.epoch == entry.holding.epoch
            and self.status in (None, info.status)
        ]
        _suspect(self.engine, found)
        return found


def _suspect(engine: Engine, infos: Sequence[StreamInfo]) -> None:
    """Have the streams of dead processes ended, in the background."""
    engine.leases.start()
    engine.takeover.suspect(infos)


@dataclass(frozen=True)
class _Place:
    """The place of the last entry of a page, as its cursor names it."""

    when: float
    epoch: str
    stream_id: str

    def entry(self, tenant: str, generation: int, digest: str) -> Listed:
        key = StreamKey(tenant=tenant, generation=generation, stream_id=self.stream_id)
        holding = Holding(key=key, epoch=self.epoch, owner_digest=digest)
        return Listed(holding=holding, when=self.when)


def _read(cursor: str, names: int) -> tuple[int, _Place | None]:
    """Return the number of the name, and the place in its index, where a page begins."""
    if not cursor:
        return 0, None
    match = CURSOR.fullmatch(cursor)
    if match is None or int(match[1]) >= names:
        raise InvalidPage("A cursor is the `next` of an earlier page of the same list.")
    if match[2] is None:
        return int(match[1]), None
    return int(match[1]), _Place(int(match[2]) / 1_000, match[3], match[4])


def _write(number: int, last: Listed) -> str:
    holding = last.holding
    return f"{number}.{round(last.when * 1_000)}.{holding.epoch}.{holding.key.stream_id}"
