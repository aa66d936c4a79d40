"""The base classes of the verbs that act on streams: their options, selection and counts."""

import asyncio
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Mapping
from typing import Any, ClassVar

from resumable_streams.conf import get_settings
from resumable_streams.identifiers import owner_digest, validate_stream_id, validate_tenant
from resumable_streams.management.arguments import age, chosen_owner, number, owner_arguments, pause
from resumable_streams.management.console import Terminal
from resumable_streams.management.performing import perform
from resumable_streams.models import IncidentAction
from resumable_streams.operating.bulk import Progress, StreamBatches
from resumable_streams.operating.selection import Selection
from resumable_streams.stores.base import BaseStore
from resumable_streams.types import Owner, StreamStatus

from .verb import Verb, common_arguments, reason_argument

__all__ = ["ActingVerb", "SelectingVerb", "streams"]

MAX_NAMED = 10


class ActingVerb(Verb):
    """A verb that looks at the streams of one alias, or acts on them. Every run is written down."""

    action: ClassVar[IncidentAction.Action]
    all_tenants: ClassVar[bool] = True
    """Whether it accepts `--all-tenants`."""
    asks: ClassVar[bool] = True
    """Whether it needs `--yes` or a confirmation."""

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument(
            "--tenant", metavar="SLUG", help="one tenant; a site without TENANT has one: 'default'"
        )
        if cls.all_tenants:
            whose.add_argument("--all-tenants", action="store_true", help="every tenant")
        running = parser.add_argument_group("how it runs")
        running.add_argument(
            "--using", default="default", metavar="ALIAS", help="the stream alias ('default')"
        )
        running.add_argument(
            "--dry-run", action="store_true", help="change nothing, and count the same"
        )
        running.add_argument("--json", action="store_true", help="print one JSON object")
        reason_argument(running)
        running.add_argument(
            "--yes",
            action="store_true",
            help="do not ask for confirmation" if cls.asks else SUPPRESS,
        )
        running.add_argument(
            "--batch", type=number, default=500, metavar="N", help="streams at a time (500)"
        )
        running.add_argument(
            "--pause",
            type=pause,
            default=0.0,
            metavar="SECONDS",
            help="the pause between two batches (0)",
        )
        common_arguments(running)

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        self.alias: str = options["using"]
        get_settings(self.alias)
        tenant = options["tenant"]
        self.tenant: str | None = None if tenant is None else validate_tenant(tenant)
        self.dry_run: bool = options["dry_run"]
        self.progress = Progress()
        self.warnings: list[str] = []
        self.batches: StreamBatches | None = None
        self.may_have_acted = False  # the store failed, and only its answer may be missing

    @property
    def where(self) -> str:
        tenant = "every tenant" if self.tenant is None else f"tenant {self.tenant}"
        return f"{tenant} (alias {self.alias})"

    @property
    def hits(self) -> int:
        """The number of streams that the verb has met."""
        return self.progress.met

    @property
    def needs_engine(self) -> bool:
        """Whether it takes more than a store: a change of control, or the take-over of `reap`."""
        return False

    def perform(self, terminal: Terminal) -> None:
        perform(self, terminal)

    def question(self) -> str:
        """Return the question to confirm."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that are written down: no owner in clear."""
        return {"dry_run": True} if self.dry_run else {}

    async def run(self, store: BaseStore) -> None:
        """Do it, on the home loop."""
        raise NotImplementedError

    def follow_up(self) -> None:
        """Do what follows from the act, in sync code."""

    def counts(self) -> dict[str, Any]:
        """Return the counts so far."""
        raise NotImplementedError

    def details(self) -> dict[str, Any]:
        """Return what the JSON has beyond the counts; none of it is written down."""
        return {}

    def report(self) -> list[str]:
        """Return the lines that tell an operator how it went, or how far it came."""
        raise NotImplementedError

    @property
    def unreadable(self) -> list[str]:
        """The streams that were met and whose state nobody can read."""
        return [] if self.batches is None else self.batches.unreadable

    def notes(self, *, all_names: bool = False) -> list[str]:
        """Return the lines that tell which streams were left out, and why."""
        if not self.unreadable:
            return []
        most = len(self.unreadable) if all_names else MAX_NAMED
        names = ", ".join(self.unreadable[:most])
        more = ", …" if len(self.unreadable) > most else ""
        return [
            f"{len(self.unreadable):,} unreadable: {names}{more}",
            "Nobody can reach them. `purge --id`, or of a whole tenant, removes them.",
        ]

    def start(self, store: BaseStore, selection: Selection) -> StreamBatches:
        """Return batches that an interruption stops."""
        self._loop = asyncio.get_running_loop()
        self.batches = StreamBatches(
            store, selection, batch=self.options["batch"], pause=self.options["pause"]
        )
        return self.batches

    def stop(self) -> None:
        """End after the batch at work; call it from any thread."""
        if self.batches is not None:
            self._loop.call_soon_threadsafe(self.batches.stop)

    def would(self, done: str) -> str:
        return f"would be {done}" if self.dry_run else done


def streams(count: int, noun: str = "stream") -> str:
    """Return a number of streams in words."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class SelectingVerb(ActingVerb):
    """A verb for the streams that match the criteria given."""

    statuses: ClassVar[bool] = True
    """Whether it accepts `--status`."""

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        which = parser.add_argument_group("which streams", "Those that match every option given.")
        owner_arguments(which)
        which.add_argument("--id", metavar="STREAM", help="one stream id, in every generation")
        which.add_argument("--generation", type=number, metavar="N", help="one generation")
        which.add_argument(
            "--older-than",
            type=age,
            metavar="AGE",
            help="acquired longer ago than this, such as 30m, 2h, 7d",
        )
        if cls.statuses:
            which.add_argument(
                "--status",
                nargs="+",
                choices=[status.value for status in StreamStatus],
                metavar="STATE",
                help=f"in one of these states: {', '.join(StreamStatus)}",
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

    def counted(self, count: int, noun: str = "stream") -> str:
        """Describe a number of the streams, for a report."""
        return f"{streams(count, noun)} {self.which.removeprefix('streams ')}"

    @property
    def which(self) -> str:
        """Describe the streams, for a question."""
        given = {name: value for name, value in self.arguments().items() if name != "dry_run"}
        criteria = ", ".join(
            f"{name} {'/'.join(value) if isinstance(value, list) else value}"
            for name, value in given.items()
        )
        return f"streams in {self.where}" + (f" ({criteria})" if criteria else "")
