"""What is in force in a tenant: its generation, its TTL, and whose streams are revoked.

    rotate   generation + 1: every stream of the tenant becomes unreachable, in one step
    revoke   a time mark for one owner: what was acquired before it becomes unreachable
    retire   another TTL, for what comes and (if asked) for what is there

The control key in the store says what is in force, and is read at every acquire and resume, never
cached. The database keeps a copy, so that a store that lost the key cannot bring back an older
generation; the copy is consulted only when the key is missing. If it cannot be consulted then,
nothing is served: a wrong generation would undo an operator's rotation.

When a change has been made, the store pushes it to every process, which ends what it bars.

Everything here runs on the home loop: `runtime.call`, or `runtime.call_sync` from sync code.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, router, transaction

from .engine import Engine, get_engine
from .exceptions import StoreUnavailable
from .keys import validate_owner, validate_tenant
from .types import Owner, Standing, StreamKey

if TYPE_CHECKING:
    from .models import StreamNamespace

__all__ = ["purge", "retire", "revoke", "rotate", "standing"]

logger = logging.getLogger("resumable_streams.namespaces")

T = TypeVar("T")

FIRST_GENERATION = 1
BATCH = 500
TICK_SECONDS = 0.002


async def standing(engine: Engine, tenant: str, owner: Owner) -> Standing:
    """Return what is in force for `owner`, restored from the database if the store lost it."""
    found = await engine.store.standing(tenant, owner)
    if found.generation is not None:
        return found
    await _restore(engine, tenant)
    return await engine.store.standing(tenant, owner)


async def _restore(engine: Engine, tenant: str) -> None:
    generation, ttl = FIRST_GENERATION, None
    if engine.store.outlives_process:
        try:
            row = await _in_database(lambda: _row(engine.settings.alias, tenant))
        except DatabaseError as error:
            logger.error("The generation of a tenant is in neither store nor database.")
            raise StoreUnavailable(engine.settings.alias) from error
        if row is not None:
            generation, ttl = row.generation, row.ttl
    await engine.store.set_control(tenant, generation=generation, ttl=ttl)


def _model() -> "type[StreamNamespace]":
    # This module is imported with the package, before Django has loaded the models.
    return apps.get_model("resumable_streams", "StreamNamespace")


def _row(alias: str, tenant: str) -> "StreamNamespace | None":
    try:
        return _model().objects.filter(alias=alias, tenant=tenant).first()
    except (ImproperlyConfigured, LookupError):  # no database, or the app is not installed
        return None


async def _in_database(query: Callable[[], T]) -> T:
    """Run a query in a thread of its own: a request's thread may be waiting for us."""

    def run() -> T:
        try:
            return query()
        finally:
            connections.close_all()

    return await sync_to_async(run, thread_sensitive=False)()


async def rotate(alias: str, tenant: str, *, purge_old: bool = False) -> int:
    """Start a new generation of the tenant and return it.

    When this returns, no acquire or resume that starts later reaches an older stream, in any
    process; attached readers and producers end within a second. The new generation is written to
    the database and the store, or to neither: the database commits last, so what can be left if
    that last step fails is a rotation that took effect and has no copy yet, and an error that
    says so. `purge_old` then removes the older generations.
    """
    engine = get_engine(alias)
    tenant = validate_tenant(tenant)
    generation = await _in_database(lambda: _rotate(engine, tenant))
    if purge_old:
        async for _ in purge(engine, older(engine, tenant, generation)):
            pass
    return generation


def _rotate(engine: Engine, tenant: str) -> int:
    model = _model()
    using = router.db_for_write(model)
    with transaction.atomic(using=using):
        row, _ = (
            model.objects.using(using)
            .select_for_update()
            .get_or_create(alias=engine.settings.alias, tenant=tenant)
        )
        known = engine.submit(engine.store.set_control(tenant, generation=row.generation)).result()
        row.generation = known + 1
        row.save(update_fields=["generation", "updated"])
        # The last thing that can fail before the commit: an exception here undoes the row.
        return engine.submit(engine.store.set_control(tenant, generation=row.generation)).result()


async def retire(alias: str, tenant: str, *, ttl: float, existing: bool = False) -> int:
    """Give what is acquired from now on `ttl` seconds; `ttl=0` removes the override.

    With `existing`, streams that would live longer than `ttl` are shortened to it as well.
    Returns how many were.
    """
    engine = get_engine(alias)
    tenant = validate_tenant(tenant)
    if ttl and ttl <= engine.settings.lease:
        raise ValueError(f"ttl is longer than the lease ({engine.settings.lease:g} seconds).")
    await _in_database(lambda: _retire(engine, tenant, ttl))
    return await _shorten(engine, tenant, ttl) if existing and ttl else 0


def _retire(engine: Engine, tenant: str, ttl: float) -> None:
    model = _model()
    using = router.db_for_write(model)
    with transaction.atomic(using=using):
        model.objects.using(using).update_or_create(
            alias=engine.settings.alias, tenant=tenant, defaults={"ttl": ttl or None}
        )
        engine.submit(engine.store.set_control(tenant, ttl=ttl)).result()


async def _shorten(engine: Engine, tenant: str, ttl: float) -> int:
    shortened = 0
    async for keys in batches(engine, tenant):
        infos = await engine.store.status(keys)
        long = [
            key
            for key, info in zip(keys, infos, strict=True)
            if info is not None and info.ttl > ttl
        ]
        shortened += sum(await asyncio.gather(*(engine.store.expire(key, ttl) for key in long)))
    return shortened


async def revoke(alias: str, tenant: str, owner: Owner) -> float:
    """Bar every stream that `owner` has acquired so far; return the time of the mark.

    One write, whatever the number of streams. When this returns, none of them can be resumed, in
    any process, and attached readers and producers end within a second. New acquires work.
    """
    engine = get_engine(alias)
    tenant, owner = validate_tenant(tenant), validate_owner(owner)
    now = await standing(engine, tenant, owner)
    keep = max(engine.settings.ttl, now.ttl or 0, now.longest_ttl)
    mark = await engine.store.revoke(tenant, owner, keep=keep)
    # The next acquire must get a later time than the mark, which has the store's resolution.
    await asyncio.sleep(TICK_SECONDS)
    return mark


async def batches(
    engine: Engine, tenant: str | None = None, generation: int | None = None
) -> AsyncIterator[list[StreamKey]]:
    """Iterate over the streams of a tenant (or all) in batches."""
    batch: list[StreamKey] = []
    async for key in engine.store.scan(tenant, generation):
        batch.append(key)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def older(engine: Engine, tenant: str, generation: int) -> AsyncIterator[list[StreamKey]]:
    """Iterate over the streams of the tenant's earlier generations, in batches."""
    async for keys in batches(engine, tenant):
        yield [key for key in keys if key.generation < generation]


async def purge(engine: Engine, found: AsyncIterator[list[StreamKey]]) -> AsyncIterator[int]:
    """Delete the streams of each batch, and yield how many there were.

    Interrupted anywhere, it has removed whole streams only; run it again for the rest.
    """
    async for keys in found:
        yield sum(await asyncio.gather(*(engine.store.delete(key) for key in keys)))
