"""Sources that try to end the process: their streams fail, and nothing else."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from resumable_streams import StreamFailed, StreamManager
from resumable_streams.process.runtime import runtime
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, finished

ROOT = Path(__file__).resolve().parents[2]
EXITS = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration]


class Exit:
    """Sources of every kind that raise `error` after a chunk, or at once."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    async def generator(self) -> AsyncIterator[bytes]:
        yield b"a"
        raise self.error

    async def coroutine(self) -> list[bytes]:
        await asyncio.sleep(0)
        raise self.error

    def function(self) -> list[bytes]:
        raise self.error

    def sync_generator(self) -> Iterator[bytes]:
        yield b"a"
        raise self.error

    def sync_iterable(self) -> Iterator[bytes]:
        class Chunks:
            def __iter__(chunks) -> Iterator[bytes]:
                raise self.error

        return Chunks()  # type: ignore[return-value]

    def closing(self) -> "Closing":
        return Closing(self.error)


class Closing:
    """A source that does not end, and raises when it is closed."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error
        self._is_first = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_first:
            self._is_first = False
            return b"a"
        await asyncio.Event().wait()
        raise AssertionError

    async def aclose(self) -> None:
        raise self._error


KINDS = ["generator", "coroutine", "function", "sync_generator", "sync_iterable"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", EXITS)
async def test_a_source_that_exits_has_failed(
    memory_manager: StreamManager,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    error: type[BaseException],
) -> None:
    tap = Tap(b"x")
    other = await memory_manager.arun("other", tap, owner="a")
    await read_until(other, 1)
    reader = await memory_manager.arun("exits", getattr(Exit(error), kind), owner="a")
    with pytest.raises(StreamFailed, match="source_failed"):
        await read_all(reader)
    assert reader.offset == ("generator" in kind)
    tap.end(b"y")
    assert await read_all(other) == b"y"
    assert "The source of a stream failed." in caplog.text


@pytest.mark.parametrize("error", EXITS)
async def test_a_source_that_exits_as_it_is_closed_does_so_alone(
    memory_manager: StreamManager, error: type[BaseException]
) -> None:
    tap = Tap(b"x")
    other = await memory_manager.arun("other", tap, owner="a")
    reader = await memory_manager.arun("exits", Exit(error).closing, owner="a")
    await read_until(reader, 1)
    await memory_manager.acancel("exits", owner="a")
    assert await read_all(reader) == b""
    await asyncio.gather(*(task for task in runtime._tasks if "exits" in task.get_name()))
    tap.end(b"y")
    assert await read_all(other) == b"xy"


@pytest.mark.parametrize("kind", KINDS)
def test_a_home_loop_of_its_own_lives_on(configure_memory: Callable[..., None], kind: str) -> None:
    manager = StreamManager()
    with pytest.raises(StreamFailed, match="source_failed"):
        list(manager.run("exits", getattr(Exit(SystemExit), kind), owner="a"))
    assert b"".join(manager.run("other", finished([b"x"]), owner="a")) == b"x"


async def exit_in_a_task() -> AsyncIterator[bytes]:
    async def leave() -> None:
        raise SystemExit

    yield b"a"
    await asyncio.gather(asyncio.create_task(leave()))


def test_a_home_loop_of_its_own_outlives_even_a_task_that_exits(
    configure_memory: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    manager = StreamManager()
    with pytest.raises(StreamFailed, match="source_failed"):
        list(manager.run("exits", exit_in_a_task, owner="a"))
    assert b"".join(manager.run("other", finished([b"x"]), owner="a")) == b"x"
    assert "A task raised SystemExit" in caplog.text


CTRL_C = """
import asyncio, os, signal
from django.conf import settings
settings.configure(
    USE_TZ=True, SECRET_KEY="x", INSTALLED_APPS=["resumable_streams"],
    RESUMABLE_STREAMS={"default": {"DRAIN_TIMEOUT": 0}},
)
import django
django.setup()
from resumable_streams import streams

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background has none

async def source():
    yield b"a"
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(10_000_000):
        pass
    yield b"b"

async def main():
    async for data in await streams.arun("s", source, owner="me"):
        pass

loop = asyncio.new_event_loop()
try:
    loop.run_until_complete(main())
except KeyboardInterrupt:
    print("interrupted")
os._exit(0)
"""


@pytest.mark.lengthy
def test_a_real_ctrl_c_is_the_process_s() -> None:
    """Without a handler, Python raises it wherever the main thread is: in a source, say."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-u", "-c", CTRL_C],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.strip() == "interrupted", done.stderr
