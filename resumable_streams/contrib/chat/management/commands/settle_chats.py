"""`manage.py settle_chats`: save the answers whose end nobody has told, delete left streams."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from resumable_streams.conf import get_settings
from resumable_streams.contrib.chat.settling import settle_all
from resumable_streams.exceptions import StreamError

__all__ = ["Command"]


class Command(BaseCommand):
    help = (
        "Save the answers of chats whose end nobody has told, because every process was killed. "
        "The next look at a conversation does so, too. Delete the streams of answers that are gone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--using", metavar="ALIAS", help="only of this stream alias")
        parser.add_argument("--dry-run", action="store_true", help="count, and save nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        using, dry_run = options["using"], options["dry_run"]
        try:
            if using is not None:
                get_settings(using)
            counts = settle_all(using=using, dry_run=dry_run)
        except (DatabaseError, ImproperlyConfigured, StreamError) as error:
            raise CommandError(str(error)) from error
        done = "would be saved" if dry_run else "saved"
        saved = counts.settled - counts.failed
        line = f"{saved:,} of {counts.looked_at:,} unfinished answers {done}."
        if counts.settled < counts.looked_at:
            line += " The others are being written."
        self.stdout.write(line)
        if counts.deleted:
            done = "would be deleted" if dry_run else "deleted"
            self.stdout.write(f"{counts.deleted:,} streams of former answers {done}.")
        if counts.failed:
            raise CommandError(f"{counts.failed:,} could not be saved; the log says why.")
