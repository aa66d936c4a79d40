"""The messages of a socket, on each store."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import path

from resumable_streams import StreamLimitExceeded, StreamManager
from resumable_streams.consumers import StreamConsumer, with_websockets
from resumable_streams.process.runtime import runtime
from tests.tools.sources import Tap, finished, produced
from tests.tools.streams import Configure
from tests.tools.waiting import eventually, within

from .clients import Socket, connected

OWNER = "tests.channels.clients.owner_of_scope"
NOT_FOUND = {"type": "error", "channel": 1, "to": "resume", "error": "stream_not_found"}


@pytest.fixture
def manager(configure: Configure, closes_runtime: None) -> StreamManager:
    configure(OWNER=OWNER)
    return StreamManager()


class Answers(StreamConsumer):
    """A consumer that lets clients start streams."""

    async def produce(self, data: Any) -> AsyncIterator[str]:
        for word in data["words"]:
            yield word


class Stalled(StreamConsumer):
    """A consumer whose client takes no frame: the server has no room for another."""

    async def send(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.Event().wait()


class OneStream(StreamConsumer):
    """A consumer whose route names its stream."""


def at_address(stream_id: str) -> dict[str, Any]:
    return {"url_route": {"kwargs": {"stream_id": stream_id}}}


async def test_a_stream_is_resumed_from_an_offset(manager: StreamManager):
    await manager.arun("s", finished([b"abc", b"def"]), owner="ada")
    await produced()
    async with connected(owner="ada") as socket:
        opened = await socket.ask("resume", id="s", offset=2)
        epoch = opened.pop("epoch")
        assert opened == {
            "type": "opened", "channel": 1, "id": "s", "role": "consumer", "status": "done",
            "offset": 2, "size": 6, "window": StreamConsumer.window,
        }  # fmt: skip
        assert await socket.hear() == {
            "type": "bytes", "channel": 1, "offset": 2, "data": b"cdef"
        }  # fmt: skip
        assert await socket.hear() == {
            "type": "end", "channel": 1, "status": "done", "offset": 6, "error": None
        }  # fmt: skip
        opened = await socket.ask("resume", id="s", epoch=epoch, offset=6)
        assert (opened["epoch"], (await socket.read())[0]) == (epoch, b"")


async def test_a_client_starts_a_stream_that_others_of_its_owner_resume(manager: StreamManager):
    async with connected(Answers, owner="ada") as socket:
        opened = await socket.ask("acquire", data={"words": ["Hello ", "world"]})
        assert (opened["type"], opened["role"], opened["offset"]) == ("opened", "producer", 0)
        data, end = await socket.read()
        assert (data, end["status"]) == (b"Hello world", "done")
    async with connected(owner="ada") as socket:
        await socket.say("resume", id=opened["id"])
        assert (await socket.read())[0] == b"Hello world"
    async with connected(owner="bob") as socket:
        assert await socket.ask("resume", id=opened["id"]) == NOT_FOUND


async def test_a_retry_with_its_key_joins_the_stream_of_the_first_try(manager: StreamManager):
    async with connected(Answers, owner="ada") as socket:
        first = await socket.ask("acquire", 1, key="k", data={"words": ["one"]})
        await socket.read(1)
        again = await socket.ask("acquire", 2, key="k", data={"words": ["another"]})
        assert (again["id"], again["role"]) == (first["id"], "consumer")
        await socket.take(again)
        assert (await socket.read(2))[0] == b"one"
    async with connected(Answers, owner="bob") as socket:
        other = await socket.ask("acquire", 1, key="k", data={"words": ["one"]})
        assert other["id"] != first["id"]


async def test_a_consumer_without_produce_starts_nothing(manager: StreamManager):
    async with connected(owner="ada") as socket:
        refusal = await socket.ask("acquire", data={})
        assert refusal["error"] == "acquire_not_offered"


async def test_a_hook_names_the_stream_and_refuses(manager: StreamManager):
    class Named(Answers):
        def get_stream_id(self, data: Any) -> str:
            if data.get("often"):
                raise StreamLimitExceeded("QUESTIONS", 3, retry_after=7)
            return str(data["name"])

        async def get_attrs(self, data: Any) -> dict[str, str]:
            return {"chat": data["name"]}

    async with connected(Named, owner="ada") as socket:
        opened = await socket.ask("acquire", data={"name": "mine", "words": ["x"]})
        assert opened["id"] == "mine"
        await socket.read()
        refusal = await socket.ask("acquire", data={"often": True})
        assert (refusal["error"], refusal["retry_after"]) == ("too_many_streams", 7)
    info = await manager.astatus("mine", owner="ada")
    assert info is not None
    assert info.attrs["chat"] == "mine"


async def test_a_slot_has_one_live_stream(manager: StreamManager):
    class Slotted(StreamConsumer):
        def produce(self, data: Any) -> Any:
            return Tap(b"abc")()

        def get_slot(self, data: Any) -> str:
            return "chat:42"

    class Refusing(Slotted):
        on_busy = "refuse"

    async with connected(Slotted, owner="ada") as socket, connected(Refusing, owner="ada") as other:
        first = await socket.ask("acquire", 1)
        assert (await socket.hear())["data"] == b"abc"
        joined = await socket.ask("acquire", 2)
        assert (joined["id"], joined["role"]) == (first["id"], "consumer")
        assert (await other.ask("acquire"))["error"] == "slot_busy"
        await manager.acancel(first["id"], owner="ada")


async def test_a_source_that_is_none_is_a_fault_of_the_server(
    manager: StreamManager, caplog: pytest.LogCaptureFixture
):
    class Wrong(StreamConsumer):
        def produce(self, data: Any) -> Any:
            return 1

    async with connected(Wrong, owner="ada") as socket:
        assert (await socket.ask("acquire"))["error"] == "server_error"
        assert (await socket.ask("status", id="s"))["error"] == "stream_not_found"
    assert "A message of a WebSocket (acquire) failed." in caplog.text


async def test_foreign_missing_and_impossible_ids_are_the_same_bytes(manager: StreamManager):
    await manager.arun("s", finished([b"abc"]), owner="ada")
    async with connected(owner="bob") as socket:
        answers = set()
        for stream_id in ("s", "none", "no id at all", "", "\ud800"):
            for asked in ({"offset": 1}, {"epoch": "e"}, {"offset": 999}, {"token": "\ud800.t"}):
                await socket.say("resume", id=stream_id, **asked)
                answers.add(await socket.receive())
        assert answers == {'{"type":"error","channel":1,"to":"resume","error":"stream_not_found"}'}
        for type_ in ("status", "cancel"):
            await socket.say(type_, id="s")
            foreign = await socket.receive()
            await socket.say(type_, id="none")
            assert await socket.receive() == foreign


async def test_positions_are_refused_as_over_http(manager: StreamManager):
    await manager.arun("s", finished([b"abc"]), owner="ada")
    await produced()
    async with connected(owner="ada") as socket:
        beyond = await socket.ask("resume", id="s", offset=4)
        assert (beyond["error"], beyond["size"]) == ("beyond_the_end", 3)
        replaced = await socket.ask("resume", id="s", epoch="other")
        info = await manager.astatus("s", owner="ada")
        assert info is not None
        assert (replaced["error"], replaced["epoch"]) == ("stream_replaced", info.epoch)


async def test_what_is_stored_now_ends_with_the_stream_still_streaming(manager: StreamManager):
    tap = Tap(b"abc")
    reader = await manager.arun("s", tap, owner="ada")
    await anext(reader)
    async with connected(owner="ada") as socket:
        await socket.say("resume", id="s", live=False)
        data, end = await socket.read()
        assert (data, end["status"], end["offset"]) == (b"abc", "streaming", 3)
    tap.end()


async def test_streams_share_a_socket(manager: StreamManager):
    taps = {number: Tap() for number in range(20)}
    for number, tap in taps.items():
        await manager.arun(f"s{number}", tap, owner="ada")
    async with connected(owner="ada") as socket:
        for number in taps:
            assert (await socket.ask("resume", number, id=f"s{number}"))["channel"] == number
        for number, tap in reversed(taps.items()):
            tap.end(b"%d" % number)
        read: dict[int, bytes] = dict.fromkeys(taps, b"")
        ended: set[int] = set()
        while len(ended) < len(taps):
            heard = await socket.hear()
            if heard["type"] == "end":
                ended.add(heard["channel"])
            else:
                read[heard["channel"]] += heard["data"]
        assert read == {number: b"%d" % number for number in taps}


async def test_a_channel_carries_one_stream_at_a_time(manager: StreamManager):
    tap = Tap(b"abc")
    await manager.arun("s", tap, owner="ada")
    async with connected(owner="ada") as socket:
        assert (await socket.ask("resume", id="s"))["type"] == "opened"
        assert (await socket.hear())["data"] == b"abc"
        assert (await socket.ask("resume", id="s"))["error"] == "channel_in_use"
        assert await socket.ask("close") == {"type": "closed", "channel": 1}
        assert (await socket.ask("close"))["error"] == "no_such_channel"
        await socket.say("resume", id="s", offset=3)
        tap.end(b"def")
        assert (await socket.read())[0] == b"def"


async def test_a_socket_follows_a_bounded_number_of_streams(manager: StreamManager):
    class Two(StreamConsumer):
        max_streams = 2

    taps = [Tap() for _ in range(3)]
    for number, tap in enumerate(taps):
        await manager.arun(f"s{number}", tap, owner="ada")
    async with connected(Two, owner="ada") as socket:
        assert (await socket.ask("resume", 0, id="s0"))["type"] == "opened"
        assert (await socket.ask("resume", 1, id="s1"))["type"] == "opened"
        assert (await socket.ask("resume", 2, id="s2"))["error"] == "busy"
        await socket.ask("close", 0)
        assert (await socket.ask("resume", 2, id="s2"))["type"] == "opened"
    for tap in taps:
        tap.end()


async def test_status_and_cancel_by_id_and_by_channel(manager: StreamManager):
    tap = Tap(b"abc")
    reader = await manager.arun("s", tap, owner="ada")
    await anext(reader)
    async with connected(owner="ada") as socket:
        status = await socket.ask("status", 7, id="s")
        assert (status["type"], status["channel"], status["to"]) == ("status", 7, "status")
        assert (status["id"], status["status"], status["size"]) == ("s", "streaming", 3)
        assert (await socket.ask("status", 8))["error"] == "no_such_channel"
        assert (await socket.ask("status", 8, id="s", epoch="e"))["error"] == "stream_replaced"
        await socket.say("resume", id="s", offset=3)
        await socket.say("cancel")  # before it is open
        heard = [await socket.hear() for _ in range(3)]
        assert {one["type"] for one in heard} == {"opened", "status", "end"}
        by_type = {one["type"]: one for one in heard}
        assert by_type["end"]["status"] == "cancelled"
        assert by_type["status"]["to"] == "cancel"
        assert (await socket.ask("cancel", id="s"))["status"] == "cancelled"
    await asyncio.wait_for(tap.closed.wait(), 30)


async def test_a_cancel_of_a_channel_that_does_not_open_is_refused(manager: StreamManager):
    async with connected(owner="ada") as socket:
        await socket.say("resume", id="none")
        await socket.say("cancel")
        refusals = {(one["to"], one["error"]) for one in [await socket.hear(), await socket.hear()]}
        assert refusals == {("resume", "stream_not_found"), ("cancel", "no_such_channel")}


async def test_a_stream_that_fails_ends_with_its_code(manager: StreamManager):
    tap = Tap(b"abc", RuntimeError("no"))
    await manager.arun("s", tap, owner="ada")
    async with connected(owner="ada") as socket:
        await socket.say("resume", id="s")
        data, end = await socket.read()
        assert (data, end["status"], end["error"]) == (b"abc", "error", "source_failed")


async def test_a_deleted_stream_ends_as_expired(manager: StreamManager):
    tap = Tap(b"abc")
    await manager.arun("s", tap, owner="ada")
    async with connected(owner="ada") as socket:
        await socket.ask("resume", id="s")
        assert (await socket.hear())["data"] == b"abc"
        await manager.adelete("s", owner="ada")
        assert (await socket.hear())["error"] == "expired"


TEXT = "Streams überleben, 再読み込み 🙂. " * 40


async def test_text_frames_are_whole_characters_wherever_the_log_was_cut(manager: StreamManager):
    log = TEXT.encode()
    cuts = sorted(random.sample(range(1, len(log)), 60))
    chunks = [log[a:b] for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    await manager.arun("s", finished(chunks), owner="ada")
    async with connected(owner="ada") as socket:
        await socket.say("resume", id="s", frames="text")
        data, end = await socket.read()
        assert (data, end["offset"]) == (log, len(log))
        half = len(TEXT[:100].encode())
        await socket.say("resume", id="s", frames="text", offset=half)
        assert (await socket.read())[0] == log[half:]


@pytest.mark.parametrize(("log", "offset"), [(b"abc\xff", 0), ("ü".encode(), 1)])
async def test_bytes_that_are_no_text_are_refused_as_text(
    manager: StreamManager, log: bytes, offset: int
):
    await manager.arun("s", finished([log]), owner="ada")
    await produced()
    async with connected(owner="ada") as socket:
        await socket.say("resume", id="s", frames="text", offset=offset)
        assert (await socket.read())[1]["error"] == "not_text"
        await socket.say("resume", id="s", offset=offset)
        assert (await socket.read())[0] == log[offset:]


class Narrow(StreamConsumer):
    """A consumer with a small window."""

    window = 64


async def until_quiet(socket: Socket) -> list[dict[str, Any]]:
    """Return what is there to hear."""
    heard = []
    while not await socket.communicator.receive_nothing(timeout=0.05, interval=0.01):
        heard.append(await socket.hear())
    return heard


@pytest.mark.lengthy
async def test_a_client_that_does_not_acknowledge_gets_a_window(manager: StreamManager):
    log = bytes(range(256)) * 8
    await manager.arun("s", finished([log]), owner="ada")
    await produced()
    async with connected(Narrow, owner="ada") as socket:
        opened = await socket.ask("resume", id="s", offset=10)
        assert opened["window"] == 64
        first = b"".join(one["data"] for one in await until_quiet(socket))
        assert first == log[10:74]
        await socket.say("ack", offset=50)
        await socket.say("ack", offset=20)  # an old one takes nothing back
        assert b"".join(one["data"] for one in await until_quiet(socket)) == log[74:114]
        socket.window, socket.offset, socket.acknowledged = 64, 114, 50
        await socket.say("ack", offset=114)
        assert (await socket.read())[0] == log[114:]


async def test_a_client_that_acknowledges_at_half_a_window_gets_it_all(manager: StreamManager):
    log = random.randbytes(10_000)
    await manager.arun("s", finished([log[:77], log[77:5_000], log[5_000:]]), owner="ada")
    async with connected(Narrow, owner="ada") as socket:
        await socket.say("resume", id="s")
        assert (await socket.read())[0] == log


async def test_the_smallest_window_carries_a_byte_at_a_time(
    memory_manager: StreamManager, configure_memory: Configure
):
    class Narrow(Answers):
        window = 1

    configure_memory(OWNER=OWNER)
    async with connected(Narrow, owner="ada") as socket, within(10):
        await socket.take(await socket.ask("acquire", data={"words": ["abc"]}))
        assert (await socket.read())[0] == b"abc"


async def test_nobody_acknowledges_what_was_not_sent(manager: StreamManager):
    tap = Tap(b"abc")
    await manager.arun("s", tap, owner="ada")
    async with connected(owner="ada") as socket:
        assert (await socket.ask("resume", id="s"))["type"] == "opened"
        assert (await socket.hear())["data"] == b"abc"
        refusal = await socket.ask("ack", offset=4)
        assert (refusal["to"], refusal["error"]) == ("ack", "bad_message")
        await socket.say("ack", offset=3)
        await socket.say("ack", 5, offset=3)  # of a stream that has ended meanwhile, perhaps
        tap.end()
        assert (await socket.hear())["status"] == "done"


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"type": "nothing"}, "'type' is one of acquire, resume, ack, cancel, status, close."),
    ({"type": ["resume"]}, "'type' is one of acquire, resume, ack, cancel, status, close."),
    ({"type": "resume"}, "'resume' needs 'id'."),
    ({"type": "resume", "id": 5}, "'id' is a string."),
    ({"type": "resume", "id": "s", "offset": -1}, "'offset' is a whole number"),
    ({"type": "resume", "id": "s", "offset": True}, "'offset' is a whole number"),
    ({"type": "resume", "id": "s", "offset": 1.0}, "'offset' is a whole number"),
    ({"type": "resume", "id": "s", "offset": 2**60}, "'offset' is a whole number"),
    ({"type": "resume", "id": "s", "frames": "base64"}, "'frames' is 'binary' or 'text'."),
    ({"type": "resume", "id": "s", "frames": []}, "'frames' is 'binary' or 'text'."),
    ({"type": "resume", "id": "s", "live": 1}, "'live' is true or false."),
    ({"type": "resume", "id": "s", "after": 1}, "'resume' takes no 'after'."),
    ({"type": "ack"}, "'ack' needs 'offset'."),
    ({"type": "close", "id": "s"}, "'close' takes no 'id'."),
]


@pytest.mark.parametrize(("fields", "detail"), BAD_FIELDS)
async def test_a_bad_message_is_refused_in_words(
    memory_manager: StreamManager, configure_memory: Configure, fields: dict[str, Any], detail: str
):
    configure_memory(OWNER=OWNER)
    async with connected(owner="ada") as socket:
        refusal = await socket.ask(fields.pop("type"), 3, **fields)
        assert (refusal["channel"], refusal["error"]) == (3, "bad_message")
        assert refusal["detail"].startswith(detail)
        assert (await socket.ask("status", id="s"))["error"] == "stream_not_found"


UNNAMED = ["", "{", "[]", "1", "[" * 100_000, '{"type":"close"}', '{"channel":-1}']


@pytest.mark.parametrize("text", UNNAMED, ids=range(len(UNNAMED)))
async def test_a_message_without_a_channel_closes_the_socket(
    memory_manager: StreamManager, configure_memory: Configure, text: str
):
    configure_memory(OWNER=OWNER)
    async with connected(owner="ada") as socket:
        await socket.communicator.send_input({"type": "websocket.receive", "text": text})
        assert await socket.hear() == {"type": "closing", "code": 1008}


async def test_too_many_messages_at_once_close_the_socket(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("resumable_streams.consumers.MAX_PENDING", 8)

    class Slow(Answers):
        async def get_stream_id(self, data: Any) -> None:
            await asyncio.Event().wait()

    async with connected(Slow, owner="ada") as socket:
        for number in range(9):
            await socket.say("acquire", number)
        assert await socket.hear() == {"type": "closing", "code": 1008}


async def test_an_address_with_too_many_fields_closes_the_socket(
    memory_manager: StreamManager, configure_memory: Configure
):
    configure_memory(OWNER=OWNER)
    async with connected(address=f"/ws/streams/?{'a&' * 1_001}", owner="ada") as socket:
        assert await socket.hear() == {"type": "closing", "code": 1008}


@pytest.mark.lengthy
async def test_a_client_that_takes_no_frame_has_a_longest_life_too(
    configure_memory: Configure, closes_runtime: None
):
    configure_memory(OWNER=OWNER, KEEP_ALIVE=1, MAX_RESPONSE_SECONDS=1.5)
    async with connected(Stalled, owner="ada") as socket, within(10):
        assert await socket.hear() == {"type": "closing", "code": 4503}


async def test_bad_messages_of_a_client_that_reads_no_answer_close_the_socket(
    memory_manager: StreamManager, configure_memory: Configure, monkeypatch: pytest.MonkeyPatch
):
    configure_memory(OWNER=OWNER)
    monkeypatch.setattr("resumable_streams.consumers.MAX_PENDING", 8)
    async with connected(Stalled, owner="ada") as socket:
        for number in range(9):
            await socket.say("resume", number)  # without an id
        assert await socket.hear() == {"type": "closing", "code": 1008}


async def test_nobody_is_accepted_and_told_so(manager: StreamManager):
    async with connected() as socket:
        assert await socket.hear() == {"type": "closing", "code": 4401}


async def test_an_address_names_its_one_stream(manager: StreamManager):
    await manager.arun("s", finished([b"abc"]), owner="ada")
    await produced()
    address = "/ws/streams/s/?offset=1"
    async with connected(address=address, owner="ada", **at_address("s")) as socket:
        data, end = await socket.read(0)
        assert (data, end["type"]) == (b"bc", "end")
        assert await socket.hear() == {"type": "closing", "code": 1000}
    for bad, word in (("?offset=x", "invalid_position"), ("?offset=4", "beyond_the_end")):
        async with connected(address=f"/{bad}", owner="ada", **at_address("s")) as socket:
            assert (await socket.hear())["error"] == word
            assert await socket.hear() == {"type": "closing", "code": 1008}


async def test_a_store_that_is_away_is_no_end(configure_redis: Configure, closes_runtime: None):
    configure_redis(OWNER=OWNER, LOCATION="redis://127.0.0.1:1", STORE_TIMEOUT=0.1)
    async with connected(owner="ada") as socket:
        for _ in range(2):
            refusal = await socket.ask("resume", id="s")
            assert (refusal["error"], refusal["retry_after"]) == ("unavailable", 1)
    async with connected(owner="ada", **at_address("s")) as socket:
        assert (await socket.hear())["error"] == "unavailable"
        assert await socket.hear() == {"type": "closing", "code": 4503}


@pytest.mark.parametrize("owner", ["ada", "bob"])
async def test_an_address_whose_stream_is_missing_or_foreign_closes(
    manager: StreamManager, owner: str
):
    await manager.arun("s", finished([b"abc"]), owner="ada")
    stream_id = "none" if owner == "ada" else "s"
    async with connected(owner=owner, **at_address(stream_id)) as socket:
        assert await socket.hear() == {**NOT_FOUND, "channel": 0}
        assert await socket.hear() == {"type": "closing", "code": 4404}


async def test_a_signed_link_reads_and_does_no_more(manager: StreamManager):
    tap = Tap(b"abc")
    await manager.arun("s", tap, owner="ada")
    token = await manager.asign("s", owner="ada")
    async with connected(address=f"/ws/streams/?token={token}") as socket:
        assert (await socket.ask("resume", id="s"))["type"] == "opened"
        assert (await socket.hear())["data"] == b"abc"
        assert (await socket.ask("status", 2, id="s"))["status"] == "streaming"
        assert (await socket.ask("resume", 2, id="other"))["error"] == "stream_not_found"
        assert await socket.ask("cancel", id="s") == {"type": "closing", "code": 4401}
    async with connected(owner="bob") as socket:
        assert (await socket.ask("resume", id="s", token=token))["type"] == "opened"
        assert (await socket.hear())["data"] == b"abc"
        assert (await socket.ask("cancel", id="s"))["error"] == "stream_not_found"
        assert (await socket.ask("resume", 2, id="s", token="bad"))["error"] == "stream_not_found"
    tap.end()


async def test_a_client_that_leaves_takes_its_readers_along(manager: StreamManager):
    tap = Tap(b"abc")
    reader = await manager.arun("s", tap, owner="ada")
    await anext(reader)
    async with connected(owner="ada") as socket:
        await socket.ask("resume", id="s")
        await socket.hear()
        tail = reader._tail
        assert tail is not None
        assert tail.readers == 2
        async with within(1):
            await socket.communicator.disconnect(timeout=30)
            await eventually(lambda: tail.readers == 1)
    tap.end()


async def test_a_drain_closes_sockets_with_and_without_streams(manager: StreamManager):
    tap = Tap(b"abc")
    await manager.arun("s", tap, owner="ada")
    async with connected(owner="ada") as reading, connected(owner="ada") as idle:
        assert (await reading.ask("resume", id="s"))["type"] == "opened"
        assert (await reading.hear())["data"] == b"abc"
        assert (await idle.ask("status", id="s"))["type"] == "status"
        async with within(1):
            runtime.start_drain()
            assert await reading.hear() == {"type": "closing", "code": 4503}
            assert await idle.hear() == {"type": "closing", "code": 4503}
        tap.end()
        async with connected(owner="ada") as late:
            assert await late.hear() == {"type": "closing", "code": 4503}


@pytest.mark.lengthy
async def test_silence_is_broken_and_a_socket_has_a_longest_life(
    configure_memory: Configure, closes_runtime: None
):
    configure_memory(OWNER=OWNER, KEEP_ALIVE=1, MAX_RESPONSE_SECONDS=2.5)
    async with connected(owner="ada") as socket:
        assert await socket.hear() == {"type": "keep-alive"}
        assert await socket.hear() == {"type": "keep-alive"}
        assert await socket.hear() == {"type": "closing", "code": 4503}


@pytest.mark.parametrize("kind", ["memory", "core", "pubsub"])
async def test_a_layer_is_there_for_those_who_name_it(
    manager: StreamManager, settings: Any, redis_url: str, key_prefix: str, kind: str
):
    host = {"address": redis_url, "socket_timeout": None}  # or redis-py 8 ends its waits
    layer: dict[str, Any] = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if kind != "memory":
        name = {"core": "core.RedisChannelLayer", "pubsub": "pubsub.RedisPubSubChannelLayer"}[kind]
        config = {"hosts": [host], "prefix": f"{key_prefix}-layer"}
        layer = {"BACKEND": f"channels_redis.{name}", "CONFIG": config}
    settings.CHANNEL_LAYERS = {"default": layer}
    tap = Tap(b"before")
    await manager.arun("s", tap, owner="ada")

    class Grouped(StreamConsumer):
        channel_layer_alias = "default"
        groups = ["all"]

        async def news(self, message: dict[str, Any]) -> None:
            await self.send(text_data='{"type":"news"}')

    from channels.layers import get_channel_layer

    async with connected(Grouped, owner="ada") as grouped, connected(owner="ada") as plain:
        assert (await grouped.ask("resume", id="s"))["offset"] == 0
        assert (await grouped.hear())["data"] == b"before"
        await get_channel_layer().group_send("all", {"type": "news"})
        assert await grouped.hear() == {"type": "news"}
        tap.end(b"after")
        assert (await grouped.hear())["data"] == b"after"
        assert (await plain.ask("status", id="x"))["error"] == "stream_not_found"
    await get_channel_layer().flush()
    if kind == "core":
        await get_channel_layer().close_pools()


def test_a_format_that_nobody_knows_is_refused_at_the_start():
    class Unknown(StreamConsumer):
        format = "smoke_signs"

    with pytest.raises(ImproperlyConfigured, match="smoke_signs"):
        Unknown.as_asgi()
    with pytest.raises(ImproperlyConfigured, match="smoke_signs"):
        StreamConsumer.as_asgi(format="smoke_signs")
    with pytest.raises(TypeError, match="takes no max_sockets"):
        StreamConsumer.as_asgi(max_sockets=3)


async def test_a_route_replaces_attributes_of_its_consumer(manager: StreamManager):
    async def produce(data: Any) -> AsyncIterator[str]:
        yield f"You said {data}."

    class Routed(StreamConsumer):
        @classmethod
        def as_asgi(cls, **initkwargs: Any) -> Any:
            return super().as_asgi(produce=produce, window=64)

    async with connected(Routed, owner="ada") as socket:
        opened = await socket.ask("acquire", data="hello")
        assert opened["window"] == 64
        await socket.take(opened)
        assert (await socket.read())[0] == b"You said hello."


def test_other_connections_go_to_the_application():
    application, routes = object(), [path("ws/", StreamConsumer.as_asgi())]
    router = with_websockets(application, routes)
    assert router.application_mapping["http"] is application
    assert router.application_mapping["lifespan"] is application
