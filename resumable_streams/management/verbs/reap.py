"""reap: find the dead producers."""

from typing import Any

from resumable_streams.engine import Engine
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import reap

from .verb import SelectingVerb

__all__ = ["Reap"]


class Reap(SelectingVerb):
    """Declare dead producers lost, as any process does by itself: nobody has to run it."""

    name = "reap"
    help = (
        "End and tell what dead processes left, as any running process does by itself. Watches for "
        "one lease (LEASE) first, to know the dead from the silent."
    )
    action = IncidentAction.Action.REAP
    asks = False
    statuses = False

    async def run(self, engine: Engine) -> None:
        await reap(self.start(engine, self.selection), self.tally, dry_run=self.dry_run)

    def counts(self) -> dict[str, Any]:
        return {"looked_at": self.tally.met, "lost": self.tally.done}

    def report(self) -> list[str]:
        lost = f"{self.tally.done:,} of {self.tally.met:,} {self.which}"
        if self.dry_run:
            return [f"{lost} were left by a process that is dead."]
        return [f"{lost} have lost their producer."]
