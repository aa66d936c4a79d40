"""The doctor's questions to a server, one for each trap.

The connection comes first: without one, nothing else can be asked. All other questions follow at
once, each with a time limit of its own, so none keeps another from its answer. A question that the
user may not ask is no fault.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any
from uuid import uuid4

from redis.asyncio.connection import AbstractConnection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError

from ...exceptions import StoreForbidden, StoreUnavailable
from ...types import Observation, StreamKey, Verdict
from ..base import EXAMINE_SECONDS
from .connect import open_connection
from .connection import CommandConnection
from .diagnosis import address_of
from .keys import KeySpace
from .nodes import Nodes
from .rights import MissingRights, ask_for_rights

__all__ = ["SUPPORTED", "Examination"]

SUPPORTED: Mapping[str, tuple[str, ...]] = {
    "Redis": ("7.0", "7.2", "7.4", "8"),
    "Valkey": ("8", "9"),
}
"""The versions that are supported, as docs/servers.md lists them."""

CLOCK_SECONDS = 2.0
PUSH_SECONDS = 2.0
FULL_SHARE = 0.9
MACHINE_SHARE = 0.8

# The first whose pattern is found in the words of an error names the failed part of a connection.
PARTS = {
    "dns": r"Name or service not known|nodename nor servname|name resolution|No address associated",
    "tls": r"\bSSL|\bTLS|CERTIFICATE|certificate",
    "login": r"WRONGPASS|NOAUTH|password|Authentication",
    "rights": r"NOPERM|The user executing the script can't|ACL failure",
    "database": r"(?i)DB index|Invalid Database|SELECT is not allowed",
    "role": r"^READONLY|read-only replica",
    "cluster": r"cluster support|^(MOVED|ASK|CLUSTERDOWN) |no node of the cluster",
}

IDENTITY = """
local function told(name)
  local is_known, value = pcall(function() return server[name] end)
  return is_known and value or ''
end
return {told('SERVER_NAME'), told('VALKEY_VERSION'), redis.REDIS_VERSION or ''}
"""
WRITES = "#!lua\nreturn 1"  # refused where a script that writes is refused, whatever the reason

SILENT = f"There was no answer in {EXAMINE_SECONDS:g} seconds."
SILENT_REMEDY = (
    "It is overloaded or frozen, a firewall swallows the packets, or one side speaks TLS "
    "(rediss://) and the other does not."
)
NO_INFO = (
    "Memory, eviction, persistence, replication and cluster mode are unknown: this user may not "
    "run INFO."
)
EVICTION_REMEDY = (
    "Set maxmemory-policy to noeviction: readers of an evicted stream get data_lost or 404. Bound "
    "what is stored with TTL and LIMITS."
)
ROOM_REMEDY = (
    "Make room (`purge --older-than 6h`), then raise maxmemory or shorten TTL: a full server "
    "refuses new streams."
)
MACHINE_REMEDY = (
    "Set maxmemory below the memory of the machine: without that bound the system ends the server."
)
PERSISTENCE_REMEDY = (
    "Set `appendonly yes`, unless you can lose all streams, revocations and quotas in a restart."
)
DISK_REMEDY = "Make room on its disk, and read the log of the server: it may refuse all writes."
CLUSTER_REMEDY = "Set OPTIONS {'cluster': True}."
REPLICA_REMEDY = (
    "Name the primary in LOCATION, or have it found: OPTIONS `sentinels`, or `cluster`."
)
PUSH_REMEDY = (
    "Allow SUBSCRIBE and PUBLISH on the channels of the prefix; a proxy before the server must "
    "pass them on. Without pushes, readers of other processes wait for SWEEP."
)
CLOCK_REMEDY = "Have both machines keep time with NTP: ages and expiries are told by both clocks."

local_time = time.time

Facts = Mapping[str, str]
Look = Callable[[], Coroutine[Any, Any, Collection[Observation]]]


class Examination:
    """One visit of the doctor to the servers of a store."""

    def __init__(
        self,
        nodes: Nodes,
        keys: KeySpace,
        look: Callable[[StreamKey], Coroutine[Any, Any, object]],
        address: Callable[[], str],
        *,
        is_cluster: bool,
        wait_replicas: int,
    ):
        self._nodes = nodes
        self._keys = keys
        self._look = look
        self._address = address
        self._is_cluster = is_cluster
        self._wait_replicas = wait_replicas
        self._probe = StreamKey(tenant="doctor", generation=1, stream_id=uuid4().hex)

    async def observe(self) -> list[Observation]:
        """Return everything that can be found out, the connections first."""
        try:
            async with asyncio.timeout(EXAMINE_SECONDS):
                connections = await self._nodes.connections()
        except StoreUnavailable as error:
            return [_unreachable(error)]
        except TimeoutError:
            return [_silent(self._address())]
        visits = await asyncio.gather(*map(_reach, connections))
        found = [one for visit in visits for one in visit]
        answering = [
            connection
            for connection, visit in zip(connections, visits, strict=True)
            if visit[0].verdict is Verdict.FINE
        ]
        if answering:
            looks = [self._attempt(check, look) for check, look in self._looks(answering)]
            found += [one for answers in await asyncio.gather(*looks) for one in answers]
        return list(dict.fromkeys(found))  # servers of a cluster often say the same

    def _looks(self, connections: Collection[CommandConnection]) -> Iterator[tuple[str, Look]]:
        yield "scripts", self._scripts
        yield "push", self._push
        for connection in connections:
            yield "rights", partial(self._rights, connection)
            yield "writes", partial(_writes, connection)
            yield "clock", partial(_clock, connection)
            yield "info", partial(self._info, connection)

    async def _attempt(self, check: str, look: Look) -> Collection[Observation]:
        """Ask one question; whatever goes wrong is an observation, and the end of no other one."""
        try:
            async with asyncio.timeout(EXAMINE_SECONDS):
                return await look()
        except StoreForbidden as error:
            return [_unknown(check, error.diagnosis.words or error.reason)]
        except StoreUnavailable as error:
            found = error.diagnosis
            return [_fault(check, found.words or error.reason or str(error), found.remedy)]
        except TimeoutError:
            return [_fault(check, SILENT, SILENT_REMEDY)]
        except Exception as error:  # whatever a server answers: the others have theirs to tell
            return [_unknown(check, f"The answer makes no sense ({type(error).__name__}).")]

    async def _scripts(self) -> Collection[Observation]:
        await self._look(self._probe)
        return [_fine("scripts", "The scripts of the streams run.")]

    async def _push(self) -> Collection[Observation]:
        """Subscribe to a channel of our own, push to it, and hear it."""
        channel = self._keys.log(self._probe)
        shard = "S" if self._is_cluster else ""
        connect = await self._nodes.connect(channel)
        try:
            async with asyncio.timeout(PUSH_SECONDS):
                connection = await open_connection(connect, timeout=PUSH_SECONDS)
                try:
                    await connection.send_command(f"{shard}SUBSCRIBE", channel)
                    await _hear(connection)
                    await self._nodes.execute(channel, self._nodes.publish, channel, "doctor")
                    await _hear(connection)
                finally:
                    await connection.disconnect(nowait=True)
        except TimeoutError:
            return [_fault("push", "A message did not come back.", PUSH_REMEDY)]
        except (RedisError, OSError) as error:
            return [_fault("push", str(error) or type(error).__name__, PUSH_REMEDY)]
        return [_fine("push", "A message was there and back.")]

    async def _rights(self, connection: CommandConnection) -> Collection[Observation]:
        purposes = ["streams", "workers", "metrics"]
        purposes += ["wait_replicas"] if self._wait_replicas else []
        purposes += ["a cluster"] if self._is_cluster else []
        purposes += ["a database other than 0"] if connection.current.db else []
        missing = await ask_for_rights(connection, self._keys.prefix, purposes)
        if missing is None:
            return [_unknown("rights", "A server before Redis 7.0 cannot tell them.")]
        if not missing:
            return [_fine("rights", f"All that is needed on keys and channels {self._pattern}.")]
        return [self._missing(one, _user_of(connection.current)) for one in missing]

    @property
    def _pattern(self) -> str:
        return f"{self._keys.prefix}:*"

    def _missing(self, one: MissingRights, user: str) -> Observation:
        rules = " ".join(f"+{name}" for name in one.commands)
        commands = ", ".join(name.upper().replace("|", " ") for name in one.commands)
        found = f"For {one.purpose}, this user may not run on {self._pattern}: {commands}."
        remedy = f"ACL SETUSER {user} ~{self._pattern} &{self._pattern} {rules}"
        return MISSING.get(one.purpose, _fault)("rights", found, remedy)

    async def _info(self, connection: CommandConnection) -> Collection[Observation]:
        try:
            answer = await connection.execute("INFO")
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            return [_unknown("info", NO_INFO, "Allow it for the time of a visit: +info.")]
        lines = (line.partition(":") for line in answer.decode(errors="replace").splitlines())
        facts = {name: value for name, _, value in lines}
        return [
            _eviction(facts),
            _memory(facts),
            await _persistence(facts, connection),
            self._role(facts),
            self._cluster(facts),
        ]

    def _role(self, facts: Facts) -> Observation:
        replicas = int(facts.get("connected_slaves", 0))
        if facts.get("role") != "master":
            return _fault("role", "The server is a replica.", REPLICA_REMEDY)
        if replicas < self._wait_replicas:
            words = f"`wait_replicas` is {self._wait_replicas}, and {replicas} are connected."
            return _fault("role", words, "Bring the replicas back, or lower `wait_replicas`.")
        return _fine("role", f"A primary, with {replicas} replicas.")

    def _cluster(self, facts: Facts) -> Observation:
        is_cluster = facts.get("cluster_enabled") == "1"
        if is_cluster and not self._is_cluster:
            return _fault("cluster", "The server is a node of a cluster.", CLUSTER_REMEDY)
        return _fine("cluster", "A cluster, as in OPTIONS." if is_cluster else "No cluster.")


# --- The connection -----------------------------------------------------------------------------


async def _reach(connection: CommandConnection) -> list[Observation]:
    """Return that a server answers, and its version; or why it does not."""
    try:
        async with asyncio.timeout(EXAMINE_SECONDS):
            identity = await _identity(connection)
    except StoreUnavailable as error:
        return [_unreachable(error)]
    except TimeoutError:
        return [_silent(address_of(connection.current))]
    return [_reached(connection.current), _version(identity)]


def _unreachable(error: StoreUnavailable) -> Observation:
    found = error.diagnosis
    words = found.words or error.reason or "There is no connection."
    part = next((part for part, pattern in PARTS.items() if re.search(pattern, words)), "reach")
    where = f"{found.server}: " if found.server else ""
    return _fault(part, f"{where}{words}", found.remedy)


def _silent(address: str) -> Observation:
    return _fault("reach", f"{address}: {SILENT}", SILENT_REMEDY)


def _reached(connection: AbstractConnection) -> Observation:
    is_local = isinstance(connection, UnixDomainSocketConnection)
    way = "TLS" if isinstance(connection, SSLConnection) else "no TLS"
    way = "a socket of this machine" if is_local else way
    user = _user_of(connection)
    return _fine("reach", f"{address_of(connection)} answers (user {user}, {way}).")


def _user_of(connection: AbstractConnection) -> str:
    return str(getattr(connection, "username", None) or "default")


async def _identity(connection: CommandConnection) -> tuple[str, str]:
    """Return the kind and version of a server; a version of "" is one before Redis 7.0."""
    name, valkey, redis = [one.decode() for one in await connection.execute("EVAL", IDENTITY, 0)]
    return ("Valkey", valkey) if name == "valkey" else ("Redis", redis)


def _version(identity: tuple[str, str]) -> Observation:
    kind, version = identity
    if not version:
        return _fault(
            "version", "The server is older than Redis 7.0.", "Use Redis 7.0 or later, or Valkey."
        )
    tested = SUPPORTED[kind]
    if any(f"{version}.".startswith(f"{one}.") for one in tested):
        return _fine("version", f"{kind} {version}, which is supported.")
    words = f"{kind} {version}, which is expected to work; supported are {', '.join(tested)}."
    return _fine("version", words)


# --- The other questions ------------------------------------------------------------------------


async def _writes(connection: CommandConnection) -> Collection[Observation]:
    await connection.execute("EVAL", WRITES, 0)
    return [_fine("writes", "The server accepts writes.")]


async def _clock(connection: CommandConnection) -> Collection[Observation]:
    began = local_time()
    seconds, micro = await connection.execute("TIME")
    ended = local_time()
    # The server looked at its clock at some moment in between.
    there = int(seconds) + int(micro) / 1e6
    apart = max(began - there, there - ended, 0.0)
    if apart > CLOCK_SECONDS:
        return [_warning("clock", f"The clocks are {apart:.1f} seconds apart.", CLOCK_REMEDY)]
    return [_fine("clock", f"Less than {CLOCK_SECONDS:g} seconds apart.")]


def _eviction(facts: Facts) -> Observation:
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return _fine("eviction", "The server evicts nothing (noeviction).")
    if not int(facts.get("maxmemory", 0)):
        return _fine("eviction", f"{policy}, without effect while maxmemory is 0.")
    words = f"The server evicts keys when its memory is full ({policy})."
    return _warning("eviction", words, EVICTION_REMEDY)


def _memory(facts: Facts) -> Observation:
    used, most = int(facts["used_memory"]), int(facts.get("maxmemory", 0))
    machine = int(facts.get("total_system_memory", 0))
    if most:
        words = f"{_mebibytes(used)} of {_mebibytes(most)} used (maxmemory)."
        if used >= most:
            return _fault("memory", words, ROOM_REMEDY)
        is_full = used > FULL_SHARE * most
        return _warning("memory", words, ROOM_REMEDY) if is_full else _fine("memory", words)
    words = f"{_mebibytes(used)} used, without a bound (maxmemory 0)."
    is_full = bool(machine) and used > MACHINE_SHARE * machine
    return _warning("memory", words, MACHINE_REMEDY) if is_full else _fine("memory", words)


async def _persistence(facts: Facts, connection: CommandConnection) -> Observation:
    names = ("aof_last_write_status", "rdb_last_bgsave_status")
    if failed := [name for name in names if facts.get(name, "ok") != "ok"]:
        return _fault("persistence", f"It fails ({', '.join(failed)}).", DISK_REMEDY)
    if facts.get("aof_enabled") == "1":
        return _fine("persistence", "An append-only file.")
    try:
        _, rule = await connection.execute("CONFIG", "GET", "save")
    except (StoreUnavailable, ValueError):  # refused, or renamed
        words = "No append-only file; snapshots are unknown, as this user may not run CONFIG GET."
        return _unknown("persistence", words)
    if not rule:
        return _warning("persistence", "None: a restart loses everything.", PERSISTENCE_REMEDY)
    words = "Snapshots only: a crash loses everything since the last one."
    return _warning("persistence", words, PERSISTENCE_REMEDY)


async def _hear(connection: AbstractConnection) -> Any:
    return await connection.read_response(disable_decoding=True, timeout=math.inf)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _fine(check: str, message: str) -> Observation:
    return Observation(check=check, verdict=Verdict.FINE, message=message)


def _unknown(check: str, message: str, remedy: str = "") -> Observation:
    return Observation(check=check, verdict=Verdict.UNKNOWN, message=message, remedy=remedy)


def _warning(check: str, message: str, remedy: str) -> Observation:
    return Observation(check=check, verdict=Verdict.WARNING, message=message, remedy=remedy)


def _fault(check: str, message: str, remedy: str) -> Observation:
    return Observation(check=check, verdict=Verdict.FAULT, message=message, remedy=remedy)


MISSING: Mapping[str, Callable[[str, str, str], Observation]] = {
    "workers": _warning,
    "metrics": _unknown,
}
"""The verdicts about missing rights that a site may do without; all others are faults."""
