"""The conversations of an owner: sync code for the database.

An owner may have several names, as after a login: the conversations of all of them are there. Those
of the visitor move to the account.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from ...conf import project_setting
from ...exceptions import InvalidOwner
from ...identifiers import DEFAULT_TENANT, owner_digest
from ...owners import Identity
from ...types import Owner
from .models import Conversation
from .parts import BadQuestion

__all__ = ["Cursor", "Place"]

VISITOR = "session:"


class BadCursor(BadQuestion):
    """A cursor that is not the `next` of an earlier page."""

    word = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("A cursor is the 'next' of an earlier page.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The place in a list at which the next page begins."""

    updated: datetime
    pk: int

    def __str__(self) -> str:
        text = json.dumps([self.updated.isoformat(), self.pk])
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Return the cursor that a client hands back; raise BadCursor for any other text."""
        try:
            updated, pk = json.loads(base64.urlsafe_b64decode(text.encode()))
            found = datetime.fromisoformat(updated)
        except (ValueError, TypeError, RecursionError) as error:
            raise BadCursor from error
        is_of_ours = (found.tzinfo is not None) is project_setting("USE_TZ")
        if not is_of_ours or type(pk) is not int or abs(pk) >= 2**63:
            raise BadCursor
        if not datetime.min.year < found.year < datetime.max.year:  # no database converts these
            raise BadCursor
        return cls(updated=found, pk=pk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The conversations that somebody may reach in a chat; in all chats, where it is None.

    A new one belongs to the first owner.
    """

    alias: str
    chat: str | None
    tenant: str
    owners: tuple[Owner, ...]

    @classmethod
    def of(cls, identity: Identity, alias: str, *, chat: str | None) -> "Place":
        """Return the place of the one who asks; raise InvalidOwner for nobody."""
        if not identity.owners:
            raise InvalidOwner
        tenant = identity.tenant or DEFAULT_TENANT
        return cls(alias=alias, chat=chat, tenant=tenant, owners=identity.owners)

    def conversations(self) -> QuerySet[Conversation]:
        return self._of(self.owners)

    def _of(self, owners: Sequence[Owner]) -> QuerySet[Conversation]:
        digests = [owner_digest(owner) for owner in owners]
        named = {} if self.chat is None else {"chat": self.chat}
        rows = Conversation.objects.filter(alias=self.alias, tenant=self.tenant, **named)
        return (
            rows.filter(owner_digest=digests[0])
            if len(digests) == 1
            else rows.filter(owner_digest__in=digests)
        )

    def find(self, key: str) -> Conversation | None:
        """Return the conversation of that key, the first owner's before those of others."""
        self.move_in()
        found = {one.owner_digest: one for one in self.conversations().filter(key=key)}
        digests = map(owner_digest, self.owners)
        return next((found[digest] for digest in digests if digest in found), None)

    def page(self, cursor: Cursor | None, size: int) -> list[Conversation]:
        """Return the latest conversations from the cursor on, and one more if there are more."""
        self.move_in()
        rows = self.conversations()
        if cursor is not None:
            same = Q(updated=cursor.updated, pk__lt=cursor.pk)
            rows = rows.filter(Q(updated__lt=cursor.updated) | same)
        return list(rows.order_by("-updated", "-id")[: size + 1])

    def begin(self, key: str) -> Conversation:
        """Return the conversation of that key, which is made if it is not there."""
        if (found := self.find(key)) is not None:
            return found
        owner = self.owners[0]
        place = {"alias": self.alias, "tenant": self.tenant, "chat": self.chat or ""}
        names: dict[str, Any] = {**place, "key": key}
        named = {"owner": owner} if isinstance(owner, str) else {}
        made: Conversation
        made, _ = Conversation.objects.get_or_create(
            owner_digest=owner_digest(owner), **names, defaults=named
        )
        return made

    def move_in(self) -> None:
        """Give the first owner what it has as a visitor, from before its login.

        Of two conversations with one key, the visitor's stays its own.
        """
        first, *others = self.owners
        visitors = [one for one in others if isinstance(one, str) and one.startswith(VISITOR)]
        if not visitors or not isinstance(first, str) or first.startswith(VISITOR):
            return
        theirs = self._of(visitors).values_list("pk", "chat", "key")
        keys = {key for _, _, key in theirs}
        if not keys:
            return
        taken = set(self._of([first]).filter(key__in=keys).values_list("chat", "key"))
        free = [pk for pk, chat, key in theirs if (chat, key) not in taken]
        moving = Conversation.objects.filter(pk__in=free)
        try:
            with transaction.atomic(using=moving.db):
                moving.update(owner=first, owner_digest=owner_digest(first))
        except IntegrityError:
            pass  # begun under the same key meanwhile: the next look moves the rest
