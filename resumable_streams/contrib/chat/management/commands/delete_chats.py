"""`manage.py delete_chats`: delete the conversations of one person, with their streams."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from resumable_streams.conf import get_settings
from resumable_streams.contrib.chat.deleting import conversations_of, delete_conversations
from resumable_streams.exceptions import InvalidOwner, StreamError
from resumable_streams.identifiers import owner_digest, validate_owner
from resumable_streams.management.console import confirm
from resumable_streams.models import IncidentAction
from resumable_streams.operating.incidents import incident, operator_of_process
from resumable_streams.types import Owner

__all__ = ["Command"]

BATCH_ROWS = 100


class Command(BaseCommand):
    help = (
        "Delete all conversations of one person, with their messages and their streams. Running "
        "answers end. After an interruption the same command deletes the rest."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument(
            "--owner", metavar="OWNER", help="the owner, as your OWNER callable names it"
        )
        who.add_argument("--user", metavar="PK", help="the user with this primary key")
        parser.add_argument("--using", metavar="ALIAS", help="only of this stream alias")
        parser.add_argument("--tenant", metavar="SLUG", help="only of this tenant")
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        parser.add_argument("--reason", default="", metavar="TEXT", help="recorded with the action")

    def handle(self, *args: Any, **options: Any) -> None:
        given = options["owner"] if options["user"] is None else f"user:{options['user']}"
        try:
            if options["using"] is not None:
                get_settings(options["using"])
            self._delete(validate_owner(given), options)
        except (DatabaseError, ImproperlyConfigured, InvalidOwner, StreamError) as error:
            raise CommandError(str(error)) from error

    def _delete(self, owner: Owner, options: dict[str, Any]) -> None:
        rows = conversations_of(owner, alias=options["using"], tenant=options["tenant"])
        count, person = rows.count(), f"owner {owner_digest(owner)}"
        if options["dry_run"]:
            self.stdout.write(f"{count:,} conversations of {person} would be deleted.")
            return
        if not options["yes"]:
            confirm(f"Delete {count:,} conversations of {person}?")
        deleted = 0
        with incident(
            IncidentAction.Action.FORGET,
            alias=options["using"] or "",
            tenant=options["tenant"] or "",
            by=operator_of_process(),
            reason=options["reason"],
            arguments={"owner": owner_digest(owner), "of": "chats"},
        ) as act:
            while batch := list(rows[:BATCH_ROWS]):
                delete_conversations(batch)
                deleted += len(batch)
                act.counts = {"deleted": deleted}
        self.stdout.write(f"{deleted:,} conversations of {person} deleted, with their streams.")
