"""reap: find the dead producers."""

from typing import Any

from resumable_streams.engine import Engine
from resumable_streams.models import IncidentAction
from resumable_streams.namespaces import Sweep, Tally, reap

from .verb import SelectingVerb

__all__ = ["Reap"]


class Reap(SelectingVerb):
    """Declare dead producers lost, as whoever looks at a stream does: nobody has to run it."""

    name = "reap"
    help = "Declare lost the producers whose lease ran out, as any reader's look does."
    action = IncidentAction.Action.REAP
    asks = False
    statuses = False

    async def run(self, engine: Engine) -> None:
        sweep = self.start(engine, self.selection)
        if self.dry_run:
            await _count(sweep, self.tally)
        else:
            await reap(sweep, self.tally)

    def counts(self) -> dict[str, Any]:
        return {"looked_at": self.tally.met, "lost": self.tally.done}

    def report(self) -> list[str]:
        if self.dry_run:
            return [f"{self.tally.met:,} {self.which} would be looked at."]
        return [f"{self.tally.done:,} of {self.tally.met:,} {self.which} have lost their producer."]


async def _count(sweep: Sweep, tally: Tally) -> None:
    async for batch in sweep.batches(once=True):
        tally.add(len(batch), 0)
