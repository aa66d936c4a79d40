"""`reap`: end the streams of dead processes."""

from typing import Any

from resumable_streams.engine import get_engine
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import reap
from resumable_streams.stores.base import BaseStore

from .acting import SelectingVerb

__all__ = ["Reap"]


class Reap(SelectingVerb):
    """The verb that ends the streams of dead processes, as any streaming process does by itself."""

    name = "reap"
    help = "End the streams that dead processes left, and tell receivers and records."
    description = (
        "End the streams that dead processes left, and tell receivers and records. Any process "
        "that streams does this by itself. It watches for one lease (LEASE) first, to know the "
        "dead from the silent, and counts as a process of the site meanwhile: it heartbeats, and "
        "has a push connection."
    )
    action = IncidentAction.Action.REAP
    asks = False
    statuses = False

    @property
    def needs_engine(self) -> bool:
        return True

    async def run(self, store: BaseStore) -> None:
        takeover = get_engine(self.alias).takeover
        batches = self.start(store, self.selection)
        await reap(batches, self.progress, takeover, dry_run=self.dry_run)

    def counts(self) -> dict[str, Any]:
        return {"looked_at": self.progress.met, "lost": self.progress.done}

    def report(self) -> list[str]:
        lost = f"{self.progress.done:,} of {self.progress.met:,} {self.which}"
        if self.dry_run:
            return [f"{lost} were left by a process that is dead."]
        return [f"{lost} have lost their producer."]
