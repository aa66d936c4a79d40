"""The recorder: the thread that writes records, in batches, off the path of their streams.

    bounded queue -> one thread, batches -> database

While the database is slow or away, the thread waits and tries again, and the queue fills. Records
that no longer fit, or cannot be written in the end, are counted and logged: no stream waits for its
record. The end of a stream updates its row; if start and end share a batch, they are one write.
"""

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import (
    InterfaceError,
    OperationalError,
    close_old_connections,
    connections,
    router,
    transaction,
)

from ..models import StreamRecord
from ..process.green import Mailbox, mailbox, start_thread

__all__ = ["RecordEnding", "Recorder", "flush", "merge", "recorder"]

logger = logging.getLogger("resumable_streams.records")

QUEUE_ROWS = 10_000
BATCH_ROWS = 500
GATHER_SECONDS = 0.5
IDLE_SECONDS = 10.0
RETRY_PAUSES = (0.2, 1.0, 3.0)
EXIT_SECONDS = 5.0

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


Mark = threading.Event | Callable[[], object]
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

    def put(self, entry: Entry) -> None:
        """Queue an entry; one too many is counted as lost."""
        self._put(entry)

    def follow(self, work: Callable[[], object]) -> None:
        """Do `work` in the thread, after the entries queued so far; not in a process that ends."""
        self._put(work)

    def _put(self, entry: Entry | Mark) -> None:
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
                mark()
            except Exception:  # the next chore does it
                logger.exception("The work that follows records failed.")

    def _gather(self, first: Entry | Mark) -> tuple[list[Entry], list[Mark]]:
        """Return a batch: the entries of GATHER_SECONDS, or fewer if somebody waits for them."""
        entries: list[Entry] = []
        deadline = time.monotonic() + GATHER_SECONDS
        entry: Entry | Mark = first
        while True:
            if not isinstance(entry, Entry):
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
