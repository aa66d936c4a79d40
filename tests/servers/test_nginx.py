"""Streams behind Debian's nginx, with its defaults and with the block of the docs."""

import pytest

from .conftest import Proxy, Start
from .nginx import BLOCKS
from .visits import COUNT, numbered, read, start_stream, visitor

RESUME = b'{"type":"error","errorText":"The connection ended before the answer did: resume."}\n\n'


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("wire_format", ["raw", "sse", "ui_message"])
def test_a_frame_arrives_before_the_next_and_as_it_is(
    start: Start, proxy: Proxy, block: str, wire_format: str
) -> None:
    path = f"/produce?format={wire_format}&count=100&every=30"
    with visitor(proxy(start(DRAIN_TIMEOUT="0").url, block=block)) as client:
        with client.stream("POST", path, headers={"Accept-Encoding": "gzip"}) as response:
            assert next(response.iter_raw()).startswith(b"data: ")
        assert response.headers["Content-Encoding"] == "identity"
        state = client.get(f"{response.headers['Location']}status/").json()
    assert state["status"] == "streaming"


@pytest.mark.parametrize("block", BLOCKS)
def test_a_message_that_goes_on_is_never_taken_for_the_whole(
    start: Start, proxy: Proxy, block: str
) -> None:
    server = start(MAX_RESPONSE_SECONDS="1")
    with visitor(proxy(server.url, block=block)) as client:
        path = f"/produce?format=ui_message&count={COUNT}&every=0.1"
        _, body, was_cut = read(client, "POST", path)
    assert b'"delta":"0 "' in body
    assert b'"type":"finish"' not in body
    assert was_cut is (block == "documented")
    assert body.endswith(RESUME) is (block == "defaults")


@pytest.mark.parametrize("block", BLOCKS)
def test_raw_bytes_are_compared_with_head_before_they_are_called_whole(
    start: Start, proxy: Proxy, block: str
) -> None:
    server = start(MAX_RESPONSE_SECONDS="1")
    with visitor(proxy(server.url, block=block)) as client:
        stream, asked = start_stream(client, "raw")
        assert "".join(stream.text()) == "".join(f"data: {word}\n\n" for word in numbered())
    assert asked[:3] == ["POST", "HEAD", "GET"]


@pytest.mark.parametrize("block", BLOCKS)
def test_events_that_go_on_end_without_a_last_one_and_are_resumed(
    start: Start, proxy: Proxy, block: str
) -> None:
    server = start(MAX_RESPONSE_SECONDS="1")
    with visitor(proxy(server.url, block=block)) as client:
        stream, asked = start_stream(client, "sse")
        assert [event.data for event in stream.events()] == numbered()
    assert asked[:3] == ["POST", "HEAD", "GET"]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("wire_format", ["raw", "ui_message"])
def test_a_process_that_is_killed_is_seen_behind_the_documented_block(
    start: Start, proxy: Proxy, block: str, wire_format: str
) -> None:
    server = start()
    with visitor(proxy(server.url, block=block)) as client:
        path = f"/produce?format={wire_format}&count=200&every=0.05"
        _, body, was_cut = read(client, "POST", path, then=server.kill)
    assert body
    assert was_cut is (block == "documented")
