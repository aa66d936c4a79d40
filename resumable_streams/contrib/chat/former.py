"""Former streams: those of answers that were replaced, gone on with, or deleted.

A row of one is written in the transaction that takes the stream from its message, and deleted after
the stream. If the process dies in between, the next answer of the conversation, its deletion or
`settle_chats` deletes the stream. Deleting one twice does no harm.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby

from django.db import DatabaseError
from django.db.models import Q, QuerySet

from ...process.threads import run_sync
from . import logs
from .models import Conversation, FormerStream, Message

__all__ = ["delete_former", "former_at_end_of", "is_awaited", "leave", "left_in_batches"]

BATCH_ROWS = 200


def leave(conversation: Conversation, messages: QuerySet[Message]) -> None:
    """Note the streams of messages that are about to lose them; for sync code, in a transaction."""
    ids = messages.filter(stream_id__isnull=False).values_list("stream_id", flat=True)
    FormerStream.objects.bulk_create(
        FormerStream(
            conversation=conversation,
            alias=conversation.alias,
            tenant=conversation.tenant,
            stream_id=str(one),
        )
        for one in ids
    )


def is_awaited(conversation: Conversation, stream_id: str) -> bool:
    """Return whether a message waits for a stream that was just elected; for sync code.

    It was deleted meanwhile if not. Its stream is a former one then, and deleted at its end: who
    deleted the message may have looked for the stream before it was there.
    """
    try:
        if Message.objects.filter(stream_id=stream_id).exists():
            return True
    except DatabaseError:  # which is there again when the answer ends, perhaps
        return True
    FormerStream.objects.get_or_create(
        stream_id=stream_id,
        defaults={"alias": conversation.alias, "tenant": conversation.tenant},
    )
    return False


def former_at_end_of(stream_id: str) -> list[FormerStream]:
    """Return the streams to delete when the end of one is told; for sync code.

    Those of its conversation, or itself, if its conversation is gone.
    """
    answer = Message.objects.filter(stream_id=stream_id).values("conversation_id")
    is_orphan = Q(stream_id=stream_id, conversation=None)
    return list(FormerStream.objects.filter(Q(conversation_id__in=answer) | is_orphan))


async def delete_former(former: Iterable[FormerStream]) -> int:
    """Delete streams, then their rows; return how many. Raises StoreUnavailable."""
    count = 0
    ordered = sorted(former, key=_place)
    for (alias, tenant), found in groupby(ordered, key=_place):
        ids = [one.stream_id for one in found]
        await logs.delete(alias, tenant, ids)
        await run_sync(partial(_delete_rows, ids))
        count += len(ids)
    return count


def _place(former: FormerStream) -> tuple[str, str]:
    return former.alias, former.tenant


def _delete_rows(ids: list[str]) -> None:
    FormerStream.objects.filter(stream_id__in=ids).delete()


def left_in_batches(alias: str) -> Iterator[list[FormerStream]]:
    """Yield the former streams of an alias that are still there."""
    rows = FormerStream.objects.filter(alias=alias).order_by("pk")
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH_ROWS]):
        last = batch[-1].pk
        yield batch
