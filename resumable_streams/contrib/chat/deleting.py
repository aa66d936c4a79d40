"""Deleting conversations, with their messages and their streams; for sync code."""

from collections.abc import Sequence
from functools import partial

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ...identifiers import owner_digest
from ...process.runtime import runtime
from ...types import Owner
from .former import delete_former, leave
from .models import Conversation, FormerStream, Message

__all__ = ["conversations_of", "delete_conversations", "delete_rows"]


def conversations_of(
    owner: Owner, *, alias: str | None = None, tenant: str | None = None
) -> QuerySet[Conversation]:
    """Return the conversations of an owner, in every alias and tenant unless one is named."""
    named = {"alias": alias, "tenant": tenant}
    given = {name: value for name, value in named.items() if value is not None}
    rows: QuerySet[Conversation] = Conversation.objects.filter(
        owner_digest=owner_digest(owner), **given
    )
    return rows.order_by("pk")


def delete_rows(conversation: Conversation) -> list[FormerStream]:
    """Delete the rows of a conversation; return its streams, which are to be deleted next."""
    found = Conversation.objects.filter(pk=conversation.pk)
    with transaction.atomic(using=found.db):
        found.update(updated=timezone.now())  # the lock, as in `turns`
        leave(conversation, Message.objects.filter(conversation_id=conversation.pk))
        former = list(FormerStream.objects.filter(conversation_id=conversation.pk))
        found.delete()
    return former


def delete_conversations(conversations: Sequence[Conversation]) -> None:
    """Delete conversations whole: first the rows, so that no end is saved any more.

    Inside a transaction the streams are deleted when it is committed.
    """
    for one in conversations:
        former = delete_rows(one)
        delete = partial(runtime.call_sync, delete_former, former)
        transaction.on_commit(delete, using=Conversation.objects.all().db)
