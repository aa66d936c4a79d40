"""Records: rows in a database of their own (a file, migrated), written behind real streams."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.test import RequestFactory
from django.utils import timezone

from resumable_streams import PUBLIC, StreamFailed, StreamManager
from resumable_streams.control import revoke, rotate
from resumable_streams.engine import get_engine
from resumable_streams.identifiers import owner_digest
from resumable_streams.models import IncidentAction, StreamNamespace, StreamRecord
from resumable_streams.operating import recorder as recording
from resumable_streams.operating import records, settling
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import (
    owner_bound,
    process_taken_over,
    stream_deleted,
    stream_finalized,
)
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.testing import HANG, Moment, ScriptedSource
from resumable_streams.types import StreamStatus
from tests.tools.streams import MEMORY
from tests.tools.waiting import until

ARCHIVE = "archive"
Status = StreamRecord.Status


class ArchiveRouter:
    """Send everything of the app to the archive: nothing else may be asked."""

    def db_for_read(self, model, **hints):
        return ARCHIVE if model._meta.app_label == "resumable_streams" else None

    db_for_write = db_for_read


@pytest.fixture(scope="module")
def migrated(tmp_path_factory, django_db_blocker) -> Path:
    path: Path = tmp_path_factory.mktemp("archive") / "empty.sqlite3"
    with django_db_blocker.unblock():
        _add_database(path)
        call_command("migrate", "resumable_streams", database=ARCHIVE, verbosity=0)
        _remove_database()
    return path


@pytest.fixture
def archive(migrated, tmp_path, settings, django_db_blocker) -> Iterator[Path]:
    """Make the database, and everything that the recorder has, the test's own."""
    path = tmp_path / "archive.sqlite3"
    path.write_bytes(migrated.read_bytes())
    settings.DATABASE_ROUTERS = [ArchiveRouter()]
    with django_db_blocker.unblock():
        _add_database(path)
        yield path
        recording.flush()
        _remove_database()


def _add_database(path: Path) -> None:
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": {"timeout": 0.1}}
    configured = connections.configure_settings({"default": {}, ARCHIVE: entry})
    connections.settings[ARCHIVE] = configured[ARCHIVE]


def _remove_database() -> None:
    connections[ARCHIVE].close()
    del connections[ARCHIVE]
    del connections.settings[ARCHIVE]


@pytest.fixture
def entry(settings, key_prefix) -> Callable[..., None]:
    def configure(**entry: object) -> None:
        entry = {"BACKEND": MEMORY, "KEY_PREFIX": key_prefix, "RECORDS": True, **entry}
        settings.RESUMABLE_STREAMS = {
            "default": entry,
            "silent": {"BACKEND": MEMORY, "KEY_PREFIX": f"{key_prefix}-silent"},
        }

    configure()
    return configure


@pytest.fixture
def streams(archive, entry, closes_runtime) -> StreamManager:
    return StreamManager()


@pytest.fixture
def recorder(monkeypatch) -> Iterator[recording.Recorder]:
    """Give the receivers a recorder without a past."""
    recorder = recording.Recorder()
    monkeypatch.setattr(records, "recorder", recorder)
    monkeypatch.setattr(recording, "GATHER_SECONDS", 0.05)
    yield recorder
    recorder.flush()


async def drain(reader) -> bytes:
    return b"".join([data async for data in reader])


@sync_to_async(thread_sensitive=False)
def written(recorder: recording.Recorder) -> list[StreamRecord]:
    try:
        assert recorder.flush()
        return list(StreamRecord.objects.order_by("pk"))
    finally:
        connections[ARCHIVE].close()


def row(stream_id: str = "s1", **fields: object) -> StreamRecord:
    given = {"alias": "default", "tenant": "default", "owner": "42", "acquired": timezone.now()}
    given |= {"owner_digest": owner_digest("42"), "stream_id": stream_id, **fields}
    return StreamRecord(**given)


def ending(stream_id: str = "s1", epoch: str = "", **changes: object) -> recording.RecordEnding:
    changes = {"status": "done", "ended": timezone.now(), **changes}
    return recording.RecordEnding(
        election=("default", "default", stream_id), epoch=epoch, changes=changes
    )


# What is recorded.


async def revoke_42() -> None:
    await revoke("default", "default", "42")


async def rotate_default() -> None:
    await rotate("default", "default")


async def test_a_stream_is_recorded_with_who_where_when_and_how_it_ended(streams, recorder, entry):
    entry(TRUSTED_PROXIES=1)
    request = RequestFactory().get(
        "/", headers={"x-request-id": "r-1", "x-forwarded-for": "6.6.6.6, 2001:db8::1"}
    )
    before = timezone.now()
    reader = await streams.arun("s1", [b"abc"], owner="user:42", tenant="acme", request=request)
    assert await drain(reader) == b"abc"
    (record,) = await written(recorder)
    assert (record.alias, record.tenant, record.stream_id) == ("default", "acme", "s1")
    assert record.owner == record.stream_owner == "user:42"
    assert record.owner_digest == owner_digest("user:42")
    assert (record.generation, record.epoch) == (1, reader.info.epoch)
    assert (record.request_id, record.ip, record.user) == ("r-1", "2001:db8::1", "")
    assert (record.status, record.error_code, record.size) == (Status.DONE, "", 3)
    assert record.ended is not None
    assert record.duration is not None
    assert before <= record.acquired <= record.ended <= timezone.now()
    assert 0 <= record.duration < 5


async def test_an_end_that_comes_after_its_start_was_written_updates_the_row(streams, recorder):
    go_on = Moment()
    source = ScriptedSource(b"a", go_on, ValueError("no detail of this is recorded"))
    reader = await streams.arun("s1", source, owner="42")
    (record,) = await written(recorder)
    assert (record.status, record.ended) == (Status.STREAMING, None)
    go_on.set()
    with pytest.raises(Exception, match="source_failed"):
        await drain(reader)
    (record,) = await written(recorder)
    assert (record.status, record.error_code, record.size) == (Status.ERROR, "source_failed", 1)


async def test_a_public_stream_has_no_owner_and_a_consumer_no_record(streams, recorder):
    await drain(await streams.arun("s1", [b"a"], owner=PUBLIC))
    await drain(await streams.arun("s1", [b"b"], owner="42"))
    (record,) = await written(recorder)
    assert (record.owner, record.stream_owner) == ("", PUBLIC)


async def test_a_stream_deleted_while_it_streams_and_its_successor_have_a_row_each(
    streams, recorder
):
    await streams.arun("s1", ScriptedSource(b"a", HANG), owner="42")
    await streams.adelete("s1", owner="42")  # its producer hears of it after the next one starts
    await drain(await streams.arun("s1", [b"again"], owner="43"))
    first, second = await written(recorder)
    assert (first.owner, first.status) == ("42", Status.DELETED)
    assert (second.owner, second.status) == ("43", Status.DONE)


@pytest.mark.parametrize(
    ("act", "status"),
    [(revoke_42, "revoked"), (rotate_default, "rotated")],
    ids=["revoke", "rotate"],
)
async def test_a_running_stream_that_is_cut_off_is_not_recorded_as_cancelled(
    streams, recorder, act, status
):
    ended = asyncio.Event()

    def finalized(**named: object) -> None:
        ended.set()

    reader = await streams.arun("s1", ScriptedSource(b"x", HANG), owner="42")
    await anext(reader)
    stream_finalized.connect(finalized)
    await act()
    with pytest.raises(StreamFailed) as failure:
        await anext(reader)
    assert failure.value.code == "expired"  # a reader is not told which act it was
    await ended.wait()
    stream_finalized.disconnect(finalized)
    (row,) = await written(recorder)
    assert (row.status, row.error_code) == (status, "")


async def test_an_alias_that_did_not_opt_in_is_not_recorded(streams, recorder):
    await drain(await streams.using("silent").arun("s1", [b"a"], owner="42"))
    assert await written(recorder) == []


def listens(signal) -> bool:
    return any(key[0] == "resumable_streams.records" for key, *_ in signal.receivers)


def test_nothing_is_connected_unless_an_alias_opts_in(settings, entry):
    signals = (owner_bound, stream_finalized, stream_deleted)
    assert all(map(listens, signals))
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": MEMORY}}
    assert not any(map(listens, signals))
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": MEMORY, "RECORDS": "yes"}}
    assert not any(map(listens, signals))


async def test_an_owner_that_some_databases_refuse_costs_no_batch(streams, recorder):
    await drain(await streams.arun("s1", [b"a"], owner="nul\0\U0001f600" + "x" * 900))
    (record,) = await written(recorder)
    assert record.owner.startswith("nul\ufffd\U0001f600")
    assert record.owner_digest == owner_digest("nul\0\U0001f600" + "x" * 900)


async def test_what_the_recorder_raises_never_reaches_the_stream(
    streams, recorder, monkeypatch, caplog
):
    monkeypatch.setattr(records, "client_ip", lambda *args: 1 / 0)
    assert await drain(await streams.arun("s1", [b"a"], owner="42")) == b"a"
    assert "A stream could not be recorded." in caplog.text


# How it is written.


def test_many_rows_are_few_transactions(archive, recorder, monkeypatch):
    batches = []
    save = recording._save

    def spy(using, rows, endings, *, again):
        batches.append((len(rows), len(endings)))
        save(using, rows, endings, again=again)

    monkeypatch.setattr(recording, "_save", spy)
    for number in range(1_200):
        recorder.put(row(f"s{number}"))
        recorder.put(ending(f"s{number}"))
    assert recorder.flush(20)
    assert len(batches) <= 6  # 2,400 entries, 500 each
    assert StreamRecord.objects.filter(status="done").count() == 1_200
    assert (recorder.written, recorder.lost, recorder.queued) == (2_400, 0, 0)


def test_a_batch_is_written_without_being_waited_for(archive, recorder, monkeypatch):
    saved = threading.Event()
    save = recording._save

    def spy(*args, **kwargs):
        save(*args, **kwargs)
        saved.set()

    monkeypatch.setattr(recording, "_save", spy)
    recorder.put(row())
    assert saved.wait(5)
    assert StreamRecord.objects.count() == 1


@pytest.mark.lengthy
def test_a_busy_database_is_tried_again(archive, recorder, monkeypatch):
    monkeypatch.setattr(recording, "RETRY_PAUSES", (0.01,) * 100)
    with _locked(archive):
        recorder.put(row())
        assert not recorder.flush(0.5)
    assert recorder.flush()
    assert StreamRecord.objects.count() == 1
    assert recorder.lost == 0


def _locked(path: Path):
    """Hold the write lock of the archive, as a migration or a backup would."""
    import contextlib
    import sqlite3

    @contextlib.contextmanager
    def hold():
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")
        finally:
            other.close()

    return hold()


def test_an_answer_that_was_lost_at_the_commit_writes_nothing_twice(archive, recorder, monkeypatch):
    from django.db import OperationalError

    save, calls = recording._save, []

    def unlucky(*args, **kwargs):
        save(*args, **kwargs)
        calls.append(kwargs)
        if len(calls) == 1:
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(recording, "_save", unlucky)
    monkeypatch.setattr(recording, "RETRY_PAUSES", (0.01,))
    recorder.put(row("s1"))
    recorder.put(row("s2"))
    assert recorder.flush()
    assert len(calls) == 2
    assert StreamRecord.objects.count() == 2


def test_a_row_the_database_refuses_takes_no_other_with_it(archive, recorder, caplog):
    recorder.put(row("s1"))
    recorder.put(row("s2", owner_digest=None))
    recorder.put(row("s3"))
    recorder.put(ending("s0"))
    assert recorder.flush()
    assert sorted(StreamRecord.objects.values_list("stream_id", flat=True)) == ["s1", "s3"]
    assert (recorder.written, recorder.lost) == (3, 1)
    assert "1 stream records were not written: IntegrityError." in caplog.text


async def test_a_dead_database_stops_no_stream_and_the_loss_is_counted(
    streams, recorder, archive, monkeypatch, caplog
):
    monkeypatch.setattr(recording, "RETRY_PAUSES", (0.01,))
    await asyncio.to_thread(_wreck, archive)
    for number in range(50):
        await drain(await streams.arun(f"s{number}", [b"a"], owner="42"))
    assert await asyncio.to_thread(recorder.flush)
    assert (recorder.written, recorder.lost) == (0, 100)
    assert "stream records were not written" in caplog.text


def _wreck(path: Path) -> None:
    connections[ARCHIVE].close()
    path.unlink()
    path.mkdir()  # "unable to open database file"


def test_a_full_queue_refuses_counts_and_says_so_once(archive, recorder, monkeypatch, caplog):
    monkeypatch.setattr(recording, "QUEUE_ROWS", 10)
    monkeypatch.setattr(recording, "RETRY_PAUSES", (0.01,) * 100)
    with _locked(archive):
        for number in range(1_000):
            recorder.put(row(f"s{number}"))
    assert recorder.flush()
    recorder.put(row("later"))
    assert recorder.flush()
    assert recorder.written + recorder.lost == 1_001
    assert recorder.lost > 400
    assert StreamRecord.objects.count() == recorder.written
    assert StreamRecord.objects.filter(stream_id="later").exists()
    full = [r for r in caplog.records if "is full" in r.message]
    assert len(full) <= 3
    assert all(r.levelno == logging.ERROR for r in full)


def test_the_connection_is_closed_when_there_is_nothing_to_write(archive, recorder, monkeypatch):
    closed = threading.Event()
    close_all = connections.close_all

    def spy():
        close_all()
        closed.set()

    monkeypatch.setattr(connections, "close_all", spy)
    monkeypatch.setattr(recording, "IDLE_SECONDS", 0.05)
    recorder.put(row())
    assert closed.wait(5)
    recorder.put(row("s2"))
    assert recorder.flush()
    assert StreamRecord.objects.count() == 2


def test_the_end_of_the_process_does_not_wait_for_a_dead_database(
    archive, recorder, monkeypatch, caplog
):
    monkeypatch.setattr(recording, "RETRY_PAUSES", (60.0, 60.0))
    _wreck(archive)
    recorder.put(row())
    started = time.perf_counter()
    recorder.close()
    assert time.perf_counter() - started < 5
    assert recorder.lost == 1


@pytest.mark.lengthy
def test_a_process_writes_what_is_queued_before_it_ends(archive, tmp_path):
    import subprocess
    import sys

    script = f"""
import django
from django.conf import settings
settings.configure(
    USE_TZ=True,
    INSTALLED_APPS=["resumable_streams"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {str(archive)!r}}}}},
    RESUMABLE_STREAMS={{"default": {{"BACKEND": {MEMORY!r}, "RECORDS": True}}}},
)
django.setup()
from resumable_streams import streams
print(b"".join(streams.run("s1", [b"abc"], owner="42")))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'abc'\n", "")
    record = StreamRecord.objects.get()
    assert (record.stream_id, record.status, record.size) == ("s1", Status.DONE, 3)


def test_a_forked_child_writes_only_its_own(recorder):
    recorder._queue.put(row())
    recorder._reset()
    assert recorder.queued == 0


def test_an_end_of_another_incarnation_changes_nothing(archive, recorder):
    recorder.put(row("s1", epoch="b"))
    recorder.put(ending("s1", epoch="a"))
    assert recorder.flush()
    recorder.put(ending("s1", epoch="a"))
    assert recorder.flush()
    assert StreamRecord.objects.get().status == Status.STREAMING
    recorder.put(ending("s1", epoch="b"))
    assert recorder.flush()
    assert StreamRecord.objects.get().status == Status.DONE


# Back to the streams.


def test_records_of_streams_that_ended_unheard_are_settled(archive, entry):
    entry(LEASE=20, TTL=60)
    past = timezone.now() - timedelta(minutes=1)
    streams = StreamManager()
    try:
        list(streams.run("done", [b"abc"], owner="42"))
        hold = threading.Event()
        streams.run("live", lambda: _held(hold), owner="42")
        list(streams.run("other", [b"abc"], owner="43"))
        recording.flush()
        StreamRecord.objects.all().delete()
        for name in ("done", "live", "gone", "other"):
            info = streams.status(name, owner="42")
            row(name, acquired=past, epoch=info.epoch if info else "0123abcd").save()
        row("new").save()
        assert settling.settle("default", batch=2) == 3
        assert settling.settle("default") == 0
        hold.set()
        found = dict(StreamRecord.objects.values_list("stream_id", "status"))
        assert StreamRecord.objects.get(stream_id="done").size == 3
    finally:
        _close_home()
    assert found == {
        "done": Status.DONE,
        "live": Status.STREAMING,
        "gone": Status.LOST,
        "other": Status.LOST,  # the id has another owner by now
        "new": Status.STREAMING,
    }


def test_every_status_of_a_stream_is_one_of_a_record():
    assert {str(status) for status in StreamStatus} < set(Status.values)


def _held(hold: threading.Event) -> Iterator[bytes]:
    yield b"a"
    hold.wait(10)


def _close_home() -> None:
    runtime.call_sync(runtime.aclose)


def test_a_record_is_looked_up_in_its_generation_or_in_the_one_in_force(archive, entry):
    streams = StreamManager()
    try:
        list(streams.run("s1", [b"abc"], owner="42"))
        first = row("s1", generation=1)
        StreamNamespace.objects.create(alias="default", tenant="default", generation=2)
        assert settling.look("default", [first])[0] is not None
        assert settling.look("default", [row("s1")]) == [None]
        assert settling.look("default", [row("s1", generation=1, epoch="other")]) == [None]
    finally:
        _close_home()


# records clear, records settle.


def clear(*arguments: str, **keywords: object) -> None:
    call_command("resumable_streams", "records", "clear", *arguments, **keywords)


def test_old_records_are_cleared_in_batches(archive, entry, capsys):
    now = timezone.now()
    for days in range(10):
        row(f"s{days}", acquired=now - timedelta(days=days, minutes=1)).save()
    row("elsewhere", alias="silent", acquired=now - timedelta(days=9)).save()
    clear("--older-than", "3d", "--using", "default", "--dry-run")
    assert "7 stream records would be deleted" in capsys.readouterr().out
    assert StreamRecord.objects.count() == 11
    clear("--older-than", "3d", "--using", "default", "--batch", "2")
    assert "7 stream records deleted" in capsys.readouterr().out
    assert StreamRecord.objects.filter(alias="silent").exists()
    assert StreamRecord.objects.count() == 4
    clear(older_than="90m")
    assert "3 stream records deleted" in capsys.readouterr().out


@pytest.mark.parametrize("age", ["", "d", "-3d", "3y", "1e9d", "99999999999d", "36501d"])
def test_a_malformed_age_is_refused(archive, age):
    with pytest.raises(CommandError, match="older-than"):
        clear(f"--older-than={age}")


def test_records_are_settled_per_alias(archive, entry, capsys):
    row("gone", acquired=timezone.now() - timedelta(days=1)).save()
    with pytest.raises(CommandError, match="lives in the process that serves it"):
        call_command("resumable_streams", "records", "settle", using="default")
    assert StreamRecord.objects.get().status == "streaming"
    runtime.call_sync(open_engine)
    try:
        call_command("resumable_streams", "records", "settle", using="default", dry_run=True)
        printed = capsys.readouterr().out
        assert printed == "1 of 1 unfinished stream records would be completed.\n"
        assert StreamRecord.objects.get().status == "streaming"
        call_command("resumable_streams", "records", "settle", using="default")
        assert "1 of 1 unfinished stream records completed" in capsys.readouterr().out
        call_command("resumable_streams", "records", "settle", json=True)
        assert json.loads(capsys.readouterr().out)["counts"] == {"looked_at": 0, "settled": 0}
    finally:
        _close_home()
    assert StreamRecord.objects.get().status == "lost"


async def open_engine() -> None:
    get_engine("default")


def test_whoever_takes_over_a_killed_process_settles_its_records(archive, entry, recorder):
    row("gone", acquired=timezone.now() - timedelta(days=1)).save()
    runtime.call_sync(open_engine)
    try:
        process_taken_over.emit(MemoryStore, alias="default", process="dead", held=1, told=0)
        recorder.flush()
    finally:
        _close_home()
    assert StreamRecord.objects.get().status == "lost"


def test_a_person_is_forgotten_and_the_rows_stay(archive, entry, capsys):
    personal = {"user": "5", "ip": "203.0.113.9", "request_id": "r"}
    for number in range(5):
        owner = {"owner": "user:5", "owner_digest": owner_digest("user:5")}
        row(f"user-{number}", size=number, **owner, **personal).save()
    row("as-visitor", owner="session:x", owner_digest="d", **personal).save()
    row("other", user="55").save()

    def forget(*arguments: str) -> str:
        call_command("resumable_streams", "records", "forget", *arguments)
        return str(capsys.readouterr().out)

    with pytest.raises(CommandError, match="confirm with --yes"):
        forget("--user=5")
    assert "6 stream records of owner" in forget("--user=5", "--dry-run")
    assert IncidentAction.objects.latest().outcome == "dry_run"
    assert StreamRecord.objects.filter(user="5").count() == 6
    assert "5 stream records of owner" in forget("--owner=user:5", "--yes", "--batch=2")
    assert json.loads(forget("--user=5", "--yes", "--json"))["counts"] == {"forgotten": 1}
    blank = {"owner": "", "owner_digest": "", "user": "", "ip": None, "request_id": ""}
    for one in StreamRecord.objects.exclude(stream_id="other"):
        assert {name: getattr(one, name) for name in blank} == blank
    assert StreamRecord.objects.get(stream_id="user-3").size == 3
    other = StreamRecord.objects.get(stream_id="other")
    assert (other.owner, other.user) == ("42", "55")
    act = IncidentAction.objects.latest()
    assert (act.action, act.outcome, act.counts) == ("forget", "done", {"forgotten": 1})
    assert act.arguments == {"owner": owner_digest("user:5")}


def test_the_stream_of_a_forgotten_person_is_settled_by_its_own_end(archive, entry, recorder):
    streams = StreamManager()
    try:
        list(streams.run("done", [b"abc"], owner="42"))
        until(lambda: recorder.flush() and StreamRecord.objects.filter(status=Status.DONE).exists())
        past = timezone.now() - timedelta(minutes=1)
        StreamRecord.objects.update(
            status=Status.STREAMING, owner="", owner_digest="", acquired=past
        )
        assert settling.settle("default") == 1
    finally:
        _close_home()
    assert StreamRecord.objects.get().status == Status.DONE


def test_old_incidents_are_cleared_and_the_log_says_so(archive, entry, capsys, caplog):
    for days in range(10):
        started = timezone.now() - timedelta(days=days, minutes=1)
        IncidentAction(action="purge", alias="default", who="os:me", started=started).save()
    with pytest.raises(CommandError, match="older-than"):
        call_command("resumable_streams", "incidents", "clear")
    arguments = ["--older-than", "3d", "--batch", "2"]
    call_command("resumable_streams", "incidents", "clear", *arguments, "--dry-run")
    assert "7 rows of operators' actions would be deleted, from before" in capsys.readouterr().out
    with caplog.at_level("INFO", "resumable_streams.incidents"):
        arguments += ["--json", "--reason", "yearly"]
        call_command("resumable_streams", "incidents", "clear", *arguments)
    assert json.loads(capsys.readouterr().out)["counts"] == {"deleted": 7}
    assert "rows.deleted rows=incidentaction deleted=7 who=os:" in caplog.text
    assert "reason=yearly" in caplog.text
    assert IncidentAction.objects.count() == 3


def test_clearing_needs_an_age_and_a_known_alias(archive, entry):
    with pytest.raises(CommandError, match="older-than"):
        clear()
    with pytest.raises(CommandError, match="nope"):
        clear("--older-than", "3d", "--using", "nope")
