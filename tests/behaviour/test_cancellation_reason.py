"""What a source is told of why it is stopped, whatever it is made of."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from resumable_streams import (
    CancellationReason,
    StreamError,
    StreamManager,
    StreamReader,
    cancellation_reason,
    control,
)
from resumable_streams.engine import get_engine
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import stream_appended
from tests.tools.readers import read_all, read_until
from tests.tools.streams import Configure

Ending = Callable[[StreamManager, StreamReader], Coroutine[Any, Any, object]]


class Asking:
    """Sources that say at their end what they know of it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.reasons: list[CancellationReason | None] = []
        self._loop = asyncio.get_running_loop()
        self._pause = threading.Event()

    def ask(self) -> None:
        self.reasons.append(cancellation_reason())
        self._loop.call_soon_threadsafe(self.asked.set)

    async def generator(self) -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            self.ask()

    async def full(self) -> AsyncIterator[bytes]:
        """Be closed at a `yield`: what it yields has no place any more."""
        try:
            while True:
                yield b"a" * 65_536
        finally:
            self.ask()

    async def calling(self) -> AsyncIterator[bytes]:
        """Ask in a task of its own, and from a thread."""

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.to_thread(self.ask)

        yield b"a"
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())

    async def coroutine(self) -> list[bytes]:
        try:
            await asyncio.Event().wait()
        finally:
            self.ask()
        raise AssertionError

    def polling(self) -> Iterator[bytes]:
        """Work in a thread, and look now and then whether it is still wanted."""
        try:
            yield b"a"
            while cancellation_reason() is None:
                self._pause.wait(0.01)
        finally:
            self.ask()

    def closing(self) -> Iterator[bytes]:
        """Come to the end of a chunk first, and be closed then."""
        try:
            yield b"a"
            while True:
                self._pause.wait(0.01)
                yield b"b"
        finally:
            self.ask()


async def cancel(manager: StreamManager, reader: StreamReader) -> object:
    return await manager.acancel("s", owner="a")


async def cancel_elsewhere(manager: StreamManager, reader: StreamReader) -> object:
    return await manager.using("elsewhere").acancel("s", owner="a")


async def delete(manager: StreamManager, reader: StreamReader) -> object:
    return await manager.adelete("s", owner="a")


async def revoke(manager: StreamManager, reader: StreamReader) -> object:
    return await control.revoke("default", "default", "a")


async def rotate(manager: StreamManager, reader: StreamReader) -> object:
    return await control.rotate("default", "default")


async def drain(manager: StreamManager, reader: StreamReader) -> object:
    runtime.grace = 0.0
    await runtime.drain()
    return None


ENDINGS: dict[Ending, str] = {
    cancel: "cancelled",
    cancel_elsewhere: "cancelled",
    delete: "expired",
    drain: "interrupted",
}
KINDS = ["generator", "full", "calling", "polling", "closing"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: str(ending.__name__))
async def test_a_source_knows_why_it_is_stopped(
    configure_memory: Configure, memory_manager: StreamManager, kind: str, ending: Ending
) -> None:
    configure_memory(LIMITS={"MAX_STREAM_BYTES": None})
    asking = Asking()
    reader = await memory_manager.arun("s", getattr(asking, kind), owner="a")
    await read_until(reader, 1)
    await ending(memory_manager, reader)
    await asking.asked.wait()
    assert asking.reasons == [ENDINGS[ending]]


@pytest.mark.parametrize("ending", [cancel, delete])
async def test_a_source_in_the_making_knows_it_too(
    memory_manager: StreamManager, ending: Ending
) -> None:
    asking = Asking()
    reader = await memory_manager.arun("s", asking.coroutine, owner="a")
    await ending(memory_manager, reader)
    await asking.asked.wait()
    assert asking.reasons == [ENDINGS[ending]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", [revoke, rotate])
async def test_what_an_operator_bars_has_expired(
    memory_manager: StreamManager, ending: Ending
) -> None:
    asking = Asking()
    await read_until(reader := await memory_manager.arun("s", asking.generator, owner="a"), 1)
    await ending(memory_manager, reader)
    await asking.asked.wait()
    assert asking.reasons == ["expired"]


@pytest.mark.parametrize("limit", ["MAX_STREAM_BYTES", "MAX_CHUNK_BYTES"])
async def test_a_limit(
    configure_memory: Configure, memory_manager: StreamManager, limit: str
) -> None:
    configure_memory(LIMITS={limit: 10_000})
    asking = Asking()
    with pytest.raises(StreamError, match="limit_exceeded"):
        await read_all(await memory_manager.arun("s", asking.full, owner="a"))
    await asking.asked.wait()
    assert asking.reasons == ["limit_exceeded"]


async def test_a_receiver(memory_manager: StreamManager) -> None:
    def refuse(**named: Any) -> None:
        raise LookupError

    stream_appended.connect(refuse)
    asking = Asking()
    try:
        with pytest.raises(StreamError, match="hook_failed"):
            await read_all(await memory_manager.arun("s", asking.generator, owner="a"))
        await asking.asked.wait()
    finally:
        stream_appended.disconnect(refuse)
    assert asking.reasons == ["hook_failed"]


async def test_a_claim_that_is_lost(memory_manager: StreamManager) -> None:
    asking = Asking()
    reader = await memory_manager.arun("s", asking.generator, owner="a")
    await read_until(reader, 1)
    (producer,) = producers()
    producer.lose_claim()
    await asking.asked.wait()
    assert asking.reasons == ["producer_lost"]


def producers() -> list[Any]:
    """Return what this process produces."""
    return list(get_engine("default").leases._producers)


async def test_who_is_not_stopped_is_given_no_reason(memory_manager: StreamManager) -> None:
    reasons = []

    async def whole() -> AsyncIterator[bytes]:
        try:
            yield b"a"
        finally:
            reasons.append(cancellation_reason())

    async def failing() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            raise OSError
        finally:
            reasons.append(cancellation_reason())

    assert await read_all(await memory_manager.arun("whole", whole, owner="a")) == b"a"
    with pytest.raises(StreamError, match="source_failed"):
        await read_all(await memory_manager.arun("failing", failing, owner="a"))
    assert reasons == [None, None]
    assert cancellation_reason() is None
