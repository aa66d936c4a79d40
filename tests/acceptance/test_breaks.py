"""What real servers log of deliberate breaks: nothing, with the filter where one is needed."""

import re

import httpx
import pytest

from tests.tools.serving import PLAIN

from .conftest import Serve
from .servers import COMMANDS, GUNICORN_ASGI, Server

SITE = "tests.acceptance.breaks_site"
COMPLAINS = ("uvicorn", "gunicorn", GUNICORN_ASGI)
"""Servers that log an ERROR for an answer without its end; `gunicorn` is its uvicorn worker."""

WITHOUT_COMPLAINT = ("daphne", "hypercorn", "granian", "gunicorn gthread")
UNFINISHED = re.compile(r"without\s+completing\s+(?:the )?response")
COMPLAINT = re.compile(rf"{UNFINISHED.pattern}|Traceback|ERROR")
pytestmark = pytest.mark.slow


def breaks(server: Server, address: str) -> None:
    """Have an answer broken off."""
    with (
        httpx.Client(verify=PLAIN, timeout=20, headers={"X-User": "me"}) as client,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        client.post(f"{server.url}{address}")


@pytest.fixture
def start(site: Serve) -> Serve:
    def start(kind: str, **more: str) -> Server:
        return site(kind, DJANGO_SETTINGS_MODULE=SITE, MAX_RESPONSE_SECONDS="1", **more)

    return start


OURS = "/produce?format=ui_message&count=200&every=0.05"


@pytest.mark.parametrize("kind", COMPLAINS)
def test_the_filter_drops_what_a_server_says_of_our_breaks_only(start: Serve, kind: str) -> None:
    plain, filtered = start(kind, FILTERED="no"), start(kind, FILTERED="yes")
    for server in (plain, filtered):
        breaks(server, OURS)
    filtered.stop()
    plain.stop()
    assert COMPLAINT.search(plain.written())
    assert not COMPLAINT.search(filtered.written()), filtered.written()


@pytest.mark.parametrize("kind", COMPLAINS)
def test_the_filter_keeps_what_a_server_says_of_a_fault(start: Serve, kind: str) -> None:
    server = start(kind, FILTERED="yes")
    breaks(server, OURS)
    breaks(server, "/fault")
    server.stop()
    assert len(UNFINISHED.findall(server.written())) == 1


@pytest.mark.parametrize("kind", WITHOUT_COMPLAINT)
def test_these_servers_need_no_filter(start: Serve, kind: str) -> None:
    server = start(kind, FILTERED="no")
    breaks(server, OURS)
    server.stop()
    assert not COMPLAINT.search(server.written()), server.written()


def test_the_lists_are_complete() -> None:
    assert set(COMMANDS) < {*COMPLAINS, *WITHOUT_COMPLAINT}
