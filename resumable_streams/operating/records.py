"""Stream records: a row for each stream, written off its path.

    signals -> bounded queue -> one thread, batches -> database

The receivers take the facts of a request, put them into the queue and never wait. A thread of our
own writes in batches. While the database is slow or away, it waits and tries again, and the queue
fills. Records that no longer fit, or cannot be written in the end, are counted and logged: no
stream waits for its record.

The end of a stream updates its row; if start and end share a batch, they are one write. A process
that is killed writes no more: whoever takes over its streams settles its rows from the store. Only
aliases with RECORDS take part; without any, no receiver is connected and no thread runs.
"""

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.core.signals import setting_changed
from django.db import (
    InterfaceError,
    OperationalError,
    close_old_connections,
    connections,
    router,
    transaction,
)
from django.db.models import QuerySet
from django.utils import timezone

from ..conf import SETTING, get_aliases, get_settings
from ..exceptions import InvalidStoreError
from ..identifiers import owner_digest
from ..models import StreamNamespace, StreamRecord
from ..process.green import Mailbox, mailbox, start_thread
from ..process.runtime import runtime
from ..signals import inline, owner_bound, process_taken_over, stream_deleted, stream_finalized
from ..stores.base import known
from ..types import CutOff, ErrorCode, Owner, StreamInfo, StreamKey
from .bulk import Progress
from .client_info import client_ip, request_id, user_id
from .connection import open_store

__all__ = [
    "RecordEnding",
    "Recorder",
    "configure",
    "flush",
    "look",
    "recorder",
    "settle",
    "unsettled",
]

logger = logging.getLogger("resumable_streams.records")

QUEUE_ROWS = 10_000
BATCH_ROWS = 500
GATHER_SECONDS = 0.5
IDLE_SECONDS = 10.0
RETRY_PAUSES = (0.2, 1.0, 3.0)
EXIT_SECONDS = 5.0
CLOCKS_DIFFER_SECONDS = 1.0  # those of the database and of the store

Status = StreamRecord.Status
Election = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEnding:
    """The end of a stream, for the row that its start has written."""

    election: Election  # alias, tenant, stream id
    epoch: str
    changes: dict[str, Any]

    def belongs_to(self, row: StreamRecord) -> bool:
        return row.status == Status.STREAMING and self.epoch in ("", row.epoch)


Entry = StreamRecord | RecordEnding


@dataclass(frozen=True, slots=True)
class Settling:
    """The wish to settle the records of an alias, because a process of it has died."""

    alias: str


Mark = threading.Event | Settling
"""An item of the queue that ends a batch: somebody waits for it, or work that follows it."""


class Recorder:
    """The writer of records, in its own thread; `put` is for the event loop and never waits."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        """Start empty, also in a forked child: its parent writes the entries queued before."""
        self._queue: Mailbox[Entry | Mark] = mailbox()
        self._has_thread = False
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self._is_full = False
        self._refused = 0
        self.written = 0
        self.lost = 0

    @property
    def queued(self) -> int:
        return self._queue.qsize()

    def put(self, entry: Entry | Settling) -> None:
        """Queue an entry; one too many is counted as lost."""
        if self._queue.qsize() >= QUEUE_ROWS:
            self._refuse()
            return
        self._queue.put(entry)
        if not self._has_thread:
            self._start()

    def flush(self, timeout: float = EXIT_SECONDS) -> bool:
        """Wait until every entry queued so far is written or lost; return False at the timeout."""
        if not self._has_thread:
            return True
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout)

    def close(self) -> None:
        """Write the queued entries within EXIT_SECONDS, because the process ends."""
        self._closing.set()  # no more pauses
        if not self.flush() or self._refused:
            self._lose(self.queued + self._take_refused(), "the process ended")

    def _refuse(self) -> None:
        self._refused += 1
        if not self._is_full:
            self._is_full = True
            logger.error("The queue of stream records is full: records are being lost.")

    def _take_refused(self) -> int:
        refused, self._refused, self._is_full = self._refused, 0, False
        return refused

    def _start(self) -> None:
        with self._starting:
            if not self._has_thread:
                start_thread(self._work, name="resumable_streams.records", daemon=True)
                self._has_thread = True
                atexit.register(self.close)

    # In the thread.

    def _work(self) -> None:
        idle: float | None = None
        while True:
            try:
                first = self._queue.get(timeout=idle)
            except queue.Empty:
                connections.close_all()
                idle = None
                continue
            entries, marks = self._gather(first)
            try:
                self._write(entries)
            except Exception as error:
                self._lose(len(entries), type(error).__name__, error)
            if refused := self._take_refused():
                self._lose(refused, "the queue was full")
            for mark in marks:
                self._reach(mark)
            idle = IDLE_SECONDS

    def _reach(self, mark: Mark) -> None:
        if isinstance(mark, threading.Event):  # at an end, of the process or of a command
            connections.close_all()
            mark.set()
        elif not self._closing.is_set():
            try:
                _settle(mark.alias, Progress(), batch=BATCH_ROWS)
            except Exception:  # `records settle` does it later
                logger.exception("The records of a dead process could not be settled.")

    def _gather(self, first: Entry | Mark) -> tuple[list[Entry], list[Mark]]:
        """Return a batch: the entries of GATHER_SECONDS, or fewer if somebody waits for them."""
        entries: list[Entry] = []
        deadline = time.monotonic() + GATHER_SECONDS
        entry: Entry | Mark = first
        while True:
            if isinstance(entry, Mark):
                return entries, [entry]
            entries.append(entry)
            left = 0.0 if self._closing.is_set() else deadline - time.monotonic()
            if len(entries) >= BATCH_ROWS:
                return entries, []
            try:
                entry = self._queue.get(timeout=max(left, 0.0))
            except queue.Empty:
                return entries, []

    def _write(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        using = router.db_for_write(StreamRecord)
        rows, endings = merge(entries)
        for attempt, pause in enumerate((*RETRY_PAUSES, None)):
            try:
                close_old_connections()
                _save(using, rows, endings, again=attempt > 0)
                break
            except (OperationalError, InterfaceError):  # away, or busy
                connections[using].close()
                if pause is None:
                    raise
                self._closing.wait(pause)
            except Exception:
                self._write_singly(using, rows, endings)
                return
        self.written += len(entries)

    def _write_singly(
        self, using: str, rows: Sequence[StreamRecord], endings: Sequence[RecordEnding]
    ) -> None:
        """Write the entries of a refused batch one by one, and lose the bad ones."""
        singles: list[Entry] = [*rows, *endings]
        for entry in singles:
            try:
                _save(using, *merge([entry]), again=True)
                self.written += 1
            except Exception as error:
                self._lose(1, type(error).__name__, error)

    def _lose(self, count: int, reason: str, error: Exception | None = None) -> None:
        self.lost += count
        logger.error("%d stream records were not written: %s.", count, reason, exc_info=error)


def merge(entries: Sequence[Entry]) -> tuple[list[StreamRecord], list[RecordEnding]]:
    """Return the rows to add, with the endings that came in time, and the endings of other rows."""
    rows: list[StreamRecord] = []
    endings: list[RecordEnding] = []
    latest: dict[Election, StreamRecord] = {}
    for entry in entries:
        if isinstance(entry, StreamRecord):
            rows.append(entry)
            latest[entry.alias, entry.tenant, entry.stream_id] = entry
            continue
        row = latest.get(entry.election)
        if row is None:
            endings.append(entry)
        elif entry.belongs_to(row):
            for name, value in entry.changes.items():
                setattr(row, name, value)
    return rows, endings


def _save(
    using: str, rows: Sequence[StreamRecord], endings: Sequence[RecordEnding], *, again: bool
) -> None:
    with transaction.atomic(using=using):
        # The answer to a commit may have been lost: then the rows are there.
        StreamRecord.objects.using(using).bulk_create(_absent(using, rows) if again else rows)
        for ending in endings:
            alias, tenant, stream_id = ending.election
            found = StreamRecord.objects.using(using).filter(
                alias=alias, tenant=tenant, stream_id=stream_id, status=Status.STREAMING
            )
            if ending.epoch:
                found = found.filter(epoch=ending.epoch)
            found.update(**ending.changes)


def _absent(using: str, rows: Sequence[StreamRecord]) -> list[StreamRecord]:
    fields = ("stream_id", "acquired", "tenant", "alias")
    ids = [row.stream_id for row in rows]
    found = StreamRecord.objects.using(using).filter(stream_id__in=ids)
    present = set(found.values_list(*fields))
    absent = [r for r in rows if (r.stream_id, r.acquired, r.tenant, r.alias) not in present]
    for row in absent:
        row.pk = None  # the attempt that failed has given it one
    return absent


recorder = Recorder()
"""The recorder of this process."""

flush = recorder.flush

os.register_at_fork(after_in_child=recorder._reset)


# From the signals.


def _quietly(receiver: Callable[..., None]) -> Callable[..., None]:
    """Log the errors of a receiver, whatever HOOK_ERRORS says: no stream fails for its record."""

    @inline  # it only puts something on a queue
    @wraps(receiver)
    def receive(*, alias: str, **named: Any) -> None:
        try:
            if get_settings(alias).records:
                receiver(alias=alias, **named)
        except Exception:
            logger.exception("A stream could not be recorded.")

    return receive


@_quietly
def _started(
    *,
    alias: str,
    tenant: str,
    generation: int,
    stream_id: str,
    epoch: str,
    owner: Owner,
    request: Any,
    **named: Any,
) -> None:
    recorder.put(
        StreamRecord(
            alias=alias,
            tenant=tenant,
            generation=generation,
            stream_id=stream_id,
            epoch=epoch,
            owner=owner.replace("\0", "\ufffd") if isinstance(owner, str) else "",
            owner_digest=owner_digest(owner),
            user=user_id(request),
            request_id=request_id(request),
            ip=client_ip(request, get_settings(alias).trusted_proxies),
            acquired=timezone.now(),
        )
    )


@_quietly
def _finalized(
    *,
    alias: str,
    tenant: str,
    stream_id: str,
    epoch: str,
    status: str,
    error_code: str,
    size: int,
    duration: float,
    **named: Any,
) -> None:
    if error_code == ErrorCode.EXPIRED:  # under its producer, by whatever process
        status = Status.DELETED
    elif error_code in list(CutOff):
        status, error_code = Status(error_code), ""
    recorder.put(
        RecordEnding(
            election=(alias, tenant, stream_id),
            epoch=epoch,
            changes={
                "status": str(status),
                "error_code": str(error_code)[:64],
                "size": size,
                "duration": duration,
                "ended": timezone.now(),
            },
        )
    )


@_quietly
def _deleted(*, alias: str, tenant: str, stream_id: str, epoch: str, **named: Any) -> None:
    recorder.put(
        RecordEnding(
            election=(alias, tenant, stream_id),
            epoch=epoch,
            changes={"status": str(Status.DELETED), "ended": timezone.now()},
        )
    )


@_quietly
def _taken_over(*, alias: str, **named: Any) -> None:
    recorder.put(Settling(alias))  # it may have died with ends that it had not written


RECEIVERS = (
    (owner_bound, _started),
    (stream_finalized, _finalized),
    (stream_deleted, _deleted),
    (process_taken_over, _taken_over),
)


def configure() -> None:
    """Connect the receivers if any alias has RECORDS; called when Django is ready.

    A start arrives as `owner_bound`, which only producers send, before their source starts.
    """
    try:
        wanted = any(get_settings(alias).records for alias in get_aliases())
    except InvalidStoreError:  # the system checks tell
        wanted = False
    for signal, receiver in RECEIVERS:
        if wanted:
            signal.connect(receiver, dispatch_uid="resumable_streams.records")
        else:
            signal.disconnect(receiver, dispatch_uid="resumable_streams.records")


def _reconfigure(*, setting: str, **kwargs: object) -> None:
    if setting == SETTING:
        configure()


setting_changed.connect(_reconfigure)  # after the receiver of `conf`, which forgets the old value


# From the records back to the streams.


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
    _settle(alias, progress, batch=batch, dry_run=dry_run)
    return progress.done


def _settle(alias: str, progress: Progress, *, batch: int, dry_run: bool = False) -> None:
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
