"""Old rows of records and incidents: counted, and deleted in batches."""

import logging
from datetime import datetime
from typing import TypeVar

from django.db import router
from django.db.models import Model, QuerySet

from ..models import IncidentAction, StreamRecord
from .bulk import Progress
from .incidents import Operator
from .pairs import Pairs

__all__ = ["delete_rows", "old_incidents", "old_records"]

logger = logging.getLogger("resumable_streams.incidents")

M = TypeVar("M", bound=Model)


def old_records(before: datetime, *, alias: str | None = None) -> QuerySet[StreamRecord]:
    """Return the records of streams acquired before a time, oldest first; None is every alias."""
    using = router.db_for_write(StreamRecord)
    rows = StreamRecord.objects.using(using).filter(acquired__lt=before).order_by("acquired")
    return rows if alias is None else rows.filter(alias=alias)


def old_incidents(before: datetime, *, alias: str | None = None) -> QuerySet[IncidentAction]:
    """Return the actions that began before a time, oldest first; None is every alias."""
    using = router.db_for_write(IncidentAction)
    rows = IncidentAction.objects.using(using).filter(started__lt=before).order_by("started")
    return rows if alias is None else rows.filter(alias=alias)


def delete_rows(
    rows: QuerySet[M], progress: Progress, *, batch: int, by: Operator, reason: str = ""
) -> None:
    """Delete rows in their order, counted in `progress`, and write a line in the log.

    Each batch is a transaction: after an interruption another call deletes the rest.
    """
    try:
        # By primary key, because not every database can limit a DELETE.
        while keys := list(rows.values_list("pk", flat=True)[:batch]):
            deleted = rows.order_by().filter(pk__in=keys).delete()[0]
            progress.add(deleted, deleted)
    finally:
        fields = {"rows": rows.model._meta.model_name, "deleted": progress.done}
        fields |= {**by.as_fields(), "reason": reason}
        logger.info("rows.deleted %s", Pairs(fields), extra=fields)
