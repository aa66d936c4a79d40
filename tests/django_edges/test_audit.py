"""The audit log: who did what to which stream, ready for a JSON formatter."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import AsyncClient, RequestFactory
from django.urls import path

from resumable_streams.engine import get_engine
from resumable_streams.exceptions import StreamDoesNotExist, StreamFailed
from resumable_streams.identifiers import owner_digest
from resumable_streams.operating import audit_log
from resumable_streams.signals import producer_lost, stream_acquired, stream_finalized
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.streams import StreamManager
from resumable_streams.types import PUBLIC, StreamKey
from resumable_streams.views import resume_response, stream_response
from tests.tools.processes import die_producing, judge
from tests.tools.readers import read_all
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure
from tests.tools.waiting import pass_time

STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@pytest.fixture
def streams(memory_manager: StreamManager, configure_memory: Configure) -> StreamManager:
    configure_memory(TRUSTED_PROXIES=1)
    return memory_manager


@pytest.fixture(autouse=True)
def listening(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "resumable_streams.audit")


def request_of(user: User | None = None, address: str = "/chat?token=secret") -> HttpRequest:
    request = RequestFactory().post(
        address,
        headers={"X-Request-ID": "req-1", "X-Forwarded-For": "203.0.113.9"},
        REMOTE_ADDR="10.0.0.1",
    )
    if user is not None:
        request.user = user
    return request


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "resumable_streams.audit"]


def extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


@pytest.mark.lengthy
async def test_the_end_of_a_stream_whose_owner_nobody_remembers_is_in_the_log(
    streams: StreamManager, caplog
):
    """It was deleted, and whoever held it was killed before it could tell."""
    await streams.astatus("any", owner="a")
    key = StreamKey(tenant="default", generation=1, stream_id="chat")
    await die_producing(streams, key, b"x", lease=0.001)
    await streams.adelete("chat", owner="a")
    engine = get_engine("default")
    await engine.leases.ready()
    judge(engine)
    await pass_time(0.01)
    await engine.takeover.take("dead")
    ended = records(caplog)[-1]
    assert ended.getMessage().startswith("stream.finalized alias=default tenant=default")
    assert (extra(ended)["owner"], extra(ended)["owner_digest"]) == (None, None)
    assert extra(ended)["error_code"] == "expired"


async def test_an_acquire_names_who_from_where_and_its_role(streams: StreamManager, caplog):
    await read_all(
        await streams.arun("chat", [b"x"], owner="user:7", request=request_of(User(pk=7)))
    )
    bound, acquired, ended = records(caplog)
    stream = {
        "alias": "default",
        "tenant": "default",
        "generation": 1,
        "stream_id": "chat",
        "owner": "user:7",
        "owner_digest": owner_digest("user:7"),
        "public": False,
    }
    client = {
        "user": "7",
        "request_id": "req-1",
        "ip": "203.0.113.9",
        "method": "POST",
        "path": "/chat",
    }
    epoch = extra(acquired)["epoch"]
    assert extra(bound) == {"event": "stream.owner_bound", "epoch": epoch, **stream, **client}
    assert extra(acquired) == {
        "event": "stream.acquired",
        "epoch": epoch,
        "role": "producer",
        **stream,
        **client,
    }
    assert extra(ended) == {
        "event": "stream.finalized",
        "epoch": epoch,
        **stream,
        "status": "done",
        "error_code": "",
        "size": 1,
        "duration": ended.__dict__["duration"],
    }
    assert [record.levelno for record in records(caplog)] == [logging.INFO] * 3


async def test_every_record_is_flat_json_and_its_message_begins_with_its_event(
    streams: StreamManager, caplog
):
    for owner in ("a", PUBLIC):
        stream_id = "public" if owner is PUBLIC else "own"
        await read_all(await streams.arun(stream_id, [b"x"], owner=owner, request=request_of()))
        await streams.aresume(stream_id, owner=owner, request=request_of())
        await streams.acancel(stream_id, owner=owner, request=request_of())
        await streams.adelete(stream_id, owner=owner, request=request_of())
    with pytest.raises(StreamFailed):
        await read_all(await streams.arun("bad", Tap(ValueError("secret")), owner="a"))
    events = set()
    for record in records(caplog):
        fields = extra(record)
        events.add(fields["event"])
        assert record.getMessage().startswith(fields["event"] + " alias=default tenant=default ")
        for name, value in json.loads(json.dumps(fields)).items():
            assert value is None or type(value) in (str, int, float, bool)
            assert type(fields[name]) is type(value), name
        assert "secret" not in json.dumps(fields)
        assert fields["public"] is (fields["stream_id"] == "public")
        assert (fields["owner"] is None) is fields["public"]
    text = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    for record in records(caplog):
        assert f"| `{extra(record)['event']}` |" in text
        assert [name for name in extra(record) if f"`{name}`" not in text] == []
    assert events == {
        "stream.acquired",
        "stream.owner_bound",
        "stream.owner_checked",
        "stream.resumed",
        "stream.cancelled",
        "stream.deleted",
        "stream.failed",
        "stream.finalized",
    }


async def test_a_message_says_on_one_line_what_extra_says_and_no_owner_in_clear(
    streams: StreamManager, caplog
):
    request = request_of(address="/chat%0Aforged%20%22line?token=secret")
    await read_all(await streams.arun("chat", [b"payload"], owner="a name", request=request))
    acquired = records(caplog)[1]
    assert acquired.getMessage() == (
        f"stream.acquired alias=default tenant=default generation=1 stream_id=chat "
        f"epoch={extra(acquired)['epoch']} owner_digest={owner_digest('a name')} public=false "
        f"role=producer request_id=req-1 ip=203.0.113.9 method=POST "
        r'path="/chat\nforged \"line"'
    )
    assert extra(acquired)["owner"] == "a name"


async def test_every_look_is_told_at_one_level_with_its_outcome(streams: StreamManager, caplog):
    await read_all(await streams.arun("chat", [b"x"], owner="a"))
    caplog.clear()
    await streams.aresume("chat", owner="b", request=request_of())
    await streams.aresume("nothing", owner="b")
    await streams.astatus("chat", owner="a")
    with pytest.raises(StreamDoesNotExist):
        await streams.arun("chat", [b"x"], owner="b")
    told = [
        (r.levelno, extra(r)["operation"], extra(r)["outcome"], extra(r)["owner"])
        for r in records(caplog)
    ]
    assert told == [
        (logging.INFO, "resume", "foreign", "b"),
        (logging.INFO, "resume", "missing", "b"),
        (logging.INFO, "status", "match", "a"),
        (logging.INFO, "run", "foreign", "b"),
    ]
    assert extra(records(caplog)[0])["ip"] == "203.0.113.9"


async def test_a_failed_stream_is_told_by_the_type_of_its_error(streams: StreamManager, caplog):
    with pytest.raises(StreamFailed):
        await read_all(await streams.arun("chat", Tap(b"x", ValueError("the text")), owner="a"))
    failed, ended = records(caplog)[-2:]
    assert failed.levelno == ended.levelno == logging.WARNING
    assert extra(failed)["error"] == "builtins.ValueError"
    assert (extra(ended)["status"], extra(ended)["error_code"]) == ("error", "source_failed")


async def test_a_cancel_and_its_end_are_told(streams: StreamManager, caplog):
    ended = asyncio.Event()

    def receiver(**named: Any) -> None:
        ended.set()

    stream_finalized.connect(receiver)
    await streams.arun("chat", Tap(b"x"), owner="a")
    await streams.acancel("chat", owner="a", request=request_of())
    await ended.wait()
    by_event = {extra(r)["event"]: extra(r) for r in records(caplog)}
    assert by_event["stream.cancelled"]["request_id"] == "req-1"
    assert by_event["stream.finalized"]["status"] == "cancelled"


def test_a_lost_producer_is_a_warning(caplog: pytest.LogCaptureFixture):
    producer_lost.emit(
        MemoryStore,
        alias="default",
        tenant="t",
        generation=1,
        stream_id="s",
        epoch="e",
        owner="a",
        seen_by="reader",
        size=3,
    )
    (record,) = records(caplog)
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"stream.producer_lost alias=default tenant=t generation=1 stream_id=s epoch=e "
        f"owner_digest={owner_digest('a')} public=false seen_by=reader size=3"
    )
    assert (extra(record)["seen_by"], extra(record)["size"]) == ("reader", 3)


def test_it_is_connected_once_however_often_asked():
    before = len(stream_acquired.receivers)
    audit_log.connect()
    assert len(stream_acquired.receivers) == before


async def test_it_costs_no_record_where_nobody_wants_one(streams: StreamManager, caplog):
    caplog.set_level(logging.ERROR, "resumable_streams.audit")
    await read_all(await streams.arun("chat", [b"x"], owner="a", request=request_of()))
    assert records(caplog) == []


async def test_a_channels_scope_is_a_request_too(streams: StreamManager, caplog):
    scope: Any = {
        "type": "websocket",
        "path": "/ws/chat",
        "query_string": b"token=secret",
        "headers": [(b"x-request-id", b"req-2")],
        "client": ("198.51.100.7", 5000),
        "user": User(pk=9),
    }
    await read_all(await streams.arun("chat", [b"x"], owner="user:9", request=scope))
    acquired = extra(records(caplog)[1])
    assert acquired["event"] == "stream.acquired"
    assert (acquired["user"], acquired["request_id"]) == ("9", "req-2")
    assert (acquired["method"], acquired["path"]) == ("websocket", "/ws/chat")
    assert acquired["ip"] == "198.51.100.7"


async def start(request: HttpRequest) -> Any:
    return await stream_response(request, lambda: finished([b"payload"]), stream_id="http")


async def resume(request: HttpRequest, stream_id: str) -> Any:
    return await resume_response(request, stream_id)


urlpatterns = [path("start/", start), path("resume/<stream_id>/", resume)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls(__name__)
async def test_over_http_neither_token_nor_payload_is_logged(streams: StreamManager, caplog):
    client = AsyncClient()
    response: Any = await client.post("/start/?token=secret", headers={"X-Request-ID": "r"})
    assert b"".join([part async for part in response]) == b"payload"
    other: Any = await AsyncClient().get("/resume/http/?token=secret")
    assert other.status_code == 404
    told = [extra(record) for record in records(caplog)]
    assert [fields["event"] for fields in told][:2] == ["stream.owner_bound", "stream.acquired"]
    assert told[1]["path"] == "/start/"
    assert told[1]["request_id"] == "r"
    assert told[1]["owner"].startswith("session:")
    foreign = told[-1]
    assert (foreign["outcome"], foreign["path"]) == ("foreign", "/resume/http/")
    assert "secret" not in str(told)
    assert "payload" not in str(told)
