"""What a platform is told of producers, what a drain does in which order, who hears signals."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from resumable_streams import ShuttingDown, StreamFailed, StreamManager
from resumable_streams.process.runtime import runtime
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished
from tests.tools.streams import Configure

ROOT = Path(__file__).resolve().parent.parent.parent
told: list[Awaitable[None]] = []


def platform(producing: Awaitable[None]) -> None:
    """Be the `waitUntil` of a platform that freezes who has answered."""
    told.append(producing)


def broken_platform(producing: Awaitable[None]) -> None:
    raise RuntimeError("no such request")


@pytest.fixture
async def draining_soon() -> AsyncIterator[None]:
    """Let a drain give producers a moment; then start afresh."""
    before, runtime.grace = runtime.grace, 0.05
    yield
    await runtime.aclose()
    runtime.grace = before


async def test_a_platform_is_given_what_it_has_to_wait_for(
    manager: StreamManager, configure: Configure
) -> None:
    told.clear()
    configure(WAIT_UNTIL=f"{__name__}.platform")
    tap = Tap(b"a")
    reader = await manager.arun("s", tap, owner="me")
    (producing,) = told
    reader.close()  # the request has been answered
    tap.end(b"b")
    await producing
    info = await manager.astatus("s", owner="me")
    assert info is not None
    assert (info.status, info.size) == ("done", 2)


async def test_a_platform_that_cannot_wait_is_logged_and_production_goes_on(
    manager: StreamManager, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(WAIT_UNTIL=f"{__name__}.broken_platform")
    with caplog.at_level(logging.ERROR, "resumable_streams.engine"):
        reader = await manager.arun("s", finished([b"a"]), owner="me")
    assert "WAIT_UNTIL failed" in caplog.text
    assert await read_all(reader) == b"a"


async def test_a_drain_ends_readers_and_lets_producers_finish(
    manager: StreamManager, draining_soon: None
) -> None:
    runtime.grace = 5
    tap = Tap(b"a")
    reader = await manager.arun("s", tap, owner="me")
    await read_until(reader, 1)
    runtime.grace = 5
    draining = asyncio.create_task(runtime.drain())
    with pytest.raises(ShuttingDown):
        await anext(reader)
    with pytest.raises(ShuttingDown):
        await manager.arun("other", tap, owner="me")
    tap.end(b"b")
    await draining
    again = await manager.arequire_resume("s", owner="me", live=False)
    assert await read_all(again) == b"ab"


async def test_before_producers_are_interrupted_others_may_act(
    manager: StreamManager, draining_soon: None
) -> None:
    seen: list[object] = []
    tap = Tap(b"a")
    reader = await manager.arun("s", tap, owner="me")
    await read_until(reader, 1)
    runtime.grace = 0.05

    async def look() -> None:
        info = await manager.astatus("s", owner="me")
        seen.append(info.status if info else None)
        raise OSError("which changes nothing")

    runtime.before_interrupting.append(look)
    await runtime.drain()
    assert seen == ["streaming"]
    again = await manager.arequire_resume("s", owner="me", live=False)
    with pytest.raises(StreamFailed, match="interrupted"):
        await read_all(again)


WAKING = """
import os, signal, sys, threading, time
from django.conf import settings
settings.configure(
    USE_TZ=True,
    SECRET_KEY="x",
    INSTALLED_APPS=["resumable_streams"],
    RESUMABLE_STREAMS={"default": {"DRAIN_TIMEOUT": 60}},
)
import django
django.setup()
from resumable_streams import streams
from resumable_streams.process import shutdown

shutdown.let_threads_hook_signals()
if "fork" in sys.argv:
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
ended, goes_on = [], threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))  # a server's own, set afterwards

def source():
    yield b"a"
    goes_on.wait()
    yield b"b"

def request():
    next(streams.run("s", source, owner="me"))

thread = threading.Thread(target=request)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGTERM)
assert ended == [True], "the server's handler was not called"
try:
    streams.run("t", source, owner="me")
except Exception as error:
    assert type(error).__name__ == "ShuttingDown", error
else:
    raise AssertionError("it does not drain")
goes_on.set()
while streams.status("s", owner="me").status == "streaming":
    time.sleep(0.01)
assert streams.status("s", owner="me").status == "done"
"""


@pytest.mark.parametrize("where", ["here", "fork"])
@pytest.mark.lengthy
def test_a_thread_has_the_main_thread_hook_the_signals_in_the_fork_of_a_server_too(
    where: str,
) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WAKING, where],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL  # nothing of this was in our process
