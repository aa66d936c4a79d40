"""Who is measured: each can produce a stream, append to one, read one, and be closed."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, ClassVar

from django.conf import settings as django_settings
from redis.asyncio import Redis

from resumable_streams import streams
from resumable_streams.engine import get_engine
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import stream_finalized
from resumable_streams.types import Claim, StreamKey, Terms

__all__ = ["CONTESTANTS", "OWNER", "Bare", "Contestant", "Ours", "Peer"]

OWNER = "bench"
MAX_CONNECTIONS = 20_000
FILL_BATCH = 5_000

Append = Callable[[bytes], Awaitable[object]]
settings: Any = django_settings


def connect() -> Any:
    """Return a client as redis-py makes it, whose pool never runs out."""
    return Redis.from_url(settings.REDIS_URL, max_connections=MAX_CONNECTIONS, socket_timeout=None)


class Contestant(ABC):
    """Keep streams in the server of this run; lives on one event loop."""

    name: ClassVar[str]

    @abstractmethod
    async def produce(self, stream_id: str, source: AsyncIterator[bytes]) -> "asyncio.Future[None]":
        """Start to produce; the future is done when the last byte is stored."""

    @abstractmethod
    async def read(self, stream_id: str) -> AsyncIterator[bytes]:
        """Return the bytes of a stream that is there, from the first one on."""

    @abstractmethod
    async def appender(self, stream_id: str) -> Append:
        """Return what stores one chunk, and returns when it is stored."""

    @abstractmethod
    async def fill(self, stream_id: str, chunks: Iterable[bytes]) -> None:
        """Make a finished stream of these chunks, by the shortest way."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stop what is left and close every connection."""


class _Ends(dict[str, "asyncio.Future[None]"]):
    """Futures that are done when their streams are."""

    def add(self, stream_id: str) -> "asyncio.Future[None]":
        end = self[stream_id] = asyncio.get_running_loop().create_future()
        return end

    def reach(self, stream_id: str, *rest: object, **named: object) -> None:
        end = self.pop(stream_id, None)
        if end is not None and not end.done():
            end.set_result(None)


class Ours(Contestant):
    """Be resumable_streams through its public functions; `appender` is its store."""

    name = "ours"

    def __init__(self) -> None:
        self._ends = _Ends()
        stream_finalized.connect(self._ends.reach)

    async def produce(self, stream_id: str, source: AsyncIterator[bytes]) -> asyncio.Future[None]:
        end = self._ends.add(stream_id)
        (await streams.arun(stream_id, source, owner=OWNER)).close()
        return end

    async def read(self, stream_id: str) -> AsyncIterator[bytes]:
        return await streams.arequire_resume(stream_id, owner=OWNER)

    async def appender(self, stream_id: str) -> Append:
        store, claim = get_engine("default").store, Claim()
        key = StreamKey(tenant="default", generation=1, stream_id=stream_id)
        await store.acquire(key, claim, Terms(owner=OWNER, ttl=600, finished_ttl=600, pending=600))
        size = 0

        async def append(chunk: bytes) -> None:
            nonlocal size
            size = await store.append(key, claim, size, chunk)

        return append

    async def fill(self, stream_id: str, chunks: Iterable[bytes]) -> None:
        await (await self.produce(stream_id, _chunks(chunks)))

    async def aclose(self) -> None:
        stream_finalized.disconnect(self._ends.reach)
        await runtime.aclose()


async def _chunks(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class Bare(Contestant):
    """Be the raw server: one XADD a chunk, one blocked XREAD a reader, through redis-py."""

    name = "bare"

    def __init__(self) -> None:
        self._redis = connect()
        self._prefix = f"{settings.KEY_PREFIX}:bare"
        self._tasks: set[asyncio.Task[None]] = set()

    def _key(self, stream_id: str) -> str:
        return f"{self._prefix}:{stream_id}"

    async def produce(self, stream_id: str, source: AsyncIterator[bytes]) -> asyncio.Future[None]:
        task = asyncio.create_task(self._pump(stream_id, source))
        self._tasks.add(task)
        return task

    async def _pump(self, stream_id: str, source: AsyncIterator[bytes]) -> None:
        key = self._key(stream_id)
        async for chunk in source:
            await self._redis.xadd(key, {"c": chunk})
        await self._redis.xadd(key, {"end": b"1"})

    async def read(self, stream_id: str) -> AsyncIterator[bytes]:
        return self._read(self._key(stream_id))

    async def _read(self, key: str) -> AsyncIterator[bytes]:
        last: Any = "0-0"
        while True:
            for _, entries in await self._redis.xread({key: last}, block=0):
                for last, fields in entries:  # noqa: B007 - also where to go on
                    if b"end" in fields:
                        return
                    yield fields[b"c"]

    async def appender(self, stream_id: str) -> Append:
        key = self._key(stream_id)
        return lambda chunk: self._redis.xadd(key, {"c": chunk})

    async def fill(self, stream_id: str, chunks: Iterable[bytes]) -> None:
        await _fill(self._redis, self._key(stream_id), chunks)

    async def read_range(self, stream_id: str) -> int:
        """Read everything with one XRANGE; return the number of chunks."""
        return len(await self._redis.xrange(self._key(stream_id)))

    async def aclose(self) -> None:
        await _cancel(self._tasks)
        await self._redis.aclose()


async def _fill(redis: Any, key: str, chunks: Iterable[bytes]) -> None:
    pipeline = redis.pipeline(transaction=False)
    for chunk in chunks:
        pipeline.xadd(key, {"c": chunk})
        if len(pipeline) >= FILL_BATCH:
            await pipeline.execute()
    await pipeline.execute()


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Peer(Contestant):
    """Be assistant-stream, as its documentation sets it up."""

    name = "peer"

    def __init__(self) -> None:
        from assistant_stream import resumable

        self._redis = connect()
        self._prefix = f"{settings.KEY_PREFIX}:peer"
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends = _Ends()
        self._store = resumable.create_redis_resumable_stream_store(
            self._redis, key_prefix=self._prefix
        )
        self._context = resumable.create_resumable_stream_context(
            store=self._store, wait_until=self._tasks.add, on_finalize=self._ends.reach
        )

    async def produce(self, stream_id: str, source: AsyncIterator[bytes]) -> asyncio.Future[None]:
        end = self._ends.add(stream_id)
        await self._context.run(stream_id, lambda: source)
        return end

    async def read(self, stream_id: str) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = await self._context.require_resume(stream_id)
        return chunks

    async def appender(self, stream_id: str) -> Append:
        await self._store.acquire(stream_id)
        return lambda chunk: self._store.append(stream_id, chunk)

    async def fill(self, stream_id: str, chunks: Iterable[bytes]) -> None:
        await self._store.acquire(stream_id)  # its own appends would take half a minute
        await _fill(self._redis, f"{self._prefix}:{{{stream_id}}}:data", chunks)
        await self._store.finalize(stream_id, "done")

    async def aclose(self) -> None:
        await _cancel(self._tasks)
        await self._redis.aclose()


def _known() -> dict[str, type[Contestant]]:
    known: list[type[Contestant]] = [Ours, Bare]
    try:
        import assistant_stream.resumable  # noqa: F401
    except ImportError:  # it is in the dependency group `bench`, not needed for the rest
        pass
    else:
        known.append(Peer)
    return {contestant.name: contestant for contestant in known}


CONTESTANTS = _known()
"""Who takes part, by name."""
