"""`records forget`: blank what stream records say of a person."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.models import QuerySet

from resumable_streams.identifiers import owner_digest, validate_owner
from resumable_streams.management.arguments import number
from resumable_streams.management.console import INTERRUPTED, Terminal, confirm, progress_bar
from resumable_streams.models import IncidentAction, StreamRecord
from resumable_streams.operating.bulk import Progress
from resumable_streams.operating.forgetting import blank, records_of
from resumable_streams.operating.incidents import incident, operator_of_process
from resumable_streams.types import Owner

from .verb import common_arguments, reason_argument

__all__ = ["Forgetting", "forgetting_arguments"]


def forgetting_arguments(parser: ArgumentParser) -> None:
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--owner", metavar="OWNER", help="the owner, as your OWNER callable names it")
    who.add_argument("--user", metavar="PK", help="the user with this primary key")
    parser.add_argument("--using", metavar="ALIAS", help="only of this stream alias")
    parser.add_argument(
        "--batch", type=number, default=1_000, metavar="N", help="rows in a transaction (1000)"
    )
    parser.add_argument("--dry-run", action="store_true", help="count, and blank nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    reason_argument(parser)
    common_arguments(parser)


class Forgetting:
    """One run of `records forget`. The IncidentAction names the person by the digest alone."""

    def __init__(self, options: Mapping[str, Any]):
        self.options = options
        self.dry_run: bool = options["dry_run"]
        self.owner: Owner = validate_owner(
            options["owner"] if options["user"] is None else f"user:{options['user']}"
        )
        self.arguments: dict[str, Any] = {"owner": owner_digest(self.owner)}
        if self.dry_run:
            self.arguments["dry_run"] = True
        self.progress = Progress()

    def perform(self, terminal: Terminal) -> None:
        """Blank the rows, or count them; print how many they were."""
        if not (self.dry_run or self.options["yes"]):
            confirm(f"Blank owner, user id and addresses in all records of {self._person}?")
        error = self._attempt(terminal)
        outcome = {
            "action": "records forget",
            "alias": self.options["using"],
            "dry_run": self.dry_run,
            "reason": self.options["reason"],
            "arguments": self.arguments,
            "counts": self._counts(),
            "error": None if error is None else str(error),
        }
        terminal.conclude(outcome, self._report(), is_json=self.options["json"])
        if error is not None:
            raise error

    @property
    def _person(self) -> str:
        return f"owner {self.arguments['owner']}"

    def _counts(self) -> dict[str, int]:
        return {"forgotten": self.progress.done}

    def _report(self) -> list[str]:
        would = "would be blanked" if self.dry_run else "blanked"
        lines = [f"{self.progress.done:,} stream records of {self._person} {would}."]
        if self.progress.done and not self.dry_run:
            lines.append(
                "The streams are untouched (`purge` erases them), and so are log files and backups."
            )
        return lines

    def _attempt(self, terminal: Terminal) -> CommandError | None:
        """Count or blank; return the error that ended it."""
        try:
            with incident(
                IncidentAction.Action.FORGET,
                alias=self.options["using"] or "",
                by=operator_of_process(),
                reason=self.options["reason"],
                arguments=self.arguments,
                dry_run=self.dry_run,
            ) as act:
                try:
                    self._forget(terminal)
                finally:
                    act.counts = self._counts()
        except KeyboardInterrupt:
            return CommandError(
                "Interrupted. The rows counted here are blanked; the same command does the rest.",
                returncode=INTERRUPTED,
            )
        except (DatabaseError, ImproperlyConfigured) as error:
            return CommandError(f"The database refused: {error}")
        return None

    def _forget(self, terminal: Terminal) -> None:
        rows: QuerySet[StreamRecord] = records_of(
            self.owner, user=self.options["user"], alias=self.options["using"]
        )
        count = rows.count()
        if self.dry_run:
            self.progress.add(count, count)
            return
        wanted = terminal.verbosity > 0
        with progress_bar(self.progress, is_wanted=wanted, unit="rows", total=count):
            blank(rows, self.progress, batch=self.options["batch"])
