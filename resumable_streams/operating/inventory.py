"""The inventory of a store: streams, bytes, owners, states, generations and ages, per tenant."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..identifiers import owner_digest
from ..types import PUBLIC, Control, StreamInfo
from .bulk import Progress, StreamBatches

__all__ = ["AGES", "Inventory", "take_inventory"]

AGES = {
    "under 1 minute": 60.0,
    "under 10 minutes": 600.0,
    "under 1 hour": 3_600.0,
    "under 6 hours": 21_600.0,
    "under 1 day": 86_400.0,
    "under 7 days": 604_800.0,
    "older": float("inf"),
}


@dataclass(slots=True, kw_only=True)
class Inventory:
    """The streams of one tenant, summed up. Owners are named by their digest.

    `reachable` counts the streams that somebody could still resume: those of the generation in
    force whose owner is not revoked. `oldest` and `newest` are times of acquires, in
    seconds since the epoch.
    """

    tenant: str
    generation: int | None = None
    ttl: float | None = None
    streams: int = 0
    reachable: int = 0
    size: int = 0
    oldest: float | None = None
    newest: float | None = None
    owners: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    generations: Counter[int] = field(default_factory=Counter)
    ages: Counter[str] = field(default_factory=Counter)

    def add(self, info: StreamInfo, digest: str, *, reachable: bool) -> None:
        self.streams += 1
        self.reachable += reachable
        self.size += info.size
        self.owners[digest] += 1
        self.statuses[info.status.value] += 1
        self.generations[info.generation] += 1
        age = info.expires - info.ttl - info.created
        self.ages[next(name for name, limit in AGES.items() if age < limit)] += 1
        self.oldest = min(info.created, self.oldest or info.created)
        self.newest = max(info.created, self.newest or info.created)

    def as_json(self, *, owners: bool = False) -> dict[str, Any]:
        """Return a dict for JSON; with `owners`, the number of streams of each."""
        summed: dict[str, Any] = {
            "generation": self.generation,
            "ttl": self.ttl,
            "streams": self.streams,
            "reachable": self.reachable,
            "bytes": self.size,
            "owners": len(self.owners),
            "statuses": dict(sorted(self.statuses.items())),
            "generations": {str(key): self.generations[key] for key in sorted(self.generations)},
            "ages": {name: self.ages[name] for name in AGES if self.ages[name]},
            "oldest": self.oldest,
            "newest": self.newest,
        }
        if owners:
            summed["streams_by_owner"] = dict(self.owners.most_common())
        return summed


async def take_inventory(
    batches: StreamBatches, progress: Progress, tenants: dict[str, Inventory]
) -> None:
    """Count the streams of the batches into `tenants`; one more look for each owner."""
    controls: dict[tuple[str, str], Control] = {}
    chosen = batches.selection.tenant
    if chosen is not None:
        tenants[chosen] = Inventory(tenant=chosen)
    async for batch in batches.batches(with_state=True, once=True):
        infos = [one.info for one in batch if one.info]
        for info in infos:
            digest = owner_digest(info.owner)
            if (info.tenant, digest) not in controls:
                found = await batches.store.get_control(info.tenant, info.owner)
                controls[info.tenant, digest] = found
            control = controls[info.tenant, digest]
            inventory = tenants.setdefault(info.tenant, Inventory(tenant=info.tenant))
            inventory.add(info, digest, reachable=control.admits(info))
        progress.add(len(infos), len(infos))
    for tenant, inventory in tenants.items():
        control = await batches.store.get_control(tenant, PUBLIC)
        inventory.generation, inventory.ttl = control.generation, control.ttl
