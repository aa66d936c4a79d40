"""`purge`: delete streams."""

from typing import Any

from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import purge
from resumable_streams.stores.base import BaseStore

from .acting import SelectingVerb

__all__ = ["Purge"]


class Purge(SelectingVerb):
    """The verb that deletes state and bytes, but no control keys and marks of revocations."""

    name = "purge"
    help = "Delete streams and their bytes; their readers and producers end."
    description = (
        "Delete streams and their bytes; their readers and producers end. Generations, TTLs and "
        "revocations stay. Revoke first: an owner who is not revoked can start again."
    )
    action = IncidentAction.Action.PURGE

    def question(self) -> str:
        return f"Delete the {self.which}, running ones included?"

    async def run(self, store: BaseStore) -> None:
        await purge(self.start(store, self.selection), self.progress, dry_run=self.dry_run)

    def counts(self) -> dict[str, Any]:
        return {"purged": self.progress.done}

    def report(self) -> list[str]:
        return [f"{self.counted(self.progress.done)} {self.would('purged')}."]
