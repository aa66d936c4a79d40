"""retire: set the TTL of a tenant."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from resumable_streams.control import retire
from resumable_streams.engine import Engine
from resumable_streams.management.arguments import seconds
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import shorten
from resumable_streams.operating.selection import Selection

from .verb import Verb

__all__ = ["Retire"]


class Retire(Verb):
    """Set the TTL of a tenant, for what comes and, if asked, for what is there."""

    name = "retire"
    help = "Set the TTL of a tenant: how long streams acquired from now on are kept."
    action = IncidentAction.Action.RETIRE
    all_tenants = False
    needs_database = True

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--ttl",
            type=seconds,
            required=True,
            metavar="AGE",
            help="shorter or longer than the alias's, such as 300, 5m, 90d; 0: the alias's again",
        )
        parser.add_argument(
            "--existing", action="store_true", help="also shorten the streams that are there"
        )

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.ttl: float = options["ttl"]
        self.existing: bool = options["existing"] and bool(self.ttl)
        self.is_set = False

    def question(self) -> str:
        now = ", those that are there included" if self.existing else ""
        return f"Let the streams of {self.where} live {self._span}{now}?"

    @property
    def _span(self) -> str:
        return f"{self.ttl:g} seconds" if self.ttl else "as long as those of the alias"

    def arguments(self) -> dict[str, Any]:
        given = {"ttl": self.ttl} | ({"existing": True} if self.existing else {})
        return super().arguments() | given

    async def run(self, engine: Engine) -> None:
        assert self.tenant is not None  # noqa: S101 - the parser requires it
        if not self.dry_run:
            await retire(self.alias, self.tenant, ttl=self.ttl)
            self.is_set = True
        if self.existing:
            sweep = self.start(engine, Selection(tenant=self.tenant))
            await shorten(sweep, self.tally, ttl=self.ttl, dry_run=self.dry_run)

    def counts(self) -> dict[str, Any]:
        return {"ttl": self.ttl or None, "shortened": self.tally.done}

    def report(self) -> list[str]:
        if not self.is_set and self.may_have_acted:
            return [f"The TTL of {self.where} may have changed."]
        if not (self.is_set or self.dry_run):
            return [f"The TTL of {self.where} is what it was."]
        verb = "would live" if self.dry_run else "live"
        lines = [f"New streams of {self.where} {verb} {self._span}."]
        if self.existing:
            lines.append(f"{self.tally.done:,} existing streams {self.would('shortened')}.")
        return lines
