"""purge: remove."""

from typing import Any

from resumable_streams.engine import Engine
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import purge

from .verb import SelectingVerb

__all__ = ["Purge"]


class Purge(SelectingVerb):
    """Delete state and bytes; spare what governs the tenant."""

    name = "purge"
    help = "Delete streams, with their bytes; their readers and producers end."
    action = IncidentAction.Action.PURGE

    def question(self) -> str:
        return f"Delete the {self.which}, running ones included?"

    async def run(self, engine: Engine) -> None:
        await purge(self.start(engine, self.selection), self.tally, dry_run=self.dry_run)

    def counts(self) -> dict[str, Any]:
        return {"purged": self.tally.done}

    def report(self) -> list[str]:
        return [f"{self.tally.done:,} {self.which} {self.would('purged')}."]
