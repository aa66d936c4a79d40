"""All answers whose end nobody has told, saved: for the command, and for your code."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ...conf import get_aliases
from ...operating.connection import close_unused, is_open, is_reachable
from ...process.runtime import runtime
from .former import delete_former, left_in_batches
from .logs import look_at
from .models import Conversation
from .saving import is_starting, settle_or_log

__all__ = ["Settled", "settle_all"]

BATCH_ROWS = 200


@dataclass(slots=True)
class Settled:
    """How many running answers were looked at, and how many of them had ended.

    `failed` of these could not be saved: the log says why. `deleted` streams were those of answers
    that are gone.
    """

    looked_at: int = 0
    settled: int = 0
    failed: int = 0
    deleted: int = 0


def settle_all(*, using: str | None = None, dry_run: bool = False) -> Settled:
    """Save every answer that has ended unheard, and delete the streams of those that are gone.

    With `dry_run`, count them only. For sync code.

    Answers of an alias whose streams are in the memory of another process are left alone.
    """
    counts = Settled()
    for alias in get_aliases():
        if using in (None, alias) and is_reachable(alias):
            was_open = is_open(alias)
            try:
                for batch in _batches(alias):
                    runtime.call_sync(_settle, batch, counts, dry_run)
                for former in left_in_batches(alias):
                    counts.deleted += (
                        len(former) if dry_run else runtime.call_sync(delete_former, former)
                    )
            finally:
                runtime.call_sync(close_unused, alias, was_open=was_open)
    return counts


def _batches(alias: str) -> Iterator[list[Conversation]]:
    """Yield the conversations with an answer that runs, as far as anybody said."""
    rows = Conversation.objects.filter(alias=alias, running__isnull=False).order_by("pk")
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH_ROWS]):
        last = batch[-1].pk
        yield batch


async def _settle(batch: Sequence[Conversation], counts: Settled, dry_run: bool) -> None:
    def tenant(conversation: Conversation) -> str:
        return conversation.tenant

    for name, found in groupby(sorted(batch, key=tenant), key=tenant):
        rows = list(found)
        infos = await look_at(rows[0].alias, name, [str(one.running) for one in rows])
        for row, info in zip(rows, infos, strict=True):
            counts.looked_at += 1
            has_ended = not info.is_streaming if info is not None else not is_starting(row)
            counts.settled += has_ended
            if has_ended and not dry_run:
                counts.failed += not await settle_or_log(row, info)
