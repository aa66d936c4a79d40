"""The API: `streams` runs, resumes, looks at and ends streams, always in the name of an owner."""

import asyncio
import math
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from secrets import compare_digest
from typing import Any, Self

from django.http import HttpRequest

from .conf import DEFAULT_ALIAS, AliasSettings, get_settings
from .engine import Engine, get_engine
from .exceptions import InvalidOffset, ShuttingDown, StreamDoesNotExist
from .keys import encode_owner, validate_owner, validate_stream_id, validate_tenant
from .runtime import runtime
from .signals import (
    StreamSignal,
    owner_bound,
    owner_checked,
    stream_acquired,
    stream_cancelled,
    stream_deleted,
    stream_resumed,
)
from .sources import Source
from .tail import Tail
from .types import PUBLIC, Claim, Owner, Role, StreamInfo, StreamKey, Terms

__all__ = ["DEFAULT_TENANT", "StreamManager", "StreamReader", "streams"]

DEFAULT_TENANT = "default"
MAX_ATTRS_BYTES = 4_096


class StreamReader:
    """Iterate over the bytes of one stream, with `async for` or (in sync code) `for`.

    Iteration ends when the stream is done or cancelled, which `info.status` tells. It raises
    StreamFailed when the stream ended with an error, ShuttingDown when this process drains and
    StoreUnavailable when the store stays away: after the last two, resume from `offset`.

    A cancelled `__anext__` loses nothing. Whatever happens to a reader, production goes on.
    Whoever iterates closes the reader; the end of the iteration, and garbage collection, do too.
    """

    def __init__(
        self,
        engine: Engine,
        key: StreamKey,
        info: StreamInfo,
        *,
        role: Role,
        offset: int = 0,
        live: bool = True,
    ):
        self.stream_id = key.stream_id
        self.role = role
        self.offset = offset
        self._engine = engine
        self._key = key
        self._info = info
        self._live = live
        self._tail: Tail | None = None  # attached by the first read
        self._closed = False

    @property
    def info(self) -> StreamInfo:
        """The stream as this process last knew it; the terminal state after the end."""
        return self._info if self._tail is None else self._tail.info

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            raise StopAsyncIteration
        if asyncio.get_running_loop() is self._engine.loop:
            data = await self._next()
        else:
            data = await asyncio.wrap_future(self._engine.submit(self._next()))
        return self._advance(data, StopAsyncIteration)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._closed:
            raise StopIteration
        return self._advance(self._engine.submit(self._next()).result(), StopIteration)

    async def _next(self) -> bytes | None:
        if self._tail is None:
            self._tail = self._engine.hub.open(self._info, self._key)
        return await self._tail.next(self.offset, live=self._live)

    def _advance(self, data: bytes | None, end: type[Exception]) -> bytes:
        if data is None or self._closed:
            self.close()
            raise end
        self.offset += len(data)
        return data

    def close(self) -> None:
        """Stop reading; safe from any thread, any number of times."""
        if self._closed:
            return
        self._closed = True
        if self._tail is not None:
            with suppress(RuntimeError):  # the loop is gone, and the subscription with it
                self._engine.loop.call_soon_threadsafe(self._engine.hub.close, self._tail)

    async def aclose(self) -> None:
        """Be `close`, for `contextlib.aclosing`."""
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StreamReader {self.stream_id} {self.role} at byte {self.offset}>"


class StreamManager:
    """Be the streams of one alias.

    Every verb takes the `owner` it acts for: a string, or PUBLIC for a stream that anybody who
    knows its id may read. A stream of another owner is a missing stream. `tenant` is `default`
    unless given. `request`, if given, is passed to the receivers of signals.

    Raises InvalidStreamId, InvalidOwner and InvalidTenant before anything happens, and
    StoreUnavailable when the store does not answer. Usable from any event loop; the verbs that end
    in `_sync` from threads without one.
    """

    def __init__(self, alias: str = DEFAULT_ALIAS):
        self.alias = alias

    def using(self, alias: str) -> "StreamManager":
        """Return the streams of another alias of RESUMABLE_STREAMS."""
        return StreamManager(get_settings(alias).alias)

    async def run(
        self,
        stream_id: str | None,
        source: Source,
        *,
        owner: Owner,
        tenant: str | None = None,
        ttl: float | None = None,
        attrs: Mapping[str, str] | None = None,
        request: HttpRequest | None = None,
    ) -> StreamReader:
        """Produce the stream if nobody has before, and return a reader of it from byte 0.

        `stream_id=None` mints one. `source` is an async or sync iterable of bytes or str, or a
        callable returning one, which only the elected producer calls; see `sources`. From here on
        production outlives the caller: neither its cancellation nor its end stops it. `ttl`
        (seconds) and `attrs` (small, str to str) are bound with the owner, once.

        Raises StreamDoesNotExist if the id belongs to another owner, ShuttingDown while this
        process drains, StreamLimitExceeded where a quota is set.
        """
        stream_id = str(uuid.uuid4()) if stream_id is None else stream_id
        key = self._key(stream_id, tenant)
        terms = _terms(get_settings(self.alias), validate_owner(owner), ttl, attrs)
        if runtime.is_draining:
            raise ShuttingDown
        return await runtime.call(self._run, key, source, terms, request)

    async def _run(
        self, key: StreamKey, source: Source, terms: Terms, request: HttpRequest | None
    ) -> StreamReader:
        # Between the election and the start of the producer a cancellation would leave a claim
        # that nobody uses until its lease runs out, so the two are one uncancellable step.
        election = asyncio.create_task(self._elect(key, source, terms, request))
        election.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(election)

    async def _elect(
        self, key: StreamKey, source: Source, terms: Terms, request: HttpRequest | None
    ) -> StreamReader:
        engine, claim = get_engine(self.alias), Claim()
        acquisition = await engine.store.acquire(key, claim, terms)
        role, info = acquisition.role, acquisition.info
        if role is Role.PRODUCER:
            engine.produce(key, claim, info, source)
            await self._notify(owner_bound, engine, key, info.owner, request=request)
        elif not _may_read(info, terms.owner):
            await self._checked(engine, key, terms.owner, "run", "foreign", request)
            raise StreamDoesNotExist
        else:
            await self._checked(engine, key, terms.owner, "run", "match", request)
        await self._notify(
            stream_acquired, engine, key, terms.owner, role=role, attrs=info.attrs, request=request
        )
        return StreamReader(engine, key, info, role=role)

    async def resume(
        self,
        stream_id: str,
        *,
        owner: Owner,
        tenant: str | None = None,
        offset: int = 0,
        live: bool = True,
        request: HttpRequest | None = None,
    ) -> StreamReader | None:
        """Return a reader from byte `offset` on; None: missing, foreign, expired or revoked.

        With `live=False` it ends at what is stored now. Raises InvalidOffset for an offset that
        is not from 0 to the size of the stream.
        """
        offset = _validate_offset(offset)
        key, owner = self._key(stream_id, tenant), validate_owner(owner)
        return await runtime.call(self._resume, key, owner, offset, live, request)

    async def _resume(
        self,
        key: StreamKey,
        owner: Owner,
        offset: int,
        live: bool,
        request: HttpRequest | None,
    ) -> StreamReader | None:
        engine = get_engine(self.alias)
        info = await self._look(engine, key, owner, "resume", request)
        if info is None:
            return None
        if offset > info.size:
            raise InvalidOffset(info.size)
        await self._notify(
            stream_resumed,
            engine,
            key,
            owner,
            offset=offset,
            size=info.size,
            status=info.status,
            request=request,
        )
        return StreamReader(engine, key, info, role=Role.CONSUMER, offset=offset, live=live)

    async def require_resume(
        self,
        stream_id: str,
        *,
        owner: Owner,
        tenant: str | None = None,
        offset: int = 0,
        live: bool = True,
        request: HttpRequest | None = None,
    ) -> StreamReader:
        """Be `resume`, raising StreamDoesNotExist where that returns None."""
        reader = await self.resume(
            stream_id, owner=owner, tenant=tenant, offset=offset, live=live, request=request
        )
        if reader is None:
            raise StreamDoesNotExist
        return reader

    async def status(
        self,
        stream_id: str,
        *,
        owner: Owner,
        tenant: str | None = None,
        request: HttpRequest | None = None,
    ) -> StreamInfo | None:
        """Return the state of the stream, None where `resume` would return None."""
        key, owner = self._key(stream_id, tenant), validate_owner(owner)
        return await runtime.call(self._status, key, owner, request)

    async def _status(
        self, key: StreamKey, owner: Owner, request: HttpRequest | None
    ) -> StreamInfo | None:
        return await self._look(get_engine(self.alias), key, owner, "status", request)

    async def cancel(
        self,
        stream_id: str,
        *,
        owner: Owner,
        tenant: str | None = None,
        request: HttpRequest | None = None,
    ) -> StreamInfo | None:
        """End a streaming stream as cancelled, wherever it is produced; return its state.

        What was written stays readable. Idempotent: an ended stream stays as it ended. The owner
        has to be the very one that is bound: knowing the id of a PUBLIC stream is not enough.
        """
        key, owner = self._key(stream_id, tenant), validate_owner(owner)
        return await runtime.call(self._cancel, key, owner, request)

    async def _cancel(
        self, key: StreamKey, owner: Owner, request: HttpRequest | None
    ) -> StreamInfo | None:
        engine = get_engine(self.alias)
        info = await self._look(engine, key, owner, "cancel", request)
        if info is None:
            return None
        # The epoch keeps the check and the act about the same incarnation.
        info = await engine.store.cancel(key, epoch=info.epoch)
        await self._notify(stream_cancelled, engine, key, owner, request=request)
        return info

    async def delete(
        self,
        stream_id: str,
        *,
        owner: Owner,
        tenant: str | None = None,
        request: HttpRequest | None = None,
    ) -> bool:
        """Remove the stream at once, whether it has ended or not; return whether it was there.

        Its producer stops, its readers end with `expired`. Who may: as for `cancel`.
        """
        key, owner = self._key(stream_id, tenant), validate_owner(owner)
        return await runtime.call(self._delete, key, owner, request)

    async def _delete(self, key: StreamKey, owner: Owner, request: HttpRequest | None) -> bool:
        engine = get_engine(self.alias)
        info = await self._look(engine, key, owner, "delete", request)
        if info is None:
            return False
        found = await engine.store.delete(key, epoch=info.epoch)
        await self._notify(stream_deleted, engine, key, owner, request=request)
        return found

    # Sync twins, for threads without an event loop.

    def run_sync(self, stream_id: str | None, source: Source, **named: Any) -> StreamReader:
        return runtime.call_sync(self.run, stream_id, source, **named)

    def resume_sync(self, stream_id: str, **named: Any) -> StreamReader | None:
        return runtime.call_sync(self.resume, stream_id, **named)

    def status_sync(self, stream_id: str, **named: Any) -> StreamInfo | None:
        return runtime.call_sync(self.status, stream_id, **named)

    def cancel_sync(self, stream_id: str, **named: Any) -> StreamInfo | None:
        return runtime.call_sync(self.cancel, stream_id, **named)

    def delete_sync(self, stream_id: str, **named: Any) -> bool:
        return runtime.call_sync(self.delete, stream_id, **named)

    # Who may.

    async def _look(
        self,
        engine: Engine,
        key: StreamKey,
        owner: Owner,
        operation: str,
        request: HttpRequest | None,
    ) -> StreamInfo | None:
        """Return the state if `owner` may do `operation`; a foreign stream is a missing one."""
        (info,) = await engine.store.status([key])
        if info is None:
            outcome = "missing"
        elif operation in ("cancel", "delete"):
            outcome = "match" if _owns(info, owner) else "foreign"
        else:
            outcome = "match" if _may_read(info, owner) else "foreign"
        await self._checked(engine, key, owner, operation, outcome, request)
        return info if outcome == "match" else None

    async def _checked(
        self,
        engine: Engine,
        key: StreamKey,
        owner: Owner,
        operation: str,
        outcome: str,
        request: HttpRequest | None,
    ) -> None:
        await self._notify(
            owner_checked,
            engine,
            key,
            owner,
            operation=operation,
            outcome=outcome,
            request=request,
        )

    async def _notify(
        self, signal: StreamSignal, engine: Engine, key: StreamKey, owner: Owner, **named: Any
    ) -> None:
        if signal.receivers:
            await signal.notify(
                type(engine.store),
                hook_errors=engine.settings.hook_errors,
                alias=self.alias,
                stream_id=key.stream_id,
                tenant=key.tenant,
                owner=owner,
                **named,
            )

    def _key(self, stream_id: str, tenant: str | None) -> StreamKey:
        return StreamKey(
            tenant=validate_tenant(DEFAULT_TENANT if tenant is None else tenant),
            generation=1,
            stream_id=validate_stream_id(stream_id),
        )

    def __repr__(self) -> str:
        return f"<StreamManager {self.alias}>"


def _owns(info: StreamInfo, owner: Owner) -> bool:
    return compare_digest(encode_owner(info.owner), encode_owner(owner))


def _may_read(info: StreamInfo, owner: Owner) -> bool:
    return _owns(info, owner) or info.owner is PUBLIC


def _validate_offset(offset: object) -> int:
    if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
        raise InvalidOffset
    return offset


def _terms(
    settings: AliasSettings, owner: Owner, ttl: float | None, attrs: Mapping[str, str] | None
) -> Terms:
    ttl = settings.ttl if ttl is None else ttl
    if not settings.lease < ttl < math.inf:
        raise ValueError(f"ttl is longer than the lease ({settings.lease:g} seconds), and finite.")
    attrs = dict(attrs or {})
    texts: list[object] = [text for item in attrs.items() for text in item]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("attrs maps strings to strings.")
    if sum(len(name) + len(value) for name, value in attrs.items()) > MAX_ATTRS_BYTES:
        raise ValueError(f"attrs holds at most {MAX_ATTRS_BYTES} characters.")
    finished_ttl = ttl if settings.finished_ttl is None else min(ttl, settings.finished_ttl)
    return Terms(owner=owner, ttl=ttl, finished_ttl=finished_ttl, lease=settings.lease, attrs=attrs)


streams = StreamManager()
"""The streams of the `default` alias."""
