"""`records clear`, `settle` and `forget`: the rows of stream records. No stream is touched."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DatabaseError

from resumable_streams.conf import get_aliases, get_settings
from resumable_streams.management.console import Terminal, progress_bar
from resumable_streams.management.performing import out_of_reach
from resumable_streams.operating.bulk import Progress
from resumable_streams.operating.connection import close_unused, is_open, is_reachable
from resumable_streams.operating.old_rows import old_records
from resumable_streams.operating.settling import settle, unsettled
from resumable_streams.process.runtime import runtime

from .clearing import clear_rows, clearing_arguments
from .forgetting import Forgetting, forgetting_arguments
from .verb import Verb, common_arguments

__all__ = ["Records", "settle_alias"]


class Records(Verb):
    """The verb that deletes old stream records, completes unfinished ones, or blanks a person's."""

    name = "records"
    help = (
        "Delete old stream records (clear), complete unfinished ones (settle), or blank what they "
        "say of a person (forget)."
    )

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="clear | settle | forget")
        clearing = acts.add_parser(
            "clear",
            help="delete old records",
            description="Delete the records of streams that were acquired longer ago than "
            "--older-than. The streams themselves expire by their TTL.",
        )
        clearing_arguments(clearing, older_than="acquired longer ago, such as 30d, 12h, 90m")
        settling = acts.add_parser(
            "settle",
            help="complete unfinished records",
            description="Complete the records of streams that ended unheard, because a process was "
            "killed. The store says how they ended; if it no longer knows a stream, the record "
            "says 'lost'.",
        )
        settling.add_argument("--using", metavar="ALIAS", help="only of this stream alias")
        settling.add_argument("--dry-run", action="store_true", help="count, and complete nothing")
        settling.add_argument("--json", action="store_true", help="print one JSON object")
        common_arguments(settling)
        forgetting_arguments(
            acts.add_parser(
                "forget",
                help="blank what records say of a person",
                description="Blank owner, owner digest, user id, address and request id in the "
                "records of one person. The rows stay, with the times and ends of the streams.",
            )
        )

    def __init__(self, options: Mapping[str, Any]):
        super().__init__(options)
        if options["using"] is not None:
            get_settings(options["using"])

    def perform(self, terminal: Terminal) -> None:
        match self.options["act"]:
            case "clear":
                clear_rows(self.options, terminal, old=old_records, noun="stream records")
            case "forget":
                Forgetting(self.options).perform(terminal)
            case _:
                self._settle(terminal)

    def _settle(self, terminal: Terminal) -> None:
        alias, dry_run = self.options["using"], self.options["dry_run"]
        if alias is not None and not is_reachable(alias):
            raise CommandError(out_of_reach(alias))
        aliases = [one for one in get_aliases() if one == (alias or one) and is_reachable(one)]
        progress = Progress()
        try:
            total = sum(unsettled(one).count() for one in aliases)
            with progress_bar(progress, is_wanted=terminal.verbosity > 0, unit="rows", total=total):
                for one in aliases:
                    settle_alias(one, progress, dry_run=dry_run)
        except (DatabaseError, ImproperlyConfigured) as error:
            raise CommandError(f"The database refused: {error}") from error
        outcome = {
            "action": "records settle",
            "dry_run": dry_run,
            "counts": {"looked_at": progress.met, "settled": progress.done},
            "error": None,
        }
        done = "would be completed" if dry_run else "completed"
        line = f"{progress.done:,} of {progress.met:,} unfinished stream records {done}."
        if progress.done < progress.met:
            line += " The others are of streams that run."
        terminal.conclude(outcome, [line], is_json=self.options["json"])


def settle_alias(alias: str, progress: Progress, *, dry_run: bool = False) -> None:
    """Settle the records of an alias, and close what was not in use in this process before."""
    was_open = is_open(alias)
    try:
        settle(alias, progress=progress, dry_run=dry_run)
    finally:
        runtime.call_sync(close_unused, alias, was_open=was_open)
