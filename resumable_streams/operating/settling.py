"""From records back to the streams: how those ended whose end nobody has written."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import router
from django.db.models import QuerySet
from django.utils import timezone

from ..conf import get_settings
from ..identifiers import owner_digest
from ..models import StreamNamespace, StreamRecord
from ..process.runtime import runtime
from ..stores.base import known
from ..types import StreamInfo, StreamKey
from .bulk import Progress
from .connection import open_store
from .recorder import BATCH_ROWS, flush

__all__ = ["look", "settle", "settle_written", "unsettled"]

CLOCKS_DIFFER_SECONDS = 1.0  # those of the database and of the store

Status = StreamRecord.Status


def look(alias: str, records: Sequence[StreamRecord]) -> list[StreamInfo | None]:
    """Return the state of the streams of records (all of one alias) now, in one batch.

    None means that the stream is gone, or that its id belongs to another owner or incarnation by
    now. A revoked or rotated stream, which nobody can resume, still has a state. For sync code;
    raises StoreUnavailable and InvalidStoreError.
    """
    generations = _generations(alias, records)
    keys = [
        StreamKey(
            tenant=record.tenant,
            generation=record.generation or generations.get(record.tenant, 1),
            stream_id=record.stream_id,
        )
        for record in records
    ]
    infos = runtime.call_sync(_status, alias, keys)
    return [
        info if info is not None and _is_of(record, info) else None
        for record, info in zip(records, infos, strict=True)
    ]


def _generations(alias: str, records: Sequence[StreamRecord]) -> dict[str, int]:
    tenants = {record.tenant for record in records}
    found = StreamNamespace.objects.filter(alias=alias, tenant__in=tenants)
    return dict(found.values_list("tenant", "generation"))


async def _status(alias: str, keys: Sequence[StreamKey]) -> list[StreamInfo | None]:
    async with open_store(alias) as store:
        return [known(outcome) for outcome in await store.status(keys)]


def _is_of(record: StreamRecord, info: StreamInfo) -> bool:
    if record.epoch:
        same_incarnation = record.epoch == info.epoch
    else:  # a later one was acquired after this record was made
        latest = record.acquired.timestamp() + CLOCKS_DIFFER_SECONDS
        same_incarnation = info.created <= latest
    # A record without a digest is of somebody who was forgotten.
    return same_incarnation and record.owner_digest in ("", owner_digest(info.owner))


def unsettled(alias: str) -> QuerySet[StreamRecord]:
    """Return the records whose streams are streaming as far as anybody said, older than a lease."""
    before = timezone.now() - timedelta(seconds=get_settings(alias).lease)
    using = router.db_for_write(StreamRecord)  # a replica may not have heard of an end yet
    rows = StreamRecord.objects.using(using)
    return rows.filter(alias=alias, status=Status.STREAMING, acquired__lt=before)


def settle(
    alias: str,
    *,
    progress: Progress | None = None,
    batch: int = BATCH_ROWS,
    dry_run: bool = False,
) -> int:
    """Complete the records of streams that ended unheard (a killed process); return how many.

    The store says how they ended; a stream that it no longer knows is `lost`. With `dry_run`, the
    records are counted and stay as they are. For sync code.
    """
    flush()
    progress = progress or Progress()
    settle_written(alias, progress, batch=batch, dry_run=dry_run)
    return progress.done


def settle_written(
    alias: str,
    progress: Progress | None = None,
    *,
    batch: int = BATCH_ROWS,
    dry_run: bool = False,
) -> None:
    """Do the same with the records that are written by now."""
    progress = progress or Progress()
    streaming, last = unsettled(alias).order_by("pk"), 0
    while records := list(streaming.filter(pk__gt=last)[:batch]):
        last = records[-1].pk
        ended = [
            (record, info)
            for record, info in zip(records, look(alias, records), strict=True)
            if info is None or not info.is_streaming
        ]
        if dry_run:
            progress.add(len(records), len(ended))
            continue
        settled = sum(_complete(record, info, timezone.now()) for record, info in ended)
        progress.add(len(records), settled)


def _complete(record: StreamRecord, info: StreamInfo | None, now: datetime) -> int:
    changes: dict[str, Any] = {"status": str(Status.LOST), "ended": now}
    if info is not None:
        changes |= {
            "status": str(info.status),
            "error_code": str(info.error_code)[:64],
            "size": info.size,
        }
    using = router.db_for_write(StreamRecord)
    # The producer's own word, if it came in the meantime, is the better one.
    found = StreamRecord.objects.using(using).filter(pk=record.pk, status=Status.STREAMING)
    return found.update(**changes)
