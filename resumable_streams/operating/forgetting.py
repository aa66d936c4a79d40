"""Forgetting a person: the personal data in stream records, blanked in batches.

The rows stay, with the stream, its times and its end. What identifies a person goes: the owner and
its digest, the user id, the address, and the request id, by which access logs name an address.
"""

from django.db import router
from django.db.models import Q, QuerySet

from ..identifiers import owner_digest
from ..models import StreamRecord
from ..types import Owner
from .bulk import Progress

__all__ = ["blank", "records_of"]


def records_of(
    owner: Owner, *, user: str | None = None, alias: str | None = None
) -> QuerySet[StreamRecord]:
    """Return the records of an owner and, with `user`, of a user id whoever the owner was."""
    named = Q(owner_digest=owner_digest(owner))
    if user is not None:
        named |= Q(user=user)
    rows = StreamRecord.objects.using(router.db_for_write(StreamRecord)).filter(named)
    return rows if alias is None else rows.filter(alias=alias)


def blank(rows: QuerySet[StreamRecord], progress: Progress, *, batch: int) -> None:
    """Blank the personal data of rows. After an interruption another call blanks the rest."""
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:batch]):
        chosen = rows.order_by().filter(pk__in=keys)
        blanked = chosen.update(owner="", owner_digest="", user="", ip=None, request_id="")
        progress.add(blanked, blanked)
