"""What an operator does to a record's stream: to that one, wherever it is, and to no other."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from resumable_streams import StreamManager, control
from resumable_streams.identifiers import owner_digest
from resumable_streams.models import IncidentAction, StreamRecord
from resumable_streams.operating import settling
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import stream_cancelled, stream_deleted
from resumable_streams.types import StreamInfo

from .test_admin import VIEWS, act, endless, told
from .test_admin import staff as staff  # fixtures
from .test_admin import streams as streams
from .test_admin import unhurried as unhurried

pytestmark = [
    pytest.mark.urls(f"{__package__}.test_admin"),
    pytest.mark.django_db(transaction=True),
]

OWNER = "user:42"


def revoke() -> None:
    runtime.call_sync(control.revoke, "default", "default", OWNER)


def rotate() -> None:
    runtime.call_sync(control.rotate, "default", "default")


REVOKED = pytest.mark.parametrize("act", [revoke, rotate])


def acquire(streams: StreamManager, stream_id: str = "s1") -> StreamRecord:
    """Have a stream that has ended, and the record of it."""
    reader = streams.run(stream_id, [b"secret"], owner=OWNER)
    assert b"".join(reader) == b"secret"
    return record_of(reader.info)


def record_of(info: StreamInfo, **changes: Any) -> StreamRecord:
    given = {"epoch": info.epoch, "acquired": timezone.now(), **changes}
    return StreamRecord.objects.create(
        alias="default",
        tenant=info.tenant,
        generation=info.generation,
        stream_id=info.stream_id,
        owner=OWNER,
        owner_digest=owner_digest(OWNER),
        **given,
    )


def stored(record: StreamRecord) -> StreamInfo | None:
    """Return what the store has of a record's stream, in reach or not."""
    (info,) = settling.look("default", [record])
    return info


def confirm(client: Any, action: str, *rows: StreamRecord) -> str:
    """Do it, and return the last thing that is said of it."""
    return told(act(client, "streamrecord", action, rows, confirmed="yes")).splitlines()[-1]


@REVOKED
def test_what_is_out_of_reach_is_deleted_all_the_same(
    staff: Any, streams: StreamManager, act: Callable[[], None]
):
    client = staff(*VIEWS, "erase_streamrecord")
    record = acquire(streams)
    act()
    assert streams.status("s1", owner=OWNER) is None
    assert stored(record) is not None
    assert confirm(client, "erase", record) == "Delete streams: 1 of 1 done."
    assert stored(record) is None
    one = IncidentAction.objects.get()
    assert (one.outcome, one.counts) == ("done", {"deleted": 1})
    assert one.arguments == {
        "stream_id": "s1",
        "generation": 1,
        "epoch": record.epoch,
        "owner_digest": owner_digest(OWNER),
    }


def test_what_was_not_there_any_more_is_said_and_written_down(staff: Any, streams: StreamManager):
    client = staff(*VIEWS, "erase_streamrecord")
    here, gone = acquire(streams), acquire(streams, "s2")
    streams.delete("s2", owner=OWNER)
    said = confirm(client, "erase", here, gone)
    assert said == "Delete streams: 1 of 2 done. 1 gone already: nothing was left to do."
    acts = {a.arguments["stream_id"]: a.counts for a in IncidentAction.objects.all()}
    assert acts == {"s1": {"deleted": 1}, "s2": {"deleted": 0, "gone": 1}}
    said = confirm(client, "erase", here, gone)
    assert said == "Delete streams: 0 of 2 done. 2 gone already: nothing was left to do."


def test_cancelling_tells_what_ran_from_what_had_ended(staff: Any, streams: StreamManager):
    client = staff(*VIEWS, "cancel_streamrecord")
    ended = acquire(streams)
    running = record_of(streams.run("s2", endless, owner=OWNER).info)
    said = confirm(client, "cancel", ended, running)
    assert said == "Cancel streams: 1 of 2 done. 1 had ended already: nothing was left to do."
    acts = {a.arguments["stream_id"]: a.counts for a in IncidentAction.objects.all()}
    assert acts == {"s1": {"cancelled": 0, "ended": 1}, "s2": {"cancelled": 1}}
    state = stored(running)
    assert state is not None
    assert state.status == "cancelled"


@pytest.mark.parametrize("action", ["cancel", "erase"])
@pytest.mark.parametrize("has_epoch", [True, False])
def test_an_old_record_never_touches_a_newer_stream(
    staff: Any, streams: StreamManager, action: str, has_epoch: bool
):
    client = staff(*VIEWS, "cancel_streamrecord", "erase_streamrecord")
    old = acquire(streams)
    if not has_epoch:  # as an earlier version wrote them
        acquired = timezone.now() - timedelta(hours=1)
        StreamRecord.objects.filter(pk=old.pk).update(epoch="", acquired=acquired)
    streams.delete("s1", owner=OWNER)
    newer = streams.run("s1", endless, owner=OWNER)
    assert "0 of 1 done. 1 gone already" in confirm(client, action, old)
    state = streams.status("s1", owner=OWNER)
    assert state is not None
    assert (state.epoch, state.is_streaming) == (newer.info.epoch, True)


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []

    def receiver(**named: Any) -> None:
        heard.append(named)
        raise RuntimeError("a receiver that fails")

    for signal in (stream_cancelled, stream_deleted):
        signal.connect(receiver)
    yield heard
    for signal in (stream_cancelled, stream_deleted):
        signal.disconnect(receiver)


def test_receivers_are_told_once_and_undo_nothing(
    staff: Any, streams: StreamManager, heard: list[dict[str, Any]]
):
    client = staff(*VIEWS, "cancel_streamrecord", "erase_streamrecord")
    record = acquire(streams)
    assert "1 had ended already" in confirm(client, "cancel", record)
    assert "1 of 1 done" in confirm(client, "erase", record)
    confirm(client, "erase", record)
    assert [one["signal"] for one in heard] == [stream_cancelled, stream_deleted]
    assert {(one["epoch"], one["owner"], one["generation"]) for one in heard} == {
        (record.epoch, OWNER, 1)
    }
    assert all(one["request"].user.username == "jane" for one in heard)


def test_readers_of_what_is_deleted_end(staff: Any, streams: StreamManager):
    client = staff(*VIEWS, "erase_streamrecord")
    big = [b"x" * 100_000] * 20
    reader = streams.run("s1", big, owner=OWNER)
    list(streams.resume("s1", owner=OWNER) or ())
    next(iter(reader))
    assert "1 of 1 done" in confirm(client, "erase", record_of(reader.info))
    with pytest.raises(Exception, match="expired"):
        list(reader)


def test_a_deleted_running_stream_is_no_longer_counted(
    staff: Any, streams: StreamManager, settings: Any
):
    entry = settings.RESUMABLE_STREAMS["default"]
    settings.RESUMABLE_STREAMS = {"default": {**entry, "LIMITS": {"MAX_STREAMS_PER_OWNER": 1}}}
    client = staff(*VIEWS, "erase_streamrecord")
    record = record_of(streams.run("s1", endless, owner=OWNER).info)
    assert "1 of 1 done" in confirm(client, "erase", record)
    assert streams.run("s2", [b"x"], owner=OWNER).role == "producer"
