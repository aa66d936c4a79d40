"""`reap`: end the streams of dead processes."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseTrouble

from resumable_streams.conf import get_settings
from resumable_streams.engine import get_engine
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import Progress, reap
from resumable_streams.stores.base import BaseStore

from .acting import SelectingVerb
from .records import settle_alias

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

    settled: int | None = None
    """The number of records that were settled; None without RECORDS."""

    async def run(self, store: BaseStore) -> None:
        takeover = get_engine(self.alias).takeover
        batches = self.start(store, self.selection)
        await reap(batches, self.progress, takeover, dry_run=self.dry_run)

    def follow_up(self) -> None:
        """Settle the records: a process that was killed has not written its last ends."""
        if self.dry_run or not get_settings(self.alias).records:
            return
        settled = Progress()
        try:
            settle_alias(self.alias, settled)
        except (DatabaseTrouble, ImproperlyConfigured) as error:
            self.warnings.append(
                f"The streams have ended, but the database refused to settle the records: {error} "
                f"Run `records settle` when it is back."
            )
        self.settled = settled.done

    def counts(self) -> dict[str, Any]:
        counted = {"looked_at": self.progress.met, "lost": self.progress.done}
        return counted if self.settled is None else counted | {"settled": self.settled}

    def report(self) -> list[str]:
        lost = f"{self.progress.done:,} of {self.counted(self.progress.met)}"
        if self.dry_run:
            return [f"{lost} would be ended, because their process is dead."]
        lines = [f"{lost} ended because their process died."]
        if self.settled is not None:
            lines.append(f"{self.settled:,} stream records of alias {self.alias} completed.")
        return lines
