"""The live streams of a tenant, in pages, and the tenants that have any. No payload, no scan.

A page is two commands: a part of the index of live streams, and the states of its entries. Reading
it starts no engine: no push connection, no heartbeat.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..control import FIRST_GENERATION
from ..engine import Engine
from ..exceptions import InvalidStoreError, InvalidStreamId, StreamError
from ..identifiers import owner_digest, validate_stream_id
from ..process.runtime import runtime
from ..stores.base import BaseStore, known
from ..types import PUBLIC, Holding, Listed, StreamInfo, StreamKey
from .connection import open_store

__all__ = [
    "CensusOfAlias",
    "LivePage",
    "LiveRow",
    "count_live",
    "find_live",
    "list_live",
    "look_at",
]

DIGEST = re.compile(r"[0-9a-f]{32}")
PLACE = re.compile(r"([0-9]{1,15})\.([0-9]{1,15})\.([0-9a-f]{1,32})\.([0-9a-f]{32})\.(.{1,256})")
"""The last entry of a page, as its cursor names it: time, generation, epoch, owner, stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRow:
    """A live stream, and the number of its readers in this process."""

    info: StreamInfo
    readers: int = 0

    @property
    def digest(self) -> str:
        return owner_digest(self.info.owner)

    @property
    def age(self) -> float:
        """The seconds since the stream was acquired, by the clock of the store."""
        info = self.info
        return max(0.0, info.expires - info.ttl - info.created)

    @property
    def rate(self) -> float:
        """The bytes a second since then."""
        return self.info.size / max(self.age, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePage:
    """Some live streams, the newest first; `next` is the cursor of the page after it, or "".

    `is_shared` is whether other processes have the same streams, `is_cut` whether a search may
    have found more than it returns.
    """

    rows: Sequence[LiveRow] = ()
    next: str = ""
    is_shared: bool = True
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CensusOfAlias:
    """The number of live streams in each tenant of an alias, or why it is not known."""

    alias: str
    tenants: Sequence[tuple[str, int]] = ()
    trouble: str = ""


async def count_live(aliases: Sequence[str]) -> list[CensusOfAlias]:
    """Count the live streams of each tenant, in all aliases at once; the busiest come first."""
    return await asyncio.gather(*(_count(alias) for alias in aliases))


async def _count(alias: str) -> CensusOfAlias:
    try:
        async with open_store(alias) as store:
            census = await store.processes.census(by_tenant=True)
    except (StreamError, InvalidStoreError) as error:
        return CensusOfAlias(alias=alias, trouble=str(error))
    tenants = Counter(census.held) + Counter(census.waiting)
    return CensusOfAlias(alias=alias, tenants=sorted(tenants.items(), key=lambda t: (-t[1], t[0])))


async def list_live(alias: str, tenant: str, *, cursor: str = "", limit: int = 50) -> LivePage:
    """Return a page of the live streams of a tenant; a malformed cursor begins at the newest.

    A page may have fewer rows than `limit`, and more pages after it: some entries of the index may
    have ended.
    """
    async with open_store(alias) as store:
        entries = await store.listed(tenant, after=_place(tenant, cursor), limit=limit)
        infos = await _look(store, [entry.holding for entry in entries])
    more = _cursor(entries[-1]) if len(entries) == limit else ""
    return LivePage(rows=_rows(alias, infos), next=more, is_shared=store.outlives_process)


async def find_live(alias: str, tenant: str, term: str, *, limit: int = 50) -> LivePage:
    """Return the live streams whose id, owner or owner digest is `term`; the newest of many."""
    digests = [owner_digest(term), *([term] if DIGEST.fullmatch(term) else [])]
    async with open_store(alias) as store:
        lists = await asyncio.gather(*(store.listed(tenant, d, limit=limit) for d in digests))
        entries = [entry.holding for entries in lists for entry in entries]
        infos = [*await _by_id(store, tenant, term), *await _look(store, entries)]
    unique = {(info.key, info.epoch): info for info in infos}
    rows = _rows(alias, list(unique.values())[:limit])
    is_cut = any(len(entries) == limit for entries in lists)
    return LivePage(rows=rows, is_shared=store.outlives_process, is_cut=is_cut)


async def look_at(alias: str, streams: Sequence[tuple[StreamKey, str]]) -> list[StreamInfo | None]:
    """Return the states of streams by address and epoch; None: that incarnation is gone."""
    async with open_store(alias) as store:
        found = map(known, await store.status([key for key, _ in streams]))
    return [
        info if info is not None and info.epoch == epoch else None
        for (_, epoch), info in zip(streams, found, strict=True)
    ]


async def _by_id(store: BaseStore, tenant: str, stream_id: str) -> list[StreamInfo]:
    try:
        validate_stream_id(stream_id)
    except InvalidStreamId:
        return []
    control = await store.get_control(tenant, PUBLIC)
    generation = control.generation or FIRST_GENERATION
    key = StreamKey(tenant=tenant, generation=generation, stream_id=stream_id)
    info = await store.look(key)
    return [info] if info is not None and info.is_streaming else []


async def _look(store: BaseStore, holdings: Sequence[Holding]) -> list[StreamInfo]:
    """Return the states of those that live."""
    found = map(known, await store.status([holding.key for holding in holdings]))
    return [
        info
        for holding, info in zip(holdings, found, strict=True)
        if info is not None and info.is_streaming and info.epoch == holding.epoch
    ]


def _rows(alias: str, infos: Sequence[StreamInfo]) -> list[LiveRow]:
    engine, readers = runtime.resources.get(alias), Counter[tuple[StreamKey, str]]()
    wanted = {(info.key, info.epoch) for info in infos}
    for tail in engine.hub.tails if isinstance(engine, Engine) and wanted else ():
        if (tail.key, tail.info.epoch) in wanted:
            readers[tail.key, tail.info.epoch] += tail.readers
    return [LiveRow(info=info, readers=readers[info.key, info.epoch]) for info in infos]


def _cursor(last: Listed) -> str:
    holding = last.holding
    parts = (holding.key.generation, holding.epoch, holding.owner_digest, holding.key.stream_id)
    return ".".join(map(str, (round(last.when * 1_000), *parts)))


def _place(tenant: str, cursor: str) -> Listed | None:
    match = PLACE.fullmatch(cursor)
    if match is None:
        return None
    when, generation, epoch, digest, stream_id = match.groups()
    try:
        validate_stream_id(stream_id)
    except InvalidStreamId:
        return None
    key = StreamKey(tenant=tenant, generation=int(generation), stream_id=stream_id)
    holding = Holding(key=key, epoch=epoch, owner_digest=digest)
    return Listed(holding=holding, when=int(when) / 1_000)
