"""cancel: end what is running."""

from typing import Any

from resumable_streams.engine import Engine
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import cancel

from .verb import SelectingVerb

__all__ = ["Cancel"]


class Cancel(SelectingVerb):
    """End running streams; what was written stays readable."""

    name = "cancel"
    help = "End running streams as cancelled; what was written stays readable."
    action = IncidentAction.Action.CANCEL
    statuses = False

    def question(self) -> str:
        return f"Cancel the running {self.which}?"

    async def run(self, engine: Engine) -> None:
        await cancel(self.start(engine, self.selection), self.tally, dry_run=self.dry_run)

    def counts(self) -> dict[str, Any]:
        return {"looked_at": self.tally.met, "cancelled": self.tally.done}

    def report(self) -> list[str]:
        return [f"{self.tally.done:,} running {self.which} {self.would('cancelled')}."]
