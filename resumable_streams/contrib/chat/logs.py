"""Streams as this app looks at them, for itself: in nobody's name, and whatever was revoked.

A conversation was found in its owner's name before; and the words of an answer belong to it, also
when its stream can be read no more.
"""

import asyncio
from collections.abc import Sequence

from ...control import FIRST_GENERATION, read_control
from ...engine import get_engine
from ...process.runtime import runtime
from ...stores.base import known
from ...streams import StreamManager
from ...types import PUBLIC, StreamInfo, StreamKey

__all__ = ["delete", "look", "look_at", "read_log"]

PAGE_BYTES = 262_144
AT_ONCE = 50


async def look(alias: str, tenant: str, stream_id: str) -> StreamInfo | None:
    """Return the state of a stream; None if it is missing."""
    return (await look_at(alias, tenant, [stream_id]))[0]


async def look_at(alias: str, tenant: str, ids: Sequence[str]) -> list[StreamInfo | None]:
    """Return the states of several streams; those without a living producer are looked after."""
    return await runtime.call(_look_at, alias, tenant, ids)


async def _look_at(alias: str, tenant: str, ids: Sequence[str]) -> list[StreamInfo | None]:
    engine = get_engine(alias)
    generation = (await read_control(engine, tenant, PUBLIC)).generation or FIRST_GENERATION
    keys = [StreamKey(tenant=tenant, generation=generation, stream_id=one) for one in ids]
    infos = [known(finding) for finding in await engine.store.status(keys)]
    if streaming := [info for info in infos if info is not None and info.is_streaming]:
        engine.leases.start()
        engine.takeover.suspect(streaming)
    return infos


async def read_log(alias: str, key: StreamKey, epoch: str) -> bytes | None:
    """Return all that an incarnation of a stream has stored; None if a part of that is gone."""
    return await runtime.call(_read_log, alias, key, epoch)


async def _read_log(alias: str, key: StreamKey, epoch: str) -> bytes | None:
    engine, log = get_engine(alias), bytearray()
    while True:
        page = await engine.store.read(key, len(log), PAGE_BYTES)
        if page is None or page.info.epoch != epoch:
            return None
        log += page.data
        if len(log) >= page.info.size:
            return bytes(log)
        if not page.data:
            return None


async def delete(alias: str, tenant: str, ids: Sequence[str]) -> None:
    """Remove streams, whoever owns them; they are told as deleted by their owners."""
    manager = StreamManager(alias)
    for start in range(0, len(ids), AT_ONCE):
        infos = await look_at(alias, tenant, ids[start : start + AT_ONCE])
        there = [info for info in infos if info is not None]
        await asyncio.gather(
            *(
                manager.adelete(info.stream_id, owner=info.owner, tenant=tenant, epoch=info.epoch)
                for info in there
            )
        )
