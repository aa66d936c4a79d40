"""Streams behind Debian's Caddy, with the block of the docs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.tools.serving import PLAIN

from .caddy import caddy, shows_a_cut
from .conftest import Start
from .visits import numbered, read, start_stream, visitor

Behind = Callable[[str], str]


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    """Start Caddy before a server; return the address of Caddy."""
    folder = tmp_path / "caddy"
    folder.mkdir()
    with ExitStack() as running:
        yield lambda server: running.enter_context(caddy(server, folder=folder))


@pytest.mark.parametrize("wire_format", ["raw", "sse", "ui_message"])
def test_a_frame_arrives_before_the_next_and_as_it_is(
    start: Start, behind: Behind, wire_format: str
) -> None:
    path = f"/produce?format={wire_format}&count=100&every=30"
    with visitor(behind(start(DRAIN_TIMEOUT="0").url)) as client:
        with client.stream("POST", path, headers={"Accept-Encoding": "gzip"}) as response:
            assert next(response.iter_raw()).startswith(b"data: ")
        assert response.headers["Content-Encoding"] == "identity"
        state = client.get(f"{response.headers['Location']}status/").json()
    assert state["status"] == "streaming"


def test_raw_bytes_are_compared_with_head_before_they_are_called_whole(
    start: Start, behind: Behind
) -> None:
    with visitor(behind(start(MAX_RESPONSE_SECONDS="1").url)) as client:
        stream, asked = start_stream(client, "raw")
        assert "".join(stream.text()) == "".join(f"data: {word}\n\n" for word in numbered())
    assert asked[:3] == ["POST", "HEAD", "GET"]


def test_events_that_go_on_end_without_a_last_one_and_are_resumed(
    start: Start, behind: Behind
) -> None:
    with visitor(behind(start(MAX_RESPONSE_SECONDS="1").url)) as client:
        stream, asked = start_stream(client, "sse")
        assert [event.data for event in stream.events()] == numbered()
    assert asked[:3] == ["POST", "HEAD", "GET"]


@pytest.mark.parametrize("wire_format", ["raw", "ui_message"])
def test_the_bytes_of_a_killed_process_have_no_last_frame(
    start: Start, behind: Behind, wire_format: str
) -> None:
    server = start()
    with visitor(behind(server.url)) as client:
        path = f"/produce?format={wire_format}&count=200&every=0.05"
        _, body, was_cut = read(client, "POST", path, then=server.kill)
    assert body
    assert b'"type":"finish"' not in body
    assert was_cut is shows_a_cut()


def test_host_scheme_and_client_reach_django(behind: Behind) -> None:
    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            for name in ("Host", "X-Forwarded-Proto", "X-Forwarded-For"):
                self.send_header(f"Echo-{name}", self.headers[name])
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            url = behind(f"http://127.0.0.1:{server.server_port}")
            echo = httpx.get(url, headers={"X-Forwarded-For": "10.1.2.3"}, verify=PLAIN).headers
        finally:
            server.shutdown()
            serving.join()
    assert echo["Echo-Host"] == url.removeprefix("http://")
    assert (echo["Echo-X-Forwarded-Proto"], echo["Echo-X-Forwarded-For"]) == ("http", "127.0.0.1")
