"""`audit`: count."""

from argparse import ArgumentParser
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import Error as DatabaseTrouble

from resumable_streams.control.saved import saved_generations
from resumable_streams.models import IncidentAction
from resumable_streams.operating.inventory import Inventory, take_inventory
from resumable_streams.stores.base import BaseStore

from .acting import SelectingVerb

__all__ = ["Audit"]


class Audit(SelectingVerb):
    """The verb that counts streams per tenant, and changes nothing."""

    name = "audit"
    help = "Count streams, bytes, owners, states, generations and ages."
    description = (
        "Count streams, bytes, owners, states, generations and ages, per tenant. It changes "
        "nothing. 'reachable' counts the streams that somebody could still resume."
    )
    action = IncidentAction.Action.AUDIT
    asks = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--owners", action="store_true", help="list the owners, by digest, most streams first"
        )

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.tenants: dict[str, Inventory] = {}
        self.saved: dict[str, int] | None = {}

    async def run(self, store: BaseStore) -> None:
        try:
            self.saved = await saved_generations(self.alias)
        except DatabaseTrouble:
            self.saved = None
        batches = self.start(store, self.selection)
        await take_inventory(batches, self.progress, self.tenants)

    def is_behind(self, tenant: str) -> bool:
        """Return whether the store has lost a rotation that the database remembers."""
        return (self.tenants[tenant].generation or 0) < (self.saved or {}).get(tenant, 0)

    def counts(self) -> dict[str, Any]:
        owners = self.options["owners"]
        return {
            "streams": self.progress.met,
            "tenants": {
                tenant: found.as_json(owners=owners)
                | {"saved_generation": (self.saved or {}).get(tenant)}
                for tenant, found in sorted(self.tenants.items())
            },
        }

    def report(self) -> list[str]:
        lines = [f"{self.counted(self.progress.met)}."]
        for tenant, found in sorted(self.tenants.items()):
            lines += ["", f"tenant {tenant}", *self._rows(found)]
            if self.is_behind(tenant):
                lines.append("  ! The database knows a later generation: rotate this tenant.")
        if self.saved is None:
            lines += ["", "The database did not answer: its generations are not compared."]
        return lines

    def _rows(self, found: Inventory) -> list[str]:
        rows = {
            "generation": "not set yet" if found.generation is None else str(found.generation),
            "ttl": "of the alias" if found.ttl is None else f"{found.ttl:g} s",
            "streams": f"{found.streams:,}",
            "reachable": f"{found.reachable:,}",
            "bytes": f"{found.size:,}",
            "owners": f"{len(found.owners):,}",
            "states": _listed(sorted(found.statuses.items())),
            "generations": _listed(sorted(found.generations.items())),
            "ages": _listed(list(found.as_json()["ages"].items())),
            "oldest": _when(found.oldest),
            "newest": _when(found.newest),
        }
        lines = [f"  {name:<12} {value}" for name, value in rows.items() if value]
        if self.options["owners"]:
            lines += [f"  {digest}  {count:,}" for digest, count in found.owners.most_common()]
        return lines


def _listed(counted: list[tuple[Any, int]]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counted)


def _when(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
