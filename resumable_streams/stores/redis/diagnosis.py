"""The meaning of an error of the driver, the server or the network: words, address and remedy.

Every error that is not a command's own becomes StoreUnavailable here, and is logged. Addresses hold
neither user nor password.
"""

import re

from redis.asyncio.connection import AbstractConnection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from ...exceptions import Diagnosis, StoreForbidden, StoreUnavailable
from ..outages import log_outage

__all__ = ["ConnectionClosed", "Unreadable", "address_of", "diagnose", "diagnosed", "words_of"]


class Unreadable(StoreUnavailable):
    """A key that holds something that is not ours; the cause is what the server said."""

    is_final = True


class ConnectionClosed(ConnectionError):
    """A connection that we closed ourselves: no trouble."""


REASONS: dict[type[Exception], str] = {
    ReadOnlyError: "the server is a read-only replica",
    OutOfMemoryError: "the memory of the server is full (maxmemory)",
}
CODES: dict[type[BaseException], str] = {
    ReadOnlyError: "READONLY ",
    OutOfMemoryError: "OOM ",
    BusyLoadingError: "LOADING ",
    NoPermissionError: "NOPERM ",
    MovedError: "MOVED ",
    AskError: "ASK ",
    ClusterDownError: "CLUSTERDOWN ",
    MasterDownError: "MASTERDOWN ",
}
"""The first words of the server that the driver takes off."""

WHERE_IN_SCRIPT = re.compile(r" script: (?:\w+, )?on @.*$", re.DOTALL)
REFUSALS_IN_SCRIPTS = ("The user executing the script can't", "ACL failure in script")
"""What servers say without NOPERM, the first up to Redis 7.0."""

ANSWERS = ("NOGROUP", "BUSYGROUP")
"""Errors that are answers to the caller, who acts on them."""

REMEDIES: dict[str, str] = {
    r"Name or service not known|nodename nor servname|name resolution|No address associated": (
        "The name of this host cannot be resolved: correct the host in LOCATION, or the DNS of "
        "this machine."
    ),
    r"(?i)certificate.verify.failed": (
        "The certificate of the server is not trusted: name its authority in LOCATION "
        "(?ssl_ca_certs=/path/to/ca.pem), and connect by a host name that the certificate holds."
    ),
    r"SSL|TLS": (
        "TLS failed: rediss:// is for a port that speaks TLS, redis:// for one that does not."
    ),
    r"^Protocol error": (
        "Another kind of server answers there, or one that speaks TLS: correct host, port and "
        "scheme (rediss:// for TLS) in LOCATION."
    ),
    r"No such file": "There is no such socket: start the server, or correct the path in LOCATION.",
    r"Permission denied": "This process may not open the socket: give its user the right to write.",
    r"without any password configured": (
        "The server has no password for this user: correct user and password in LOCATION."
    ),
    r"WRONGPASS|invalid username-password|invalid password": (
        "Correct user and password in LOCATION; a special character is percent-encoded there."
    ),
    r"NOAUTH|Authentication required": (
        "The server asks for a password: put it into LOCATION (redis://user:password@host/0)."
    ),
    r"NOPERM|The user executing the script can't|ACL failure": (
        "Give this user the rights that docs/security.md lists, with ACL SETUSER; `manage.py "
        "resumable_streams doctor` names each that is missing."
    ),
    r"DB index is out of range|Invalid Database": (
        "The server has no database of that number: correct the number at the end of LOCATION, or "
        "raise `databases` in redis.conf."
    ),
    r"SELECT is not allowed in cluster": "A cluster has database 0 only: end LOCATION with /0.",
    r"^MISCONF": (
        "The server cannot save to its disk, and accepts no writes: make room on that disk, and "
        "read the log of the server."
    ),
    r"^OOM|maxmemory": (
        "Make room (`manage.py resumable_streams purge --older-than 6h`), then raise maxmemory or "
        "shorten TTL: docs/operations.md."
    ),
    r"^LOADING": "The server reads its data after a start: wait until it has.",
    r"^READONLY": (
        "Name the primary in LOCATION, or have it found: OPTIONS `sentinels`, or `cluster`."
    ),
    r"max number of clients": (
        "Find whose connections these are (CLIENT LIST); each process of this site keeps two. "
        "Then raise maxclients."
    ),
    r"protected mode": "Give the server a password, or have it listen to this machine only.",
    r"^(MOVED|ASK) ": "This server is a node of a cluster: set OPTIONS {'cluster': True}.",
    r"^CLUSTERDOWN": "A part of the cluster has no primary: bring it back (CLUSTER NODES).",
    r"^MASTERDOWN|^NOREPLICAS": (
        "Replication is down: bring the primary, or the replicas, back (INFO replication)."
    ),
    r"^BUSY ": "A script or function blocks the server: SCRIPT KILL ends it.",
    r"unknown command|Unknown Redis command|unexpected symbol near '#'|cluster support disabled": (
        "The server does not know a command that is needed: use Redis 7.0 or later, or Valkey; and "
        "`cluster` for clusters only."
    ),
    r"no primary of|no node of the cluster|No master found": (
        "Check that Sentinels and nodes run, that this machine reaches them, and that `service` is "
        "the name the Sentinels use."
    ),
    r"in time|Timeout": (
        "It is overloaded or frozen, a firewall swallows the packets, or one side speaks TLS "
        "(rediss://) and the other does not."
    ),
    r"Connect call failed|refused": (
        "Nothing listens there: start the server, or correct host and port in LOCATION."
    ),
    r"closed by server|reset|Connection lost|connection broke|went silent|Broken pipe": (
        "The server, or a proxy before it, closed the connection. If this goes on: is it up, does "
        "it want TLS (rediss://), is maxclients reached? Read its log."
    ),
}


def diagnosed(alias: str, error: Exception, connection: AbstractConnection) -> StoreUnavailable:
    """Return what an error means to callers of the store, and log it."""
    meaning = diagnose(alias, error, connection)
    words = meaning.diagnosis.words
    is_ours = isinstance(error, ConnectionClosed) or words.startswith(ANSWERS)
    if not (is_ours or isinstance(meaning, Unreadable)):
        log_outage(meaning)
    return meaning


def diagnose(alias: str, error: Exception, connection: AbstractConnection) -> StoreUnavailable:
    """Return what an error of the driver, or of the server, means to callers of the store."""
    words = words_of(error)
    found = Diagnosis(server=address_of(connection), words=words, remedy=_remedy(words))
    is_refused = isinstance(error, NoPermissionError | AuthenticationError)
    if is_refused or words.startswith(REFUSALS_IN_SCRIPTS):
        return StoreForbidden(alias, words, diagnosis=found)
    if isinstance(error, ResponseError) and words.startswith(("WRONGTYPE", "user_script:")):
        # The second: a script of ours found what it could not work with.
        return Unreadable(alias, words, diagnosis=found)
    reason = next((REASONS[kind] for kind in type(error).__mro__ if kind in REASONS), "")
    return StoreUnavailable(alias, reason, diagnosis=found)


def words_of(error: BaseException) -> str:
    """Return what the server, the driver or the system said, in one line without a final stop."""
    code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), "")
    words = " ".join(WHERE_IN_SCRIPT.sub("", str(error)).split()).rstrip(".")
    if not words:
        words = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return f"{code}{words}"


def _remedy(words: str) -> str:
    found = (remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, words))
    return next(found, "Run `manage.py resumable_streams doctor`.")


def address_of(connection: AbstractConnection) -> str:
    """Return scheme, host, port and database of a connection; nobody's name, no password."""
    if isinstance(connection, UnixDomainSocketConnection):
        return f"unix://{connection.path}?db={connection.db}"
    scheme = "rediss" if isinstance(connection, SSLConnection) else "redis"
    host, port = getattr(connection, "host", ""), getattr(connection, "port", "")
    host = f"[{host}]" if ":" in str(host) else host
    service = getattr(getattr(connection, "connection_pool", None), "service_name", None)
    database = f"{scheme}://{host}:{port}/{connection.db}"
    return database if service is None else f"the primary of {service!r} ({database})"
