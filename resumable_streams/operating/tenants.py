"""An operator's acts on all streams of a tenant, together with its control.

Each runs on the home loop, and returns the result of the act itself; `control` has the guarantees,
and the states that a failure can leave.
"""

from ..control import retire as _retire
from ..control import rotate as _rotate
from ..engine import get_engine
from .bulk import Progress, StreamBatches, shorten
from .bulk import purge as _purge
from .inventory import Inventory, take_inventory
from .selection import Selection

__all__ = ["audit", "purge", "retire", "rotate"]


async def audit(alias: str, tenant: str) -> Inventory:
    """Count the streams of the tenant, and change nothing."""
    found: dict[str, Inventory] = {}
    selection = Selection(tenant=tenant)
    await take_inventory(StreamBatches(get_engine(alias).store, selection), Progress(), found)
    return found[tenant]


async def purge(alias: str, selection: Selection) -> int:
    """Delete the selected streams, and return how many there were."""
    progress = Progress()
    await _purge(StreamBatches(get_engine(alias).store, selection), progress)
    return progress.done


async def rotate(alias: str, tenant: str, *, purge_old: bool = False) -> int:
    """Start a new generation of the tenant and return it; `purge_old` deletes the older ones."""
    generation = await _rotate(alias, tenant)
    if purge_old:
        old = Selection(tenant=tenant, before_generation=generation)
        await purge(alias, old)
    return generation


async def retire(alias: str, tenant: str, *, ttl: float, existing: bool = False) -> int:
    """Set the TTL of a tenant (seconds), for what is acquired from now on; 0: the alias's again.

    With `existing`, streams that would live longer than `ttl` are shortened to it as well. Returns
    how many were.
    """
    await _retire(alias, tenant, ttl=ttl)
    progress = Progress()
    if existing and ttl:
        batches = StreamBatches(get_engine(alias).store, Selection(tenant=tenant))
        await shorten(batches, progress, ttl=ttl)
    return progress.done
