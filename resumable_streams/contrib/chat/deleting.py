"""Deleting conversations, with their messages and their streams; for sync code."""

from collections.abc import Sequence
from functools import partial

from django.db import transaction
from django.utils import timezone

from ...process.runtime import runtime
from . import logs
from .models import Conversation, Message

__all__ = ["delete_conversations", "delete_rows"]


def delete_rows(conversation: Conversation) -> list[str]:
    """Delete the rows of a conversation; return the ids of its streams."""
    found = Conversation.objects.filter(pk=conversation.pk)
    with transaction.atomic(using=found.db):
        found.update(updated=timezone.now())  # the lock, as in `turns`
        rows = Message.objects.filter(conversation_id=conversation.pk, stream_id__isnull=False)
        ids = [str(one) for one in rows.values_list("stream_id", flat=True)]
        found.delete()
    return ids


def delete_conversations(conversations: Sequence[Conversation]) -> None:
    """Delete conversations whole: first the rows, so that no end is saved any more.

    Inside a transaction the streams are deleted when it is committed.
    """
    for one in conversations:
        ids = delete_rows(one)
        delete = partial(runtime.call_sync, logs.delete, one.alias, one.tenant, ids)
        transaction.on_commit(delete, using=Conversation.objects.all().db)
