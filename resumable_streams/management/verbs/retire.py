"""`retire`: set the TTL of a tenant."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from resumable_streams.control import retire
from resumable_streams.management.arguments import age
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import shorten
from resumable_streams.operating.selection import Selection
from resumable_streams.stores.base import BaseStore

from .acting import ActingVerb, streams

__all__ = ["Retire"]


class Retire(ActingVerb):
    """The verb that sets the TTL of a tenant for new streams and, if asked, for existing ones."""

    name = "retire"
    help = "Set the TTL of a tenant: how long streams acquired from now on are kept."
    action = IncidentAction.Action.RETIRE
    all_tenants = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--ttl",
            type=age,
            required=True,
            metavar="AGE",
            help="the new TTL, such as 300, 5m, 90d; 0: that of the alias again",
        )
        parser.add_argument(
            "--existing", action="store_true", help="also shorten the existing streams"
        )

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.ttl: float = options["ttl"]
        self.existing: bool = options["existing"] and bool(self.ttl)
        self.is_set = False

    def question(self) -> str:
        now = ", the existing ones included" if self.existing else ""
        return f"Keep the streams in {self.where} for {self._span}{now}?"

    @property
    def _span(self) -> str:
        return f"{self.ttl:g} seconds" if self.ttl else "the TTL of the alias"

    def arguments(self) -> dict[str, Any]:
        given = {"ttl": self.ttl} | ({"existing": True} if self.existing else {})
        return super().arguments() | given

    @property
    def needs_engine(self) -> bool:
        return not self.dry_run

    async def run(self, store: BaseStore) -> None:
        assert self.tenant is not None  # noqa: S101 - the parser requires it
        if not self.dry_run:
            await retire(self.alias, self.tenant, ttl=self.ttl)
            self.is_set = True
        if self.existing:
            batches = self.start(store, Selection(tenant=self.tenant))
            await shorten(batches, self.progress, ttl=self.ttl, dry_run=self.dry_run)

    def counts(self) -> dict[str, Any]:
        return {"ttl": self.ttl or None, "shortened": self.progress.done}

    def report(self) -> list[str]:
        if not self.is_set and self.may_have_acted:
            return [f"The TTL of {self.where} may have changed."]
        if not (self.is_set or self.dry_run):
            return [f"The TTL of {self.where} is unchanged."]
        verb = "would be kept for" if self.dry_run else "are kept for"
        lines = [f"New streams in {self.where} {verb} {self._span}."]
        if self.existing:
            existing = streams(self.progress.done, "existing stream")
            lines.append(f"{existing} {self.would('shortened')}.")
        return lines
