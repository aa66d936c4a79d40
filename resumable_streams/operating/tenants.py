"""An operator's acts on all streams of a tenant, together with its control.

Each runs on the home loop, and returns the result of the act itself; `control` has the guarantees,
and the states that a failure can leave.
"""

from ..control import retire as _retire
from ..control import rotate as _rotate
from ..engine import get_engine
from .bulk import Progress, StreamBatches, purge, shorten
from .selection import Selection

__all__ = ["retire", "rotate"]


async def rotate(alias: str, tenant: str, *, purge_old: bool = False) -> int:
    """Start a new generation of the tenant and return it; `purge_old` deletes the older ones."""
    generation = await _rotate(alias, tenant)
    if purge_old:
        old = Selection(tenant=tenant, before_generation=generation)
        await purge(StreamBatches(get_engine(alias).store, old), Progress())
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
