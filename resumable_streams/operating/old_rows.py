"""Old rows of records and incidents: counted, and deleted in batches."""

import logging
from datetime import datetime
from typing import TypeVar

from django.db import router
from django.db.models import Model, QuerySet

from ..models import IncidentAction, StreamRecord
from .incidents import operating_user

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


def delete_rows(rows: QuerySet[M], *, batch: int) -> int:
    """Delete rows in their order, and write a line in the log; return how many there were.

    Each batch is a transaction: after an interruption another call deletes the rest.
    """
    deleted = 0
    # By primary key, because not every database can limit a DELETE.
    while keys := list(rows.values_list("pk", flat=True)[:batch]):
        deleted += rows.order_by().filter(pk__in=keys).delete()[0]
    name = rows.model._meta.verbose_name_plural
    logger.info("%d old %s deleted by %s", deleted, name, operating_user())
    return deleted
