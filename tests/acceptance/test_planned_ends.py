"""A body that ends before its stream does, on real servers: no client takes it for the whole."""

import socket
from urllib.parse import urlsplit

import pytest

from .conftest import Serve
from .servers import COMMANDS, WSGI_COMMANDS, Server

SITE = "tests.acceptance.frames_site"
KINDS = [*COMMANDS, "gunicorn gthread", "runserver (WSGI)"]
RESUME = (
    b'data: {"type":"error","errorText":"The connection ended before the answer did: resume."}\n\n'
)
LAST_CHUNK = b"\r\n0\r\n\r\n"


def ask(server: Server, version: str) -> tuple[bytes, bytes]:
    """Start a message over a version of HTTP; return the headers, and the body as it came."""
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(
            b"POST /produce?format=ui_message&count=200&every=0.05 HTTP/%b\r\n"
            b"Host: localhost\r\nX-User: me\r\nContent-Length: 0\r\n\r\n" % version.encode()
        )
        received = bytearray()
        try:
            while data := connection.recv(65_536):
                received += data
                if received.endswith(LAST_CHUNK):
                    break
        except ConnectionResetError:
            pass
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    return head.lower(), body


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_goes_on_never_looks_whole(site: Serve, redis_url: str, kind: str) -> None:
    server = site(
        kind,
        DJANGO_SETTINGS_MODULE=SITE,
        REDIS_URL=redis_url,
        MAX_RESPONSE_SECONDS="1",
        DRAIN_TIMEOUT="0",
    )
    head, body = ask(server, "1.0")
    assert b" 200 " in head.splitlines()[0], server.written()
    assert b'"delta":"0 "' in body
    assert b"transfer-encoding" not in head
    assert body.endswith(RESUME)
    head, body = ask(server, "1.1")
    assert b'"delta":"0 "' in body
    if b"transfer-encoding: chunked" in head:
        assert not body.endswith(LAST_CHUNK)
        assert RESUME not in body
    else:
        assert kind in WSGI_COMMANDS
        assert body.endswith(RESUME)
    assert "Traceback" not in server.written()
