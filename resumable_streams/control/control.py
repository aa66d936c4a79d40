"""The control of a tenant: its generation, its TTL, and the owners that are revoked.

    rotate   generation + 1: every stream of the tenant becomes unreachable, in one step
    revoke   a time mark for one owner: streams acquired before it become unreachable
    retire   another TTL, for new streams and (if asked) for present ones

The control key in the store is in force, and is read at every acquire and resume, never cached.
The first acquire in a tenant writes it, a mere look never does. A key with only the defaults (the
first generation, the alias's TTL) expires after the last stream it could be for. The
database keeps a copy (`saved`), so that a store that lost the key cannot bring back an older
generation; the copy is consulted only when the key is missing. If it cannot be consulted then,
nothing is served: a wrong generation would undo an operator's rotation. For the same reason a
process that has seen a generation does not follow a store that fell back behind it (a failover to
a replica that lagged): it sets the store right.

When a change has been made, the store pushes it to every process, which ends the streams that it
affects.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from django.db import Error as DatabaseTrouble
from django.db import router, transaction

from ..conf import AliasSettings
from ..engine import Engine, get_engine
from ..exceptions import Diagnosis, StoreUnavailable, StreamError
from ..identifiers import validate_owner, validate_tenant
from ..stores.base import control_life
from ..stores.outages import log_outage
from ..stores.patience import for_ever, patiently
from ..types import Control, Owner
from .saved import SavedRows, in_database, namespace_model

if TYPE_CHECKING:
    from ..models import StreamNamespace

__all__ = [
    "FIRST_GENERATION",
    "Unconfirmed",
    "Unsaved",
    "read_control",
    "retire",
    "revoke",
    "rotate",
    "validate_ttl",
]

logger = logging.getLogger("resumable_streams.namespaces")

FIRST_GENERATION = 1
TICK_SECONDS = 0.002
SLACK_SECONDS = 60.0
AGAIN_SECONDS = 0.1

# The generations that the stores of this process have shown, where they are not the first one: as
# many entries as tenants that were ever rotated.
_seen: WeakKeyDictionary[Engine, dict[str, int]] = WeakKeyDictionary()
_saved: WeakKeyDictionary[Engine, SavedRows] = WeakKeyDictionary()


class Unsaved(StreamError):
    """A change is in force in the store, but the database has no copy of it."""

    def __init__(self) -> None:
        super().__init__(
            "The change is in force, but the database could not save it: repeat the command when "
            "the database is back, or a store that loses its keys will lose the change."
        )


class Unconfirmed(StoreUnavailable):
    """The store stopped responding in the middle of a change that the database rolled back."""

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        message = (
            f"The stream store {alias!r} stopped responding. The database change was rolled back, "
            f"but the store may have applied it. Repeat the command when the store is back."
        )
        self.args = (message,)


async def read_control(
    engine: Engine, tenant: str, owner: Owner, *, acquiring: float | None = None
) -> Control:
    """Return what is in force for `owner`, restored if the store lost it.

    Of a tenant that nobody knows, the `generation` is None: nothing was ever acquired there, or so
    long ago that it has expired. Only `acquiring`, with the TTL of the stream that is about to be,
    leaves anything in the store then.
    """
    keep = None if acquiring is None else control_life(acquiring)
    found = await engine.store.get_control(tenant, owner, keep=keep)
    seen = _seen.setdefault(engine, {})
    known = seen.get(tenant, FIRST_GENERATION)
    if found.generation is None:
        if await _restore(engine, tenant, known, is_wanted=acquiring is not None):
            found = await engine.store.get_control(tenant, owner)
    elif found.generation < known:
        logger.error(
            "The store fell back to an older generation of a tenant; the later one was restored."
        )
        await engine.store.set_control(tenant, generation=known)
        found = await engine.store.get_control(tenant, owner)
    if found.generation is not None and found.generation > known:
        seen[tenant] = found.generation
    return found


async def _restore(engine: Engine, tenant: str, known: int, *, is_wanted: bool) -> bool:
    """Write the control key if there is anything to say, or if it is wanted; return whether."""
    generation, ttl = known, None
    if engine.store.outlives_process:
        rows = _saved.setdefault(engine, SavedRows(engine.settings.alias))
        try:
            row = await rows.row(tenant)
        except DatabaseTrouble as error:
            raise _unknown_generation(engine.settings.alias, error) from error
        if row is not None:
            generation, ttl = max(known, row.generation), row.ttl
    if generation == FIRST_GENERATION and ttl is None and not is_wanted:
        return False
    await engine.store.set_control(tenant, generation=generation, ttl=ttl)
    return True


def _unknown_generation(alias: str, error: DatabaseTrouble) -> StoreUnavailable:
    """Return, and log, that neither store nor database knows which generation is in force."""
    model = namespace_model()
    using, words = router.db_for_write(model), " ".join(str(error).split())
    reason = f"the database {using!r} does not tell which generation of a tenant is in force"
    remedy = "Bring the database back: the store has lost, or never had, what it would say."
    if model._meta.db_table in words:
        remedy = f"Create the tables: manage.py migrate resumable_streams --database {using}"
    unknown = StoreUnavailable(alias, reason, diagnosis=Diagnosis(words=words, remedy=remedy))
    log_outage(unknown)
    return unknown


async def rotate(alias: str, tenant: str) -> int:
    """Start a new generation of the tenant and return it.

    When this returns, no acquire or resume that starts later reaches an older stream, in any
    process; attached readers and producers end within a second. The new generation is written to
    the database and the store, or to neither: the store's part is the last before the commit, and
    is repeated while STORE_TIMEOUT allows. The error names the state that is left: `Unconfirmed`
    (the store may have it, the database has not) or `Unsaved` (the store has it, the database has
    not).
    """
    engine = get_engine(alias)
    tenant = validate_tenant(tenant)
    return await in_database(lambda: change_row(engine, tenant, next_generation))


async def retire(alias: str, tenant: str, *, ttl: float) -> None:
    """Set the TTL of a tenant (seconds), for what is acquired from now on; 0: the alias's again.

    Saved as `rotate` is.
    """
    engine = get_engine(alias)
    tenant = validate_tenant(tenant)
    if ttl:
        validate_ttl(engine.settings, ttl)
    await in_database(lambda: change_row(engine, tenant, set_ttl(ttl)))


Change = Callable[["StreamNamespace", int], float | None]
"""Gets the row of a tenant, locked, and the generation in force, and changes the row.

Returns a new TTL for the store, or None to leave that.
"""


def validate_ttl(settings: AliasSettings, ttl: float) -> None:
    """Raise ValueError or TypeError for a TTL that no stream of this alias can have."""
    if not isinstance(ttl, int | float):
        raise TypeError(f"ttl is a number of seconds, not {type(ttl).__name__}.")
    if not settings.lease < ttl < math.inf:
        raise ValueError(
            f"ttl has to be longer than the lease ({settings.lease:g} seconds), and finite."
        )


def next_generation(row: "StreamNamespace", known: int) -> None:
    row.generation = known + 1


def set_ttl(ttl: float | None) -> Change:
    def change(row: "StreamNamespace", known: int) -> float:
        row.generation, row.ttl = known, ttl or None
        return ttl or 0.0

    return change


def change_row(engine: Engine, tenant: str, change: Change) -> int:
    """Change the row of a tenant and its control key, both or neither; return the generation.

    In a transaction of the caller's the store has the change at once, the database with its commit.
    """
    model = namespace_model()
    using = router.db_for_write(model)
    is_in_force = False
    try:
        with transaction.atomic(using=using):
            row, _ = (
                model.objects.using(using)
                .select_for_update()
                .get_or_create(alias=engine.settings.alias, tenant=tenant)
            )
            # The store may be ahead (a change that was not saved) or behind (a lost key).
            known = engine.wait_for(engine.store.set_control(tenant, generation=row.generation))
            ttl = change(row, known)
            row.write()
            # From here only the commit can fail: an exception undoes the row.
            engine.wait_for(put_in_force(engine, tenant, row.generation, ttl))
            is_in_force = True
    except DatabaseTrouble as error:
        if is_in_force:
            raise Unsaved from error
        raise
    return row.generation


async def put_in_force(engine: Engine, tenant: str, generation: int, ttl: float | None) -> int:
    """Set the control key; again while the store is away, which does not do it twice.

    Returns the generation in force.
    """
    try:
        # The time limit is for an attempt that hangs, too: somebody waits at a terminal.
        async with asyncio.timeout(engine.settings.store_timeout):
            return await patiently(
                lambda: engine.store.set_control(tenant, generation=generation, ttl=ttl),
                for_ever,
                most=AGAIN_SECONDS,
            )
    except TimeoutError as error:
        raise Unconfirmed(engine.settings.alias) from error


async def revoke(alias: str, tenant: str, owner: Owner) -> float:
    """Revoke every stream that `owner` has acquired so far; return the time of the mark.

    One write for any number of streams. When this returns, none of them can be resumed, in
    any process, and attached readers and producers end within a second. New acquires work.
    """
    engine = get_engine(alias)
    tenant, owner = validate_tenant(tenant), validate_owner(owner)
    keep = 0.0
    # A TTL is announced before the stream that has it is acquired. So what is known after the mark
    # covers all that the mark revokes; if the mark was made for less, it is made again.
    while (longest := await _keep(engine, tenant, owner)) > keep:
        keep = longest
        mark = await engine.store.revoke(tenant, owner, keep=keep)
    # The next acquire must get a later time than the mark, which has the store's resolution.
    await asyncio.sleep(TICK_SECONDS)
    return mark


async def _keep(engine: Engine, tenant: str, owner: Owner) -> float:
    """Return for how long a mark of now can be needed (seconds).

    The last write before the mark gives a stream one TTL. If its producer died, the look that
    finds out gives it another one, at the end of the first at the latest.
    """
    found = await engine.store.get_control(tenant, owner)
    return 2 * max(engine.settings.ttl, found.ttl or 0, found.longest_ttl) + SLACK_SECONDS
