"""`cancel`: end live streams."""

from typing import Any

from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import cancel
from resumable_streams.stores.base import BaseStore

from .acting import SelectingVerb

__all__ = ["Cancel"]


class Cancel(SelectingVerb):
    """The verb that ends live streams; their bytes stay readable."""

    name = "cancel"
    help = "End running streams as cancelled; their bytes stay readable."
    action = IncidentAction.Action.CANCEL
    statuses = False

    def question(self) -> str:
        return f"Cancel the running {self.which}?"

    async def run(self, store: BaseStore) -> None:
        await cancel(self.start(store, self.selection), self.progress, dry_run=self.dry_run)

    def counts(self) -> dict[str, Any]:
        return {"looked_at": self.progress.met, "cancelled": self.progress.done}

    def report(self) -> list[str]:
        return [f"{self.counted(self.progress.done, 'running stream')} {self.would('cancelled')}."]
