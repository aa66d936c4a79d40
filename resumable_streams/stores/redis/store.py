"""Streams in Redis or Valkey.

One stream is two keys in one cluster slot: its state (a HASH) and its bytes (a STRING, so an
offset is an address: appending is APPEND, reading from any byte is GETRANGE). Every verb is one
script (`lua/`), every script is one round trip on a connection that all verbs share (`connection`),
and appended bytes are pushed to every process that watches the stream (`feed`): two connections a
process, for any number of streams and readers.
"""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from hashlib import sha1
from importlib import resources
from typing import Any, NamedTuple, NoReturn

from django.core.checks import CheckMessage
from redis.exceptions import NoScriptError

from ...conf import AliasSettings
from ...exceptions import (
    Diagnosis,
    StoreUnavailable,
    StreamClaimLost,
    StreamDoesNotExist,
    StreamFinalized,
    StreamGap,
    StreamLimitExceeded,
    StreamUnreadable,
)
from ...identifiers import decode_owner, encode_owner, owner_digest
from ...process.lasting import Lasting, as_a_whole
from ...types import (
    Acquisition,
    Claim,
    Control,
    Holding,
    Limits,
    Listed,
    Observation,
    Occupant,
    Owner,
    Page,
    Role,
    Slot,
    StreamInfo,
    StreamKey,
    StreamStatus,
    Terms,
)
from ..base import (
    MAX_DEATHS,
    MIN_CONTROL_SECONDS,
    BaseStore,
    Feed,
    Finding,
    Listener,
    PendingAppend,
    Queue,
    ServerMemory,
)
from ..outages import log_outage
from ..patience import for_seconds, patiently
from ..processes import Processes
from .checks import check_caches
from .cluster import ClusterNodes
from .connect import Connect, Endpoint
from .connection import Argument, Command, CommandConnection, Unreadable
from .examination import Examination
from .keys import KeySpace, decode_holdings, encode_holding
from .nodes import Nodes, OneNode
from .options import refuse_wrong
from .processes import KEEP_MS, RedisProcesses
from .queue import RedisQueue

__all__ = ["RedisStore"]

logger = logging.getLogger("resumable_streams.redis")

BLOCKING_TIMEOUT = 60.0
SCAN_COUNT = 1_000
MAX_NEWS_KEPT = 10_000
MAX_TOLD = 1_000
ANNOUNCE_SECONDS = 30.0
SPOILT_REMEDY = (
    "Something else writes keys of this prefix: give it, or the alias, another KEY_PREFIX or "
    "database, and delete this key."
)
REPLICAS_REMEDY = "Bring the replicas back (INFO replication), or lower `wait_replicas` in OPTIONS."

ENDED = frozenset(one.value.encode() for one in StreamStatus if one is not StreamStatus.STREAMING)

Place = StreamKey | str | list[str]
"""What a script works on: a stream, or the keys it is given."""


# Read with the module: the verbs run on an event loop.
SCRIPTS = {file.name: file.read_text() for file in (resources.files(__package__) / "lua").iterdir()}


class State(NamedTuple):
    """The state of a stream as scripts answer it (`describe` in the prelude)."""

    epoch: bytes
    owner: bytes
    status: bytes
    size: bytes
    entries: bytes
    created: bytes
    holder: bytes
    grace: bytes
    seen: bytes
    slot: bytes | None  # None of a stream that another version began
    error_code: bytes
    error: bytes
    attrs: bytes
    ttl: int  # milliseconds, as all times here
    now: int


DECOY = State(
    epoch=b"00000000",
    owner=b"=decoy:0",
    status=b"missing",
    size=b"0",
    entries=b"0",
    created=b"1800000000000",
    holder=b"00000000",
    grace=b"0",
    seen=b"0",
    slot=b"",
    error_code=b"",
    error=b"",
    attrs=b'{"format": "raw"}',
    ttl=1,
    now=0,
)
"""What `status` answers of a missing stream, but for the time."""

# What the scripts are filled in with: all but the two that are not in the HASH.
IN_SCRIPTS = {
    "$STATE": ", ".join(f"'{name}'" for name in State._fields[:-2]),
    "$DECOY": ", ".join(f"'{(value or b'').decode()}'" for value in DECOY[:-2]),
}


class DeferredAppend:
    """An append that nobody awaits; any answer but a size means that it was refused."""

    __slots__ = ("_append", "command")

    def __init__(self, command: Callable[[], Command | None], append: PendingAppend) -> None:
        self.command = command
        self._append = append

    def done(self) -> bool:
        return False

    def set_result(self, result: Any) -> None:
        self._append.answered(_is_size(result))

    def set_exception(self, exception: Exception) -> None:
        self._append.answered(False)


@cache
def _script(name: str, publish: str) -> tuple[str, str]:
    """Return the SHA1 and the source of a script, the shared prelude in front.

    A header (`#!lua`, with flags for the server) has to stay the first line.
    """
    body = SCRIPTS[f"{name}.lua"]
    header, body = body.split("\n", 1) if body.startswith("#!") else ("", body)
    source = f"{header}\n{SCRIPTS['prelude.lua']}{body}".lstrip()
    for mark, text in {**IN_SCRIPTS, "$PUBLISH": publish}.items():
        source = source.replace(mark, text)
    return sha1(source.encode(), usedforsecurity=False).hexdigest(), source


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


class NotReplicated(StoreUnavailable):
    """Too few replicas have the write."""


class UnknownAnswer(StoreUnavailable):
    """A script that answered what none of ours does; it would again."""

    is_final = True


class RedisStore(BaseStore):
    """Streams in Redis or Valkey: one server, behind Sentinel, or a cluster.

    LOCATION is a URL; instead of it, `cache_alias` (CACHE_ALIAS) takes the connection of a cache,
    of django-redis (Sentinel included) or Django's own RedisCache. With `sentinels` ("host:port",
    …) the primary of `service` is used, and LOCATION gives the rest. With `cluster`, LOCATION is
    any node; in place of True a list of others ("host:port", …) is asked where that one is away.
    `wait_replicas` is how many replicas must have what is written before it counts: no acknowledged
    byte, election, end or revocation is lost by a failover to them then, at several times the
    latency; if they do not have it in half of `command_timeout`, the store counts as away.
    `connect_timeout` and `command_timeout` are seconds.
    """

    def __init__(
        self,
        *,
        alias: str,
        key_prefix: str,
        location: str | None,
        limits: Limits,
        cache_alias: str | None = None,
        connect_timeout: float = 5,
        command_timeout: float = 5,
        cluster: bool | Sequence[str] = False,
        sentinels: Sequence[str] = (),
        service: str = "mymaster",
        wait_replicas: int = 0,
    ):
        super().__init__(alias=alias, key_prefix=key_prefix, location=location, limits=limits)
        refuse_wrong(
            alias,
            limits,
            seconds=(connect_timeout, command_timeout),
            cluster=cluster,
            sentinels=sentinels,
            wait_replicas=wait_replicas,
        )
        self.keys = KeySpace(key_prefix)
        self._connect_timeout = connect_timeout + command_timeout  # the handshake asks, too
        self._command_timeout = command_timeout
        self._wait_replicas = wait_replicas
        self._is_cluster = bool(cluster)
        endpoint = Endpoint(
            alias=alias,
            location=location or "redis://127.0.0.1:6379/0",
            cache_alias=cache_alias,
            connect_timeout=connect_timeout,
        )
        self._nodes = self._make_nodes(endpoint, sentinels, service, cluster)
        self._emptied_by = partial(endpoint.emptied_by, sentinels, service)
        self._address = endpoint.address
        self._may_push = False  # as far as we know
        self._unreadable: set[StreamKey] = set()  # that the log knows already
        self._processes = RedisProcesses(self.keys, self._write)
        self.lasting = Lasting()  # what is written and announced: two hash slots, so two scripts

    def check(self, settings: AliasSettings, *, deploy: bool) -> list[CheckMessage]:
        """W013."""
        return [] if deploy else list(check_caches(settings, self._emptied_by()))

    async def examine(self) -> list[Observation]:
        examination = Examination(
            self._nodes,
            self.keys,
            self.look,
            self._address,
            is_cluster=self._is_cluster,
            wait_replicas=self._wait_replicas,
        )
        return await examination.observe()

    def _make_nodes(
        self,
        endpoint: Endpoint,
        sentinels: Sequence[str],
        service: str,
        cluster: bool | Sequence[str],
    ) -> Nodes:
        if cluster:
            seeds, connect_to = endpoint.cluster(() if cluster is True else cluster)
            return ClusterNodes(
                seeds,
                connect_to,
                self._new_connection,
                alias=self.alias,
                connect_timeout=self._connect_timeout,
            )
        connect = endpoint.primary(sentinels, service) if sentinels else endpoint.server()
        return OneNode(
            connect,
            self._new_connection,
            alias=self.alias,
            connect_timeout=self._connect_timeout,
        )

    def _new_connection(self, connect: Connect, timeout: float | None = None) -> CommandConnection:
        return CommandConnection(
            connect,
            alias=self.alias,
            connect_timeout=self._connect_timeout,
            timeout=timeout or self._command_timeout,
            refuses_replica=not self._is_cluster,  # there, replicas send us on by themselves
        )

    def _keys_of(self, place: Place) -> list[str]:
        """Return the keys of a stream, or those that are named."""
        if isinstance(place, StreamKey):
            return [self.keys.meta(place), self.keys.log(place)]
        return [place] if isinstance(place, str) else place

    async def _write(
        self,
        name: str,
        place: Place,
        *arguments: str | bytes | int,
        wrote: Callable[[Any], bool] = bool,
        may_wait: bool = False,
    ) -> Any:
        """Run a script that writes, and wait until the replicas that are to have that have it.

        If they do not in time, what was written stays, but does not count: whoever sent it sends it
        again, or gives up. `wrote` tells by the answer whether there is anything to wait for.
        """
        if not self._wait_replicas:
            return await self._run(name, place, *arguments, may_wait=may_wait)
        # On the connection of the script: the server waits for what that one has written.
        wait = ("WAIT", self._wait_replicas, _ms(self._command_timeout / 2))
        answer, reached = await self._run(name, place, *arguments, then=wait, may_wait=may_wait)
        if wrote(answer) and reached < self._wait_replicas:
            raise self._not_replicated(reached)
        return answer

    def _not_replicated(self, reached: int) -> NotReplicated:
        wanted = f"{reached} of {self._wait_replicas} replicas confirmed a write in time"
        found = Diagnosis(server=self._address(), words=wanted, remedy=REPLICAS_REMEDY)
        error = NotReplicated(self.alias, diagnosis=found)
        log_outage(error)
        return error

    async def _run(
        self,
        name: str,
        place: Place,
        *arguments: Argument,
        then: Command | None = None,
        may_wait: bool = False,
    ) -> Any:
        """Run a script on a stream or a key; raise StreamUnreadable for what it cannot read."""
        try:
            keys = self._keys_of(place)
            return await self._eval(name, keys, *arguments, then=then, may_wait=may_wait)
        except Unreadable as error:
            if isinstance(place, StreamKey):
                raise self._unreadable_at(place, error) from error
            reason = f"{self._keys_of(place)[0]} holds a value that is not ours"
            raise self._spoilt(reason, error) from error

    async def _eval(
        self,
        name: str,
        keys: list[str],
        *arguments: Argument,
        then: Command | None = None,
        may_wait: bool = False,
    ) -> Any:
        """Run a script, in one round trip once the server knows it."""
        sha, source = _script(name, self._nodes.publish)
        rest = (len(keys), *keys, *arguments)
        try:
            return await self._nodes.execute(
                keys[0], "EVALSHA", sha, *rest, then=then, may_wait=may_wait
            )
        except NoScriptError:  # a new server, a restart, SCRIPT FLUSH
            return await self._nodes.execute(keys[0], "EVAL", source, *rest, then=then)

    def _unreadable_at(self, key: StreamKey, error: Exception) -> StreamUnreadable:
        """Say in the log, once, which stream cannot be read, and return the error that says it."""
        unreadable = StreamUnreadable(self.keys.meta(key))
        if key not in self._unreadable and len(self._unreadable) < MAX_TOLD:
            self._unreadable.add(key)
            logger.error("%s (%s) Everybody is told that it is missing.", unreadable, error)
        return unreadable

    def _info(self, key: StreamKey, state: Sequence[Any]) -> StreamInfo:
        """Read what `describe` in the prelude answers; raise StreamUnreadable if nobody can."""
        try:
            return _info(key, state)
        except (ValueError, TypeError, AttributeError) as error:
            raise self._unreadable_at(key, error) from error

    @property
    def processes(self) -> Processes:
        return self._processes

    async def acquire(self, key: StreamKey, claim: Claim, terms: Terms) -> Acquisition:
        try:
            elected, state = await self._write(
                "acquire",
                key,
                claim.token,
                claim.epoch,
                encode_owner(terms.owner),
                _ms(terms.ttl),
                _ms(terms.finished_ttl),
                _ms(terms.pending),
                round(terms.grace * 1000),
                round(terms.seen_mark * 1000),
                claim.holder,
                json.dumps(dict(terms.attrs)),
                terms.slot,
                wrote=_is_elected,
            )
        except NotReplicated:
            # Nobody is told of this election: it must not stand in the way of the next one.
            await self._run("delete", key, self.keys.events, claim.epoch)
            raise
        role = Role.PRODUCER if elected else Role.CONSUMER
        return Acquisition(role=role, info=self._info(key, state))

    async def confirm(self, key: StreamKey, claim: Claim) -> bool:
        return bool(await self._write("confirm", key, claim.token))

    async def reclaim(
        self, key: StreamKey, held: str, claim: Claim, *, silent: str = ""
    ) -> StreamInfo:
        answer = await self._write(
            "reclaim",
            key,
            held,
            claim.token,
            claim.epoch,
            claim.holder,
            silent,
            MAX_DEATHS,
            wrote=_is_ok,
        )
        if answer[0] != b"ok":
            self._refuse(answer)
        return self._info(key, answer[1])

    async def reap(
        self, key: StreamKey, epoch: str, *, holder: str, heir: str = "", by: str = ""
    ) -> StreamInfo | None:
        with suppress(StreamUnreadable):
            state = await self._write("reap", key, epoch, holder, heir, by)
            return state and self._info(key, state)
        return None

    def _append(self, claim: Claim, offset: int, data: bytes, chunks: int) -> Command:
        """Return the arguments of the script."""
        limits = self.limits
        most_bytes, most_entries = limits.max_stream_bytes, limits.max_entries_per_stream
        return (claim.token, offset, most_bytes or "", most_entries or "", chunks, data)

    async def append(
        self, key: StreamKey, claim: Claim, offset: int, data: bytes, *, chunks: int = 1
    ) -> int:
        answer = await self._write(
            "append",
            key,
            *self._append(claim, offset, data, chunks),
            wrote=_is_size,
            may_wait=offset > 0,  # the first bytes of an answer are waited for
        )
        if not isinstance(answer, int):
            self._refuse(answer)
        return answer

    def begin_append(self, key: StreamKey, claim: Claim, append: PendingAppend) -> bool:
        if self._wait_replicas:
            return False
        sha, _ = _script("append", self._nodes.publish)
        meta, log = self.keys.meta(key), self.keys.log(key)

        def command() -> Command | None:
            taken = append.take()
            return taken and ("EVALSHA", sha, 2, meta, log, *self._append(claim, *taken))

        return self._nodes.defer(meta, DeferredAppend(command, append))

    def _refuse(self, answer: list[Any]) -> NoReturn:
        """Raise what a script answered instead of "ok"."""
        match answer:
            case [b"missing"]:
                raise StreamDoesNotExist
            case [b"final", status, code]:
                raise StreamFinalized(status.decode(), code.decode())
            case [b"gap", size]:
                raise StreamGap(int(size))
            case [b"limit", name]:
                limit = name.decode()
                raise StreamLimitExceeded(limit, getattr(self.limits, limit.lower()))
            case [b"claim"]:
                raise StreamClaimLost
            case _:
                raise UnknownAnswer(self.alias, "a script returned an unknown answer")

    async def finalize(
        self,
        key: StreamKey,
        claim: Claim,
        status: StreamStatus,
        *,
        size: int | None = None,
        error_code: str = "",
        error: str = "",
    ) -> StreamInfo:
        message = error.encode(errors="replace")  # what an exception says may be no UTF-8
        answer = await self._write(
            "finalize",
            key,
            claim.token,
            status,
            error_code,
            message,
            size or 0,
            wrote=_is_ok,
        )
        if answer[0] != b"ok":
            self._refuse(answer)
        return self._info(key, answer[1])

    async def read(self, key: StreamKey, offset: int, limit: int) -> Page | None:
        with suppress(StreamUnreadable):
            answer = await self._run("read", key, offset, offset + limit - 1)
            return answer and Page(info=self._info(key, answer[0]), data=answer[1])
        return None

    async def status(self, keys: Sequence[StreamKey]) -> list[Finding]:
        # Sent in one loop turn, so they leave in one write.
        return await asyncio.gather(*(self._look(key) for key in keys))

    async def _look(self, key: StreamKey) -> Finding:
        try:
            state = State(*await self._run("status", key))
            # A decoy is read just as long and thrown away: see `status.lua`.
            is_missing = state.status == DECOY.status
            status = b"streaming" if is_missing else state.status
            info = self._info(key, state._replace(status=status))
        except (StreamUnreadable, StoreUnavailable) as error:
            return error
        return None if is_missing else info

    async def _write_end(
        self,
        name: str,
        key: StreamKey,
        epoch: str | None,
        *arguments: str,
        wrote: Callable[[Any], bool] = bool,
    ) -> Any:
        """Run a script that ends a stream; announce what it may have done if it is not answered."""
        try:
            events = self.keys.events
            return await self._write(name, key, events, epoch or "", *arguments, wrote=wrote)
        except StoreUnavailable as error:
            if not error.is_final:  # who repeats it may find nothing to do, and nothing to announce
                patience = for_seconds(ANNOUNCE_SECONDS)
                self.lasting.start(patiently(lambda: self.announce(key), patience), name="announce")
            raise

    @as_a_whole
    async def delete(self, key: StreamKey, *, epoch: str | None = None) -> bool:
        answer = await self._write_end("delete", key, epoch, wrote=_is_elected)
        found, was_streaming, *whose = answer
        self._may_push = True  # the script has asked
        if was_streaming:  # only then it has a producer to stop; a purge of old streams is quiet
            await self.announce(key)
        if found:  # a death in between leaves names, whose state says that nothing is there
            with suppress(StreamUnreadable, ValueError):
                await self._forget(key, *whose)
        return bool(found)

    async def purge(self, key: StreamKey) -> bool:
        """Remove the stream by plain commands, if it has ended; a script takes the server longer.

        What is left if this process dies, or is cancelled, after each of them:

            HMGET     all of it
            UNLINK    names in the index and the slot, whose state says that nothing is there

        A stream that was acquired between the two goes as well: its producer finds out at its next
        append, or by the announcement for the tenant.
        """
        # A script asks first whether we may push, which the announcement at the end has to do; and
        # only a script waits for replicas.
        if not self._may_push or self._wait_replicas:
            return await self.delete(key)
        meta, log = self._keys_of(key)
        try:
            fields = ("status", "epoch", "owner", "slot")
            status, *whose = await self._nodes.execute(meta, "HMGET", meta, *fields)
        except Unreadable:
            return await self.delete(key)
        if status not in ENDED:
            return await self.delete(key)
        found = await self._nodes.execute(meta, "UNLINK", meta, log)
        with suppress(StreamUnreadable, ValueError):
            await self._forget(key, *(value or b"" for value in whose))
        return bool(found)

    async def _forget(self, key: StreamKey, epoch: bytes, owner: bytes, name: bytes) -> None:
        """Take a deleted stream out of the index of its owner, and out of its slot."""
        digest = owner_digest(decode_owner(owner))
        index = self.keys.index(key.tenant, key.generation, digest)
        member = encode_holding(Holding(key=key, epoch=epoch.decode(), owner_digest=digest))
        slot = Slot(
            tenant=key.tenant, generation=key.generation, owner_digest=digest, name=name.decode()
        )
        done = [self._nodes.execute(index, "ZREM", index, member)]
        if slot.name:
            done.append(self.vacate(slot, epoch=epoch.decode()))
        await asyncio.gather(*done)

    async def touch(self, streams: Sequence[tuple[StreamKey, Claim]]) -> list[bool]:
        # Sent in one loop turn, so they leave in one write.
        return await asyncio.gather(*(self._touch(key, claim) for key, claim in streams))

    async def _touch(self, key: StreamKey, claim: Claim) -> bool:
        with suppress(StreamUnreadable):
            return bool(await self._run("touch", key, claim.token))
        return False

    @as_a_whole
    async def cancel(
        self, key: StreamKey, *, epoch: str | None = None, code: str = ""
    ) -> StreamInfo | None:
        with suppress(StreamUnreadable):
            answer = await self._write_end("cancel", key, epoch, code)
            if answer is None:
                return None
            is_cancelled, state = answer
            if is_cancelled:  # the producer's process does not watch its own streams
                await self.announce(key)
            return self._info(key, state)
        return None

    async def expire(self, key: StreamKey, ttl: float) -> bool:
        return bool(await self._run("expire", key, _ms(ttl)))

    async def scan(
        self, tenant: str | None = None, generation: int | None = None
    ) -> AsyncIterator[StreamKey]:
        pattern = self.keys.meta_pattern(tenant, generation)
        away: StoreUnavailable | None = None
        for connection in await self._nodes.connections():
            try:
                async for name in _names_on(connection, pattern):
                    if key := self.keys.parse(name.decode(errors="replace")):
                        yield key
            except StoreUnavailable as error:  # what the others have is met all the same
                away = error
        if away is not None:
            raise away

    async def get_control(self, tenant: str, owner: Owner, *, keep: float | None = None) -> Control:
        try:
            return await self._get_control(tenant, owner, keep)
        except (Unreadable, ValueError) as error:
            reason = f"the control key {self.keys.control(tenant)} cannot be read"
            raise self._spoilt(reason, error) from error

    def _spoilt(self, reason: str, error: Exception) -> StoreUnavailable:
        """Return, and log, that a key which more than one stream needs cannot be read."""
        words = error.reason if isinstance(error, StoreUnavailable) else str(error)
        found = Diagnosis(server=self._address(), words=words, remedy=SPOILT_REMEDY)
        spoilt = StoreUnavailable(self.alias, reason, diagnosis=found)
        log_outage(spoilt)
        return spoilt

    async def _get_control(self, tenant: str, owner: Owner, keep: float | None) -> Control:
        # Commands in one write: the keys may live in different slots of a cluster.
        control, revoked = self.keys.control(tenant), self.keys.revoked(tenant, owner)
        ask = self._nodes.execute
        asked = [
            ask(control, "HMGET", control, "generation", "ttl", "longest_ttl"),
            ask(revoked, "GET", revoked),
        ]
        if keep is not None:  # GT: neither shortens the life of the key nor gives it one
            asked.append(ask(control, "PEXPIRE", control, _ms(keep), "GT"))
        (generation, ttl, longest), mark, *_ = await asyncio.gather(*asked)
        return Control(
            generation=None if generation is None else int(generation),
            ttl=None if ttl is None else int(ttl) / 1000,
            longest_ttl=int(longest or 0) / 1000,
            revoked_at=None if mark is None else int(mark) / 1000,
        )

    @as_a_whole
    async def set_control(
        self,
        tenant: str,
        *,
        generation: int | None = None,
        ttl: float | None = None,
        longest_ttl: float | None = None,
    ) -> int:
        in_force, is_news = await self._write(
            "control",
            self.keys.control(tenant),
            generation or "",
            "" if ttl is None else round(ttl * 1000),
            round((longest_ttl or 0) * 1000),
            self.keys.events,
            _ms(MIN_CONTROL_SECONDS),
        )
        if is_news:
            await self.announce(tenant)
        return int(in_force)

    async def announce(self, about: str | StreamKey) -> None:
        # Cancelled between the two, the next heartbeats find it; before them, whoever repeats it.
        hint = self.keys.hint(about)
        try:
            await self._write("announce", self.keys.shared("news"), hint, MAX_NEWS_KEPT, KEEP_MS)
        except StoreUnavailable:  # where no heartbeat finds it, the push is all there is
            await self._nodes.broadcast(self.keys.events, hint)
            raise
        await self._nodes.broadcast(self.keys.events, hint)

    @as_a_whole
    async def revoke(self, tenant: str, owner: Owner, *, keep: float) -> float:
        mark = await self._write(
            "revoke", self.keys.revoked(tenant, owner), _ms(keep), self.keys.events
        )
        await self.announce(tenant)
        return int(mark) / 1000

    @as_a_whole
    async def reserve(self, holding: Holding, *, ttl: float, others: int = 0) -> None:
        """Count in one set after the other: they live in different slots of a cluster.

        What a connection that breaks between the two leaves is counted until somebody tells that
        end.
        """
        limits, member, keep = self.limits, encode_holding(holding), _ms(2 * ttl)
        counters = [
            ("MAX_STREAMS", limits.max_streams, 0),
            ("MAX_STREAMS_PER_OWNER", limits.max_streams_per_owner, others),
        ]
        if limits.max_streams is limits.max_streams_per_owner is None:  # neither can be refused
            await asyncio.gather(
                *(self._run("reserve", one, member, "", keep) for one in self._counters(holding))
            )
            return
        for (name, most, taken), keys in zip(counters, self._counters(holding), strict=True):
            left = "" if most is None else most - taken
            if not await self._run("reserve", keys, member, left, keep):
                await self.release(holding)
                raise StreamLimitExceeded(name, most or 0)

    def _counters(self, holding: Holding) -> list[list[str]]:
        """Return the keys that count a stream: those of its tenant, and those of its owner."""
        key, owner = holding.key, holding.owner_digest
        index = self.keys.index(key.tenant, key.generation, owner)
        return [[self.keys.live(key.tenant)], [self.keys.live(key.tenant, owner), index]]

    async def release(self, holding: Holding) -> None:
        member, tenant = encode_holding(holding), holding.key.tenant
        counters = (self.keys.live(tenant), self.keys.live(tenant, holding.owner_digest))
        await asyncio.gather(
            *(self._nodes.execute(counter, "ZREM", counter, member) for counter in counters)
        )

    async def live(
        self, tenant: str, owner_digest: str | None = None, *, limit: int = 100
    ) -> list[Holding]:
        counter = self.keys.live(tenant, owner_digest)
        members = await self._nodes.execute(counter, "ZRANGE", counter, 0, limit - 1)
        return decode_holdings(members)

    async def listed(
        self,
        tenant: str,
        owner_digest: str | None = None,
        *,
        generation: int | None = None,
        after: Listed | None = None,
        limit: int = 100,
    ) -> list[Listed]:
        if owner_digest is None or generation is None:
            index = self.keys.live(tenant, owner_digest)
        else:
            index = self.keys.index(tenant, generation, owner_digest)
        place: tuple[str | int, str] = ("+inf", "")
        if after is not None:
            place = round(after.when * 1000), encode_holding(after.holding)
        answer = await self._run("page", index, *place, limit)
        entries = zip(answer[::2], answer[1::2], strict=True)
        return [
            Listed(holding=holding, when=int(score) / 1000)
            for member, score in entries
            for holding in decode_holdings([member])
        ]

    async def occupant(self, slot: Slot) -> Occupant | None:
        return _occupant(await self._run("occupant", self.keys.slot(slot)))

    async def occupy(
        self, slot: Slot, *, epoch: str, stream_id: str, seen: Occupant | None, keep: float
    ) -> Occupant | None:
        before = ("", "") if seen is None else (seen.epoch, "1" if seen.has_started else "")
        key = self.keys.slot(slot)
        return _occupant(await self._write("occupy", key, epoch, stream_id, *before, _ms(keep)))

    async def settle(self, slot: Slot, *, epoch: str, stream_id: str, keep: float) -> bool:
        key = self.keys.slot(slot)
        return bool(await self._write("settle", key, epoch, stream_id, _ms(keep)))

    async def vacate(self, slot: Slot, *, epoch: str) -> None:
        await self._run("vacate", self.keys.slot(slot), epoch)

    def queue(self, worker: str = "") -> Queue:
        return RedisQueue(
            self._nodes, self._eval, self._new_waiting_connection, self.keys, worker=worker
        )

    async def _new_waiting_connection(self) -> CommandConnection:
        return self._new_connection(await self._nodes.connect(self.keys.orders), BLOCKING_TIMEOUT)

    async def memory(self) -> ServerMemory | None:
        servers = [await _memory_of(one) for one in await self._nodes.connections()]
        return max(servers, key=lambda one: (one.used / one.limit, one.used))

    def open_feed(self, listener: Listener) -> Feed:
        return self._nodes.open_feed(self.keys, listener)

    async def aclose(self) -> None:
        await self.lasting.aclose()
        await self._nodes.aclose()


async def _memory_of(connection: CommandConnection) -> ServerMemory:
    said: bytes = await connection.execute("INFO", "memory")
    fields = dict(line.split(b":", 1) for line in said.splitlines() if b":" in line)
    limit = int(fields.get(b"maxmemory", 0))
    return ServerMemory(used=int(fields[b"used_memory"]), limit=limit or math.inf)


async def _names_on(connection: CommandConnection, pattern: str) -> AsyncIterator[bytes]:
    cursor = b"0"
    while True:
        cursor, names = await connection.execute(
            "SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT
        )
        for name in names:
            yield name
        if cursor == b"0":
            break


def _is_elected(answer: list[Any]) -> bool:
    return bool(answer[0])


def _is_ok(answer: list[Any]) -> bool:
    return bool(answer[0] == b"ok")


def _is_size(answer: object) -> bool:
    return isinstance(answer, int)


def _occupant(answer: list[Any] | None) -> Occupant | None:
    if answer is None:
        return None
    epoch, stream_id, has_started, age = answer
    return Occupant(
        epoch=epoch.decode(),
        stream_id=stream_id.decode(),
        has_started=bool(has_started),
        age=int(age) / 1000,
    )


def _info(key: StreamKey, state: Sequence[Any]) -> StreamInfo:
    row = State(*state)
    return StreamInfo(
        stream_id=key.stream_id,
        tenant=key.tenant,
        generation=key.generation,
        owner=decode_owner(row.owner),
        status=StreamStatus(row.status.decode()),
        size=int(row.size),
        entries=int(row.entries),
        created=int(row.created) / 1000,
        expires=(row.now + row.ttl) / 1000,
        epoch=row.epoch.decode(),
        ttl=row.ttl / 1000,
        holder=row.holder.decode(),
        grace=int(row.grace) / 1000,
        seen_mark=int(row.seen) / 1000,
        slot=(row.slot or b"").decode(),
        error_code=row.error_code.decode(),
        error=row.error.decode(),
        attrs=dict(json.loads(row.attrs)),
    )
