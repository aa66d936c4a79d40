"""The row of a tenant, written in sync code and put in force.

`StreamNamespace` and its manager call this; all of it happens in the thread of the writer, and in
its transaction if there is one.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..conf import get_settings
from ..control.control import (
    FIRST_GENERATION,
    change_row,
    next_generation,
    put_in_force,
    set_ttl,
    validate_ttl,
)
from ..engine import Engine, get_engine
from ..exceptions import StoreUnavailable
from ..identifiers import validate_tenant
from ..process.runtime import runtime
from ..types import PUBLIC
from .bulk import Progress, StreamBatches, purge, shorten
from .selection import Selection

if TYPE_CHECKING:
    from ..models import StreamNamespace

__all__ = [
    "InForce",
    "NotInForce",
    "apply",
    "check",
    "in_force",
    "retire",
    "rotate",
    "says_nothing",
]


class NotInForce(StoreUnavailable):
    """A row that is saved, but that the store may not have heard of."""

    def __init__(self, row: "StreamNamespace") -> None:
        super().__init__(row.alias)
        message = (
            f"The namespace of tenant {row.tenant!r} (alias {row.alias!r}) is saved, but the store "
            f"stopped responding: what it says may not be in force. Save it again when the store "
            f"is back."
        )
        self.args = (message,)


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What the store says of a tenant; without a generation, it says nothing."""

    generation: int | None
    ttl: float | None
    key_prefix: str

    def agrees_with(self, row: "StreamNamespace") -> bool:
        """Return whether the row says the same. A silent store will, once somebody asks it."""
        return self.generation is None or (self.generation, self.ttl) == (row.generation, row.ttl)


def says_nothing(row: "StreamNamespace") -> bool:
    return row.generation == FIRST_GENERATION and row.ttl is None


def check(row: "StreamNamespace") -> None:
    """Raise ValueError or InvalidStoreError for a row that can never be in force."""
    validate_tenant(row.tenant)
    generation: object = row.generation
    if not isinstance(generation, int) or generation < FIRST_GENERATION:  # an expression, say
        raise ValueError(
            "A generation is a whole number from 1: StreamNamespace.objects.rotate() starts the "
            "next one."
        )
    if row.ttl is not None:
        validate_ttl(get_settings(row.alias), row.ttl)


def apply(row: "StreamNamespace", fields: Collection[str]) -> int:
    """Put in force what `fields` of a saved row say; return the generation in force.

    That is a later one if the store is ahead.
    """
    generation = row.generation if "generation" in fields else FIRST_GENERATION
    ttl = (row.ttl or 0.0) if "ttl" in fields else None
    try:
        return runtime.call_sync(_apply, row.alias, row.tenant, generation, ttl)
    except StoreUnavailable as error:
        if error.is_final:
            raise
        raise NotInForce(row) from error


async def _apply(alias: str, tenant: str, generation: int, ttl: float | None) -> int:
    return await put_in_force(get_engine(alias), tenant, generation, ttl)


def rotate(alias: str, tenant: str, *, purge_old: bool = False) -> int:
    """Rotate as `tenants.rotate` does, in the caller's transaction."""
    tenant, engine = validate_tenant(tenant), _engine(alias)
    generation = change_row(engine, tenant, next_generation)
    if purge_old:
        old = Selection(tenant=tenant, before_generation=generation)
        engine.wait_for(purge(StreamBatches(engine.store, old), Progress()))
    return generation


def retire(alias: str, tenant: str, *, ttl: float | None, existing: bool = False) -> int:
    """Set the TTL as `tenants.retire` does, in the caller's transaction."""
    tenant, engine = validate_tenant(tenant), _engine(alias)
    if ttl:
        validate_ttl(engine.settings, ttl)
    change_row(engine, tenant, set_ttl(ttl))
    progress = Progress()
    if existing and ttl:
        batches = StreamBatches(engine.store, Selection(tenant=tenant))
        engine.wait_for(shorten(batches, progress, ttl=ttl))
    return progress.done


def in_force(alias: str, rows: Sequence["StreamNamespace"]) -> list[InForce]:
    """Return what the store says of the tenants of rows of one alias, and change nothing."""
    return runtime.call_sync(_in_force, alias, rows)


async def _in_force(alias: str, rows: Sequence["StreamNamespace"]) -> list[InForce]:
    engine = get_engine(alias)
    found = await asyncio.gather(*(engine.store.get_control(row.tenant, PUBLIC) for row in rows))
    return [
        InForce(
            generation=one.generation,
            ttl=one.ttl,
            key_prefix=engine.store.prefix_of(row.tenant, one.generation or row.generation),
        )
        for row, one in zip(rows, found, strict=True)
    ]


def _engine(alias: str) -> Engine:
    return runtime.call_sync(_get_engine, alias)


async def _get_engine(alias: str) -> Engine:
    return get_engine(alias)
