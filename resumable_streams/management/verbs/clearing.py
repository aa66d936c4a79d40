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
from resumable_streams.management.console import INTERRUPTED, Terminal, progress_bar
from resumable_streams.operating.bulk import Progress
from resumable_streams.operating.incidents import operator_of_process
from resumable_streams.operating.old_rows import delete_rows

from .verb import common_arguments, reason_argument

__all__ = ["clear_rows", "clearing_arguments"]


def clearing_arguments(parser: ArgumentParser, *, older_than: str) -> None:
    parser.add_argument("--older-than", type=age, required=True, metavar="AGE", help=older_than)
    parser.add_argument("--using", metavar="ALIAS", help="only of this stream alias")
    parser.add_argument(
        "--batch", type=number, default=1_000, metavar="N", help="rows in a transaction (1000)"
    )
    parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    reason_argument(parser)
    common_arguments(parser)


def clear_rows(
    options: Mapping[str, Any],
    terminal: Terminal,
    *,
    old: Callable[..., QuerySet[Any]],
    noun: str,
) -> None:
    """Delete the rows that `old` selects, or count them; `noun` names them to people."""
    before = timezone.now() - timedelta(seconds=options["older_than"])
    progress = Progress()
    error = _attempt(options, terminal, old(before, alias=options["using"]), progress)
    outcome = {
        "action": f"{options['verb']} clear",
        "dry_run": options["dry_run"],
        "reason": options["reason"],
        "counts": {"deleted": progress.done},
        "error": None if error is None else str(error),
    }
    done = "would be deleted" if options["dry_run"] else "deleted"
    line = f"{progress.done:,} {noun} {done}, from before {before:%Y-%m-%d %H:%M:%S}Z."
    terminal.conclude(outcome, [line], is_json=options["json"])
    if error is not None:
        raise error


def _attempt(
    options: Mapping[str, Any], terminal: Terminal, rows: QuerySet[Any], progress: Progress
) -> CommandError | None:
    """Count or delete; return the error that ended it."""
    try:
        count = rows.count()
        if options["dry_run"]:
            progress.add(count, count)
            return None
        by, reason = operator_of_process(), options["reason"]
        with progress_bar(progress, is_wanted=terminal.verbosity > 0, unit="rows", total=count):
            delete_rows(rows, progress, batch=options["batch"], by=by, reason=reason)
    except KeyboardInterrupt:
        return CommandError(
            "Interrupted. The rows counted here are deleted; the same command deletes the rest.",
            returncode=INTERRUPTED,
        )
    except (DatabaseError, ImproperlyConfigured) as error:
        return CommandError(f"The database refused: {error}")
    return None
