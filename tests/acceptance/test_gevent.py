"""gunicorn with gevent: streams run, and every other page of the process goes on."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.tools.waiting import until

from .conftest import Serve
from .green_site import WORDS
from .servers import ROOT, Server

KIND = "gunicorn gevent"
ANSWER = b"".join(b"%d " % number for number in range(WORDS))


@pytest.fixture(params=["memory", "redis"])
def server(request: pytest.FixtureRequest, site: Serve) -> Server:
    store = {"REDIS_URL": ""}
    if request.param == "redis":
        store = {"REDIS_URL": request.getfixturevalue("redis_url")}
    return site(KIND, DJANGO_SETTINGS_MODULE="tests.acceptance.green_site", **store)


class Visitor(threading.Thread):
    """Somebody who loads an ordinary page again and again, until told to stop."""

    def __init__(self, url: str):
        super().__init__(daemon=True)
        self.statuses: list[int] = []
        self._url = url
        self._leaves = threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._leaves.is_set():
                self.statuses.append(client.get(self._url).status_code)

    def stop(self) -> None:
        self._leaves.set()
        self.join(30)


@pytest.fixture
def visitors(server: Server) -> Iterator[list[Visitor]]:
    """Have ordinary pages asked for all the time: each must be answered."""
    found = [Visitor(f"{server.url}/") for _ in range(3)]
    for visitor in found:
        visitor.start()
    yield found
    seen = [len(visitor.statuses) for visitor in found]
    until(lambda: all(len(v.statuses) > s + 3 for v, s in zip(found, seen, strict=True)))
    for visitor in found:
        visitor.stop()
        assert set(visitor.statuses) == {200}


def stream(url: str) -> bytes:
    """Start a stream as a visitor with a session; read it, and read it again."""
    with httpx.Client(timeout=60) as client:
        answer = client.post(url)
        assert answer.status_code == 200
        base = url.partition("//")[2].partition("/")[0]
        identifier = answer.headers["X-Resumable-Stream-Id"]
        again = client.get(f"http://{base}/streams/{identifier}/")
        assert again.content == answer.content
        return answer.content


@pytest.mark.parametrize("view", ["async", "sync", "bridge"])
def test_streams_and_pages_share_a_process(
    server: Server, visitors: list[Visitor], view: str
) -> None:
    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(stream, [f"{server.url}/{view}/"] * 20))
    assert answers == [ANSWER] * 20
    told = until(lambda: all_told(server))
    assert told["signals"] == ["reader_opened", "stream_acquired", "stream_finalized"]
    assert "Traceback" not in server.written()


def all_told(server: Server) -> dict[str, list[str]]:
    told: dict[str, list[str]] = httpx.get(f"{server.url}/told/", timeout=30).json()
    return told if told["records"] == ["done"] * 20 else {}


def test_sync_code_and_mixins_work(server: Server, visitors: list[Visitor]) -> None:
    assert httpx.post(f"{server.url}/by-hand/", timeout=30).content == b"by hand"
    refused = httpx.post(f"{server.url}/private/", timeout=30)
    assert (refused.status_code, "login" in refused.headers["Location"]) == (302, True)


def test_an_async_view_is_refused_in_words(server: Server) -> None:
    assert httpx.post(f"{server.url}/loop/", timeout=30).status_code == 500
    assert "Under gevent, streams are used by sync code" in server.written()
    assert httpx.get(f"{server.url}/", timeout=30).status_code == 200
    assert stream(f"{server.url}/async/") == ANSWER


EVENTLET = """
import eventlet
eventlet.monkey_patch()
from django.conf import settings
settings.configure(
    USE_TZ=True, SECRET_KEY="x", DEBUG=True, INSTALLED_APPS=["resumable_streams"],
    RESUMABLE_STREAMS={"default": {}},
)
import django
django.setup()
from django.core.checks import run_checks
from resumable_streams import streams

print([message.id for message in run_checks(tags=["resumable_streams"])])
called = []
try:
    streams.run("s", lambda: called.append(True) or [b"x"], owner="me")
except RuntimeError as error:
    print(error)
assert not called
"""


def test_eventlet_is_refused_before_anything_is_started() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EVENTLET],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "resumable_streams.E011" in done.stdout
    assert "Use gunicorn with -k gevent, gthread or uvicorn_worker." in done.stdout
