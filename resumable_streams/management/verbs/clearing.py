"""`… clear`: the options and the run of a verb that deletes old rows."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.models import QuerySet
from django.utils import timezone

from resumable_streams.management.arguments import age, number
from resumable_streams.management.console import Terminal
from resumable_streams.operating.old_rows import delete_rows

from .verb import common_arguments

__all__ = ["clear_rows", "clearing_arguments"]


def clearing_arguments(parser: ArgumentParser, *, older_than: str) -> None:
    parser.add_argument("--older-than", type=age, required=True, metavar="AGE", help=older_than)
    parser.add_argument("--using", metavar="ALIAS", help="only of this stream alias")
    parser.add_argument(
        "--batch", type=number, default=1_000, metavar="N", help="rows in a transaction (1000)"
    )
    parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    common_arguments(parser)


def clear_rows(
    options: Mapping[str, Any],
    terminal: Terminal,
    *,
    old: Callable[..., QuerySet[Any]],
    noun: str,
) -> None:
    """Delete the rows that `old` selects, or count them; `noun` names them to people."""
    rows = old(timezone.now() - timedelta(seconds=options["older_than"]), alias=options["using"])
    try:
        if options["dry_run"]:
            count, done = rows.count(), "would be deleted"
        else:
            count, done = delete_rows(rows, batch=options["batch"]), "deleted"
    except (DatabaseError, ImproperlyConfigured) as error:
        raise CommandError(f"The database refused: {error}") from error
    outcome = {"action": f"{options['verb']} clear", "counts": {"deleted": count}}
    terminal.conclude(outcome, [f"{count:,} {noun} {done}."], is_json=options["json"])
