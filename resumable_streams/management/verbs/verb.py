"""What every verb has: its arguments, the streams it means, what it counts."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, ClassVar

from resumable_streams.engine import Engine
from resumable_streams.identifiers import owner_digest, validate_stream_id, validate_tenant
from resumable_streams.management.arguments import age, chosen_owner, number, owner_arguments, pause
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import Sweep, Tally
from resumable_streams.operating.selection import Selection
from resumable_streams.types import Owner, StreamStatus

__all__ = ["SelectingVerb", "Verb"]

MAX_NAMED = 10


class Verb:
    """Be one thing an operator does; made from the options of a command line, run once.

    Raises InvalidTenant, InvalidOwner and the like when it is made, before anything is touched.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    action: ClassVar[IncidentAction.Action]
    all_tenants: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    """Whether it needs `--yes` or a confirmation."""
    needs_database: ClassVar[bool] = False

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--tenant", metavar="SLUG", help="the tenant ('default' without TENANT)")
        if cls.all_tenants:
            whose.add_argument("--all-tenants", action="store_true", help="every tenant")
        parser.add_argument("--using", default="default", metavar="ALIAS", help="the stream alias")
        parser.add_argument("--dry-run", action="store_true", help="touch nothing, count the same")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--batch", type=number, default=500, metavar="N", help="streams at a time (500)"
        )
        parser.add_argument(
            "--pause", type=pause, default=0.0, metavar="SECONDS", help="between batches (0)"
        )

    def __init__(self, options: Mapping[str, Any]):
        self.alias: str = options["using"]
        tenant = options["tenant"]
        self.tenant: str | None = None if tenant is None else validate_tenant(tenant)
        self.dry_run: bool = options["dry_run"]
        self.tally = Tally()
        self.sweep: Sweep | None = None
        self.may_have_acted = False  # where it failed: nobody knows if the answer alone was lost
        self._options = options

    @property
    def where(self) -> str:
        tenant = "every tenant" if self.tenant is None else f"tenant {self.tenant}"
        return f"{tenant} of {self.alias}"

    def question(self) -> str:
        """Say what is about to happen."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """Return what is written down: no owner in clear."""
        return {"dry_run": True} if self.dry_run else {}

    async def run(self, engine: Engine) -> None:
        """Do it, on the home loop."""
        raise NotImplementedError

    def counts(self) -> dict[str, Any]:
        """Return what was counted so far."""
        raise NotImplementedError

    def report(self) -> list[str]:
        """Return the lines that tell an operator how it went, or how far it came."""
        raise NotImplementedError

    @property
    def unreadable(self) -> list[str]:
        """The streams that were met and whose state nobody can read."""
        return [] if self.sweep is None else self.sweep.unreadable

    def notes(self) -> list[str]:
        """Return the lines that tell what was left out, and why."""
        if not self.unreadable:
            return []
        names = ", ".join(self.unreadable[:MAX_NAMED])
        more = ", …" if len(self.unreadable) > MAX_NAMED else ""
        return [
            f"{len(self.unreadable):,} unreadable: {names}{more}",
            "Nobody can reach them. `purge --id`, or of a whole tenant, removes them.",
        ]

    def start(self, engine: Engine, selection: Selection) -> Sweep:
        """Return a sweep that an interruption stops."""
        self.sweep = Sweep(
            engine, selection, batch=self._options["batch"], pause=self._options["pause"]
        )
        return self.sweep

    def would(self, done: str) -> str:
        return f"would be {done}" if self.dry_run else done


class SelectingVerb(Verb):
    """Be a verb for the streams that fit what is given."""

    statuses: ClassVar[bool] = True

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        owner_arguments(parser)
        parser.add_argument("--id", metavar="STREAM", help="one stream, in every generation")
        parser.add_argument("--generation", type=number, metavar="N", help="only of this one")
        parser.add_argument(
            "--older-than", type=age, metavar="AGE", help="since the acquire, such as 30m, 2h, 7d"
        )
        if cls.statuses:
            parser.add_argument(
                "--status", nargs="+", choices=[status.value for status in StreamStatus]
            )

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.owner: Owner | None = chosen_owner(options)
        stream_id = options["id"]
        self.selection = Selection(
            tenant=self.tenant,
            generation=options["generation"],
            stream_id=None if stream_id is None else validate_stream_id(stream_id),
            owner=self.owner,
            older_than=options["older_than"],
            statuses=frozenset(map(StreamStatus, options.get("status") or ())),
        )

    def arguments(self) -> dict[str, Any]:
        chosen = self.selection
        given = {
            "owner": None if chosen.owner is None else owner_digest(chosen.owner),
            "id": chosen.stream_id,
            "generation": chosen.generation,
            "older_than": chosen.older_than,
            "status": sorted(chosen.statuses),
        }
        return super().arguments() | {name: value for name, value in given.items() if value}

    @property
    def which(self) -> str:
        """Describe the streams, for a question and a report."""
        given = {name: value for name, value in self.arguments().items() if name != "dry_run"}
        fits = ", ".join(
            f"{name} {'/'.join(value) if isinstance(value, list) else value}"
            for name, value in given.items()
        )
        return f"streams of {self.where}" + (f" ({fits})" if fits else "")
