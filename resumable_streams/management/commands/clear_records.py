"""Delete old stream records; the streams themselves expire without anybody's help."""

import argparse
import re
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, router
from django.db.models import QuerySet
from django.utils import timezone

from resumable_streams.conf import get_aliases
from resumable_streams.models import StreamRecord

__all__ = ["Command"]

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def age(text: str) -> timedelta:
    """Parse a whole number and a unit: 90m, 30d."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an age: a whole number and s, m, h, d or w, such as 30d."
        )
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def positive(text: str) -> int:
    """Parse a whole number from 1."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1.")
    return int(text)


class Command(BaseCommand):
    help = "Delete records of streams that were acquired longer ago than --older-than."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", type=age, required=True, metavar="AGE", help="such as 30d, 12h, 90m"
        )
        parser.add_argument("--using", metavar="ALIAS", help="of one stream alias (default: all)")
        parser.add_argument(
            "--batch", type=positive, default=1_000, help="rows of one transaction (1000)"
        )
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        records = self._select(options["older_than"], options["using"])
        try:
            if options["dry_run"]:
                self.stdout.write(f"{records.count()} stream records would be deleted.")
                return
            count = _delete(records, options["batch"])
        except DatabaseError as error:
            raise CommandError(f"The database refused: {error}") from error
        self.stdout.write(f"{count} stream records deleted.")

    def _select(self, older_than: timedelta, alias: str | None) -> "QuerySet[StreamRecord]":
        if alias is not None and alias not in get_aliases():
            raise CommandError(f"RESUMABLE_STREAMS has no alias {alias!r}.")
        before = timezone.now() - older_than
        using = router.db_for_write(StreamRecord)
        records = StreamRecord.objects.using(using).filter(acquired__lt=before)
        return records if alias is None else records.filter(alias=alias)


def _delete(records: "QuerySet[StreamRecord]", batch: int) -> int:
    """Delete the oldest first; interrupted anywhere, the rest is left for the next time."""
    deleted = 0
    # Batches by primary key: not every database can limit a DELETE.
    while keys := list(records.order_by("acquired").values_list("pk", flat=True)[:batch]):
        deleted += records.filter(pk__in=keys).delete()[0]
    return deleted
