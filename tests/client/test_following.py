"""Starting and following streams of a real server."""

import asyncio
import mimetypes
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from resumable_streams.client import (
    AnswerLost,
    AsyncSiteClient,
    BadRequest,
    BeyondTheEnd,
    Conflict,
    Forbidden,
    GaveUp,
    NotAStream,
    NotAuthenticated,
    NotFound,
    Refusal,
    RemoteFailure,
    Replaced,
    WrongFormat,
    decoding,
    frames,
)
from resumable_streams.process.runtime import runtime
from resumable_streams.streams import streams
from tests.proxy import proxy_to
from tests.tools.serving import PLAIN
from tests.tools.sources import Tap, finished
from tests.tools.waiting import eventually, pass_time

from . import site
from .conftest import MakeClient
from .weather import BadLine, Fault

pytestmark = pytest.mark.lengthy

WORDS = ["Hé", "llo ", "🙂"]
FORMATS = ["raw", "ndjson", "sse", "ui_message", "ag_ui"]


@pytest.fixture(autouse=True)
def words(sources: dict[str, Any]) -> None:
    sources["words"] = lambda: finished(WORDS)


async def all_of(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


# --- the four ways to iterate


async def test_the_same_text_in_every_format(make: MakeClient) -> None:
    client = make()
    raw = await client.acquire("/answer/words/")
    assert "".join(await all_of(raw.text())) == "".join(WORDS)
    lines = await client.acquire("/answer/words/?format=ndjson")
    assert await all_of(lines.parts()) == WORDS
    events = await client.acquire("/answer/words/?format=sse")
    assert [event.data async for event in events.events()] == WORDS
    message = await client.acquire("/answer/words/?format=ui_message")
    assert "".join([part.get("delta", "") async for part in message.parts()]) == "".join(WORDS)
    run = await client.acquire("/answer/words/?format=ag_ui")
    assert "".join([part.get("delta", "") async for part in run.parts()]) == "".join(WORDS)
    assert {one.ended for one in (raw, lines, events, message, run)} == {"done"}


async def test_a_stream_is_followed_by_its_id_its_address_and_a_position(
    make: MakeClient,
) -> None:
    client = make()
    stream = await client.acquire("/answer/words/?format=sse")
    first = await anext(stream.events())
    for name in (stream.id, stream.url):
        assert [event.data async for event in client.stream(name).events()] == WORDS
    later = client.stream(stream.id, after=first.id)
    assert [event.data async for event in later.events()] == WORDS[1:]
    raw = await client.acquire("/answer/words/")
    middle = client.stream(raw.id, after=f"{raw.epoch}-3")
    assert b"".join(await all_of(middle.bytes())) == "".join(WORDS).encode()[3:]
    assert await all_of(client.stream(raw.id, after=middle.position).bytes()) == []


async def test_a_loop_that_is_left_goes_on_after_its_last_item(make: MakeClient) -> None:
    stream = await make().acquire("/answer/words/?format=sse")
    found = []
    while not stream.ended:
        async for event in stream.events():
            found.append(event.data)
            break
    assert found == WORDS
    assert await all_of(stream.events()) == []


async def test_an_iteration_that_was_left_takes_nothing_from_the_next(
    make: MakeClient, sources: dict[str, Any]
) -> None:
    sources["tap"] = tap = Tap("a")
    line = visitors_line()
    client = make(http=httpx.AsyncClient(transport=line))
    stream = await client.acquire("/answer/tap/?format=sse")
    left, again = stream.events(), stream.events()
    assert (await anext(left)).data == "a"
    tap.give("b")
    assert (await anext(again)).data == "b"
    await left.aclose()  # type: ignore[attr-defined]
    tap.end("c")
    assert [event.data async for event in again] == ["c"]
    assert [one.method for one in line.asked] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("wire_format", "way"), [("raw", "events"), ("sse", "text"), ("raw", "parts"), ("sse", "parts")]
)
async def test_a_way_that_does_not_fit_is_refused_with_one_that_does(
    make: MakeClient, wire_format: str, way: str
) -> None:
    stream = await make().acquire(f"/answer/words/?format={wire_format}")
    with pytest.raises(WrongFormat, match=r"iterate `(bytes|events)\(\)`"):
        await all_of(getattr(stream, way)())
    assert b"".join(await all_of(stream.bytes()))


# --- the end


@pytest.mark.parametrize("wire_format", FORMATS)
async def test_a_failure_comes_after_all_that_was_produced(
    make: MakeClient, sources: dict[str, Any], wire_format: str
) -> None:
    async def failing() -> AsyncIterator[str]:
        for word in WORDS:
            yield word
        raise ConnectionError

    sources["failing"] = failing
    stream = await make().acquire(f"/answer/failing/?format={wire_format}")
    found = b""

    async def read() -> None:
        nonlocal found
        async for data in stream.bytes():
            found += data

    with pytest.raises(RemoteFailure) as told:
        await read()
    assert told.value.code == "source_failed"
    assert all(word.encode() in found for word in WORDS)
    assert stream.ended == "error"
    with pytest.raises(RemoteFailure):
        await all_of(stream.bytes())


@pytest.mark.parametrize("wire_format", FORMATS)
async def test_a_cancelled_stream_ends_and_says_so(
    make: MakeClient, sources: dict[str, Any], wire_format: str
) -> None:
    sources["tap"] = tap = Tap("first")
    stream = await make().acquire(f"/answer/tap/?format={wire_format}")
    async for data in stream.bytes():
        if b"first" in data:
            state = await stream.cancel()
    assert (stream.ended, state.status) == ("cancelled", "cancelled")
    assert (await stream.cancel()).status == "cancelled"
    await tap.closed.wait()


async def test_status_and_delete(make: MakeClient) -> None:
    stream = await make().acquire("/answer/words/")
    await all_of(stream.bytes())
    state = await stream.status()
    assert (state.id, state.epoch, state.status) == (stream.id, stream.epoch, "done")
    assert (state.size, state.is_streaming) == (len("".join(WORDS).encode()), False)
    await stream.delete()
    with pytest.raises(NotFound):
        await stream.status()
    with pytest.raises(NotFound):
        await stream.delete()


async def test_a_delete_whose_answer_was_lost_is_done(make: MakeClient, port: int) -> None:
    stream = await make().acquire("/answer/words/")
    line = BadLine(httpx.AsyncHTTPTransport(verify=PLAIN), [Fault(kind="lost")])
    other = make(http=httpx.AsyncClient(transport=line)).stream(stream.id)
    await other.delete()
    assert len(line.asked) == 2


async def test_a_stream_that_is_deleted_under_its_reader_is_told(
    make: MakeClient, sources: dict[str, Any]
) -> None:
    for wire_format in FORMATS:
        sources[wire_format] = Tap("first")
        stream = await make().acquire(f"/answer/{wire_format}/?format={wire_format}")
        reading = stream.bytes()
        while b"first" not in await anext(reading):
            pass
        await stream.delete()
        with pytest.raises((NotFound, RemoteFailure), match=r"404|expired"):
            await all_of(reading)


# --- one payment


async def test_a_retry_never_pays_twice(make: MakeClient) -> None:
    faults = [Fault(kind="lost"), Fault(kind="unsent"), Fault(kind="refused"), Fault(kind="lost")]
    line = BadLine(httpx.AsyncHTTPTransport(verify=PLAIN), faults)
    client = make(http=httpx.AsyncClient(transport=line))
    stream = await client.acquire("/answer/words/", json={"question": "é"})
    assert "".join(await all_of(stream.text())) == "".join(WORDS)
    assert site.calls["words"] == 1
    assert site.bodies == [b'{"question":"\xc3\xa9"}']
    keys = {one.headers["Idempotency-Key"] for one in line.asked if one.method == "POST"}
    assert len(keys) == 1


async def test_another_call_is_another_stream_unless_it_has_the_same_key(make: MakeClient) -> None:
    client = make()
    ids = {(await client.acquire("/answer/words/")).id for _ in range(2)}
    same = {(await client.acquire("/answer/words/", idempotency_key="k")).id for _ in range(2)}
    assert (len(ids), len(same), site.calls["words"]) == (2, 1, 3)


async def test_files_and_forms_are_sent_again_as_they_were(make: MakeClient) -> None:
    mimetypes.init()  # which reads files
    line = BadLine(httpx.AsyncHTTPTransport(verify=PLAIN), [Fault(kind="refused")])
    client = make(http=httpx.AsyncClient(transport=line))
    await client.acquire("/answer/words/", data={"a": "1"}, files={"file": ("note.txt", b"note")})
    first, second = line.asked
    assert first.content == second.content
    assert b"note" in first.content
    assert first.headers["Content-Type"] == second.headers["Content-Type"]


def visitors_line(*faults: Fault) -> BadLine:
    return BadLine(httpx.AsyncHTTPTransport(verify=PLAIN), faults)


async def test_a_visitor_whose_first_answer_is_lost_is_not_made_to_pay_again(
    make: MakeClient, port: int
) -> None:
    line = visitors_line()
    client = make(token=None, http=httpx.AsyncClient(transport=line))
    await client.http.get(f"http://127.0.0.1:{port}/page/")
    line.next(Fault(kind="lost"))
    with pytest.raises(AnswerLost, match="Log in"):
        await client.acquire("/answer/words/")
    assert site.calls["words"] == 1


async def test_a_visitor_with_a_session_is_known_again(make: MakeClient, port: int) -> None:
    line = visitors_line()
    client = make(token=None, http=httpx.AsyncClient(transport=line))
    await client.http.get(f"http://127.0.0.1:{port}/login/")
    line.next(Fault(kind="lost"))
    stream = await client.acquire("/answer/words/")
    assert "".join(await all_of(stream.text())) == "".join(WORDS)
    assert site.calls["words"] == 1


async def test_a_visitor_whose_request_was_never_sent_just_tries_again(
    make: MakeClient, port: int
) -> None:
    line = visitors_line()
    client = make(token=None, http=httpx.AsyncClient(transport=line))
    await client.http.get(f"http://127.0.0.1:{port}/page/")
    line.next(Fault(kind="unsent"), Fault(kind="refused"))
    await all_of((await client.acquire("/answer/words/")).bytes())


# --- who asks


async def test_a_session_sends_its_csrf_token_by_itself(make: MakeClient, port: int) -> None:
    client = make(token=None)
    with pytest.raises(Forbidden, match="CSRF"):
        await client.acquire("/answer/words/")
    page = await client.http.get(f"http://127.0.0.1:{port}/login/")
    stream = await client.acquire("/answer/words/")
    await all_of(stream.bytes())
    assert (await stream.cancel()).status == "done"
    client.http.cookies.delete("csrftoken")
    with pytest.raises(Forbidden):
        await stream.delete()
    client.http.cookies.set("csrftoken", page.cookies["csrftoken"])
    await stream.delete()


async def test_a_token_may_be_a_function_which_is_asked_for_every_request(
    make: MakeClient,
) -> None:
    asked = []

    async def token() -> str:
        asked.append("ada")
        return "ada"

    stream = await make(token=token).acquire("/answer/words/")
    await all_of(stream.bytes())
    await stream.status()
    assert len(asked) == 3  # with the look at the end
    assert (await make(token=lambda: "Bearer ada").stream(stream.id).status()).id == stream.id


async def test_a_token_leaves_for_no_other_origin(make: MakeClient, port: int) -> None:
    async with proxy_to(port) as elsewhere:
        client = make()
        stream = await client.acquire("/answer/words/")
        other = client.stream(f"{elsewhere.url}/streams/{stream.id}/")
        with pytest.raises(NotAuthenticated, match="token="):
            await other.status()
    with pytest.raises(ValueError, match="base_url"):
        AsyncSiteClient(token="ada")


async def test_a_signed_link_needs_no_token(make: MakeClient) -> None:
    stream = await make().acquire("/answer/words/?format=sse")
    await all_of(stream.bytes())
    token = await streams.asign(stream.id, owner="ada")
    assert token
    guest = make(token=None)
    for linked in (
        guest.stream(stream.id, link=token),
        guest.stream(f"{stream.url}?token={token}"),
    ):
        assert [event.data async for event in linked.events()] == WORDS
        assert (await linked.status()).status == "done"
        with pytest.raises(Refusal) as told:
            await linked.delete()
        assert token not in str(told.value)


async def test_a_foreign_stream_is_a_missing_one(make: MakeClient) -> None:
    stream = await make().acquire("/answer/words/")
    for other in (make(token="bob").stream(stream.id), make().stream("no-such-stream")):
        with pytest.raises(NotFound, match="expired, or belongs to somebody else"):
            await all_of(other.bytes())
    with pytest.raises(NotAuthenticated, match="token="):
        await all_of(make(token=None).stream(stream.id).bytes())


# --- refusals


async def test_another_incarnation_is_never_mixed_in(make: MakeClient) -> None:
    client = make()
    for wire_format in FORMATS:
        address = f"/answer/words/?format={wire_format}"
        stream = await client.acquire(address, idempotency_key=wire_format)
        first = await anext(stream.bytes())
        await client.stream(stream.id).delete()
        again = await client.acquire(address, idempotency_key=wire_format)
        assert again.id == stream.id
        assert first
        for old in (stream, client.stream(stream.id, after=f"{stream.epoch}-0")):
            with pytest.raises(Replaced) as told:
                await all_of(old.bytes())
            assert told.value.epoch == again.epoch
        with pytest.raises(Replaced):
            await stream.status()
        with pytest.raises(Replaced):
            await client.stream(stream.id, epoch=stream.epoch).delete()
        assert (await again.status()).epoch == again.epoch


async def test_a_position_beyond_the_end_or_inside_a_frame(make: MakeClient) -> None:
    client = make()
    raw = await client.acquire("/answer/words/")
    await all_of(raw.bytes())
    with pytest.raises(BeyondTheEnd):
        await all_of(client.stream(raw.id, after=f"{raw.epoch}-999").bytes())
    events = await client.acquire("/answer/words/?format=sse")
    await all_of(events.bytes())
    with pytest.raises(BadRequest, match="inside a frame"):
        await all_of(client.stream(events.id, after=f"{events.epoch}-3").events())
    with pytest.raises(ValueError, match="position"):
        client.stream(raw.id, after="12")


async def test_a_slot_that_is_busy(make: MakeClient, sources: dict[str, Any]) -> None:
    sources["tap"] = tap = Tap("first")
    client = make()
    running = await client.acquire("/answer/tap/?slot=chat")
    with pytest.raises(Conflict) as told:
        await client.acquire("/answer/words/?slot=chat")
    assert told.value.stream_id == running.id
    await running.aclose()
    await running.cancel()
    await tap.closed.wait()


async def test_a_login_page_is_no_stream(make: MakeClient) -> None:
    client = make()
    with pytest.raises(Refusal, match=r"redirects to .*/login/"):
        await all_of(client.stream("/guarded/").bytes())
    with pytest.raises(NotAStream, match=r"text/html.*log in"):
        await all_of(client.stream("/page/").bytes())


async def test_an_address_of_a_chat(make: MakeClient, sources: dict[str, Any]) -> None:
    sources["tap"] = tap = Tap("first")
    client = make()
    stream = await client.acquire("/answer/tap/?format=ui_message")
    chat = client.stream(f"/own/{stream.id}/")
    parts = []
    async for part in chat.parts():
        parts.append(part["type"])
        tap.end()
    assert parts == ["start", "text-start", "text-delta", "text-end", "finish"]
    with pytest.raises(NotFound, match="204"):
        await all_of(client.stream(f"/own/{stream.id}/").parts())


# --- time


async def test_a_connection_that_is_silent_is_given_up_for_another(
    make: MakeClient, sources: dict[str, Any], port: int
) -> None:
    for wire_format in FORMATS:
        sources[wire_format] = tap = Tap("first")
        async with proxy_to(port) as proxy:
            client = make(base_url=proxy.url, silence=1.0)
            stream = await client.acquire(f"/answer/{wire_format}/?format={wire_format}")
            found = b""
            async for data in stream.bytes():
                found += data
                if data.endswith(b"first") or b"first" in data:
                    proxy.lose_answers()
                    tap.give("second")
                    tap.end()
            assert found.count(b"first") == found.count(b"second") == 1
            assert stream.ended == "done"


async def test_keep_alives_are_no_silence(make: MakeClient, sources: dict[str, Any]) -> None:
    sources["tap"] = tap = Tap("first")
    line = visitors_line()
    client = make(http=httpx.AsyncClient(transport=line), silence=1.0)
    stream = await client.acquire("/answer/tap/?format=sse")

    async def end_late() -> None:
        await pass_time(2.0)  # two silences long
        tap.end()

    ending = asyncio.create_task(end_late())
    assert [event.data async for event in stream.events()] == ["first"]
    await ending
    assert [one.method for one in line.asked] == ["POST"]


async def test_it_gives_up_after_its_tries_and_goes_on_when_iterated_again(
    make: MakeClient, sources: dict[str, Any], port: int
) -> None:
    sources["tap"] = tap = Tap("first")
    async with proxy_to(port) as proxy:
        stream = await make(base_url=proxy.url).acquire("/answer/tap/")
        found = [await anext(stream.text())]
        tap.give("second")
        tap.end()
        there, proxy.upstream = proxy.upstream, 1
        proxy.cut()
        with pytest.raises(GaveUp, match="5 tries") as told:
            await all_of(stream.text())
        assert isinstance(told.value.__cause__, httpx.TransportError)
        proxy.upstream = there
        assert found + await all_of(stream.text()) == ["first", "second"]


async def test_many_streams_wait_on_one_client(sources: dict[str, Any], port: int) -> None:
    taps = [Tap(str(number)) for number in range(150)]
    for number, tap in enumerate(taps):
        sources[str(number)] = tap
    client = AsyncSiteClient(f"http://127.0.0.1:{port}", token="ada")
    async with client:
        started = [await client.acquire(f"/answer/{number}/") for number in range(150)]
        reading = [asyncio.create_task(all_of(one.text())) for one in started]
        for tap in taps:
            tap.end()
        assert await asyncio.gather(*reading) == [[str(number)] for number in range(150)]
    assert client.http.is_closed


async def test_a_drain_is_waited_for_as_long_as_it_asks(
    make: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = visitors_line()
    client = make(http=httpx.AsyncClient(transport=line))
    stream = client.stream((await client.acquire("/answer/words/")).id)
    monkeypatch.setattr(runtime, "is_draining", True)
    reading = asyncio.create_task(all_of(stream.text()))
    await eventually(lambda: line.answered == [200, 503])
    refused_at = time.monotonic()
    monkeypatch.setattr(runtime, "is_draining", False)
    assert "".join(await reading) == "".join(WORDS)
    assert time.monotonic() - refused_at >= 1  # its Retry-After
    assert [one.method for one in line.asked] == ["POST", "GET", "GET", "HEAD"]


async def test_a_reader_that_is_cancelled_leaves_no_connection(
    make: MakeClient, sources: dict[str, Any]
) -> None:
    sources["tap"] = tap = Tap("first")
    stream = await make().acquire("/answer/tap/?format=sse")
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in stream.events():
            begun.set()

    reading = asyncio.create_task(read())
    await begun.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    engine: Any = runtime.resources["default"]
    await eventually(lambda: not any(tail.readers for tail in engine.hub.tails))
    tap.give("second")
    tap.end()
    assert [event.data async for event in stream.events()] == ["second"]


@pytest.mark.parametrize(("wire_format", "way"), [("sse", "events"), ("ndjson", "parts")])
async def test_a_frame_or_line_without_an_end_is_bounded(
    make: MakeClient,
    sources: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    wire_format: str,
    way: str,
) -> None:
    for module in (frames, decoding):
        monkeypatch.setattr(module, "MAX_HELD_BYTES", 1_000)
    sources["long"] = Tap(b"data: " + b"x" * 100_000)
    stream = await make().acquire(f"/answer/long/?format={wire_format}")
    with pytest.raises(WrongFormat, match="more than"):
        await all_of(getattr(stream, way)())


@pytest.mark.parametrize("wire_format", FORMATS)
async def test_bodies_that_bring_nothing_are_counted_as_failures(
    make: MakeClient, sources: dict[str, Any], wire_format: str
) -> None:
    sources["tap"] = tap = Tap("first")
    stream = await make().acquire(f"/answer/tap/?format={wire_format}")
    line = visitors_line(*[Fault(kind="broken")] * 100)
    with pytest.raises(GaveUp, match="5 tries"):
        await all_of(make(http=httpx.AsyncClient(transport=line)).stream(stream.id).bytes())
    assert [one.method for one in line.asked] == ["GET", "HEAD"] * 5
    await stream.aclose()
    tap.end()


async def test_a_position_is_between_two_characters_and_two_lines(
    make: MakeClient, sources: dict[str, Any]
) -> None:
    for wire_format, way, first, second, place in [
        ("raw", "text", b"a\xc3", b"\xa9b", 1),
        ("ndjson", "parts", b'"a"\n"\xc3', b'\xa9b"\n', 4),
    ]:
        sources[wire_format] = tap = Tap(first)
        stream = await make().acquire(f"/answer/{wire_format}/?format={wire_format}")
        async for item in getattr(stream, way)():
            assert item == "a"
            break
        assert stream.position == f"{stream.epoch}-{place}"
        tap.end(second)
        assert "".join(await all_of(getattr(stream, way)())) == "éb"
