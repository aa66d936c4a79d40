"""The values that travel between the rooms: frozen, slotted, keyword-only."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

__all__ = [
    "PUBLIC",
    "Acquisition",
    "Claim",
    "Control",
    "CutOff",
    "ErrorCode",
    "Fate",
    "Holding",
    "Limits",
    "Listed",
    "Observation",
    "Occupant",
    "OnBusy",
    "Owner",
    "Page",
    "Public",
    "RefusalReason",
    "Role",
    "Slot",
    "StreamInfo",
    "StreamKey",
    "StreamPage",
    "StreamStatus",
    "Terms",
    "Verdict",
]


class Public(Enum):
    """The type of the one value that opts out of ownership."""

    PUBLIC = "public"

    def __repr__(self) -> str:
        return "PUBLIC"


PUBLIC: Final = Public.PUBLIC
"""The explicit owner of a stream that anybody who knows its id may read."""

Owner = str | Public


class StreamStatus(StrEnum):
    """The states of a stream; a missing one has no state."""

    STREAMING = "streaming"
    DONE = "done"
    ERROR = "error"
    CANCELLED = "cancelled"


class ErrorCode(StrEnum):
    """The reasons for which a stream, or one reader of it, ends with an error."""

    PRODUCER_LOST = "producer_lost"  # the process that produced it died
    SOURCE_FAILED = "source_failed"  # the source raised
    LIMIT_EXCEEDED = "limit_exceeded"
    INTERRUPTED = "interrupted"  # a deploy could not wait for it
    DATA_LOST = "data_lost"  # the store lost acknowledged bytes
    STORE_UNAVAILABLE = "store_unavailable"  # the store was away longer than STORE_TIMEOUT
    HOOK_FAILED = "hook_failed"  # a signal receiver raised and HOOK_ERRORS is "raise"
    EXPIRED = "expired"  # expired or deleted under an attached reader


class CutOff(StrEnum):
    """The operators' acts that end a running stream as cancelled.

    Receivers get it as the error code of the end. To readers the stream is expired.
    """

    REVOKED = "revoked"  # its owner
    ROTATED = "rotated"  # its tenant


class CancellationReason(StrEnum):
    """Why a source is stopped before its end; those after the first two are codes of errors."""

    CANCELLED = "cancelled"  # by its owner, or an operator
    REPLACED = "replaced"  # by another stream of its slot
    INTERRUPTED = "interrupted"  # this process drains
    EXPIRED = "expired"  # the stream was deleted, revoked, rotated away or purged
    PRODUCER_LOST = "producer_lost"  # the claim is somebody else's, or nobody's
    LIMIT_EXCEEDED = "limit_exceeded"
    STORE_UNAVAILABLE = "store_unavailable"
    DATA_LOST = "data_lost"
    HOOK_FAILED = "hook_failed"


class RefusalReason(StrEnum):
    """Why a view refuses a request; clients are never told which of the 404s it is."""

    NO_OWNER = "no_owner"  # 401: the request belongs to nobody
    MISSING = "missing"  # 404, as the next four: no such stream, or it has expired
    FOREIGN = "foreign"  # it belongs to another owner
    REVOKED = "revoked"  # its owner is revoked
    ENDED = "ended"  # it is over, and the view answers for live streams only
    INVALID_STREAM_ID = "invalid_stream_id"  # 400 where a stream is to be started
    INVALID_TENANT = "invalid_tenant"  # the same
    INVALID_SLOT = "invalid_slot"  # 400
    INVALID_PAGE = "invalid_page"  # 400
    INVALID_POSITION = "invalid_position"  # 400
    INSIDE_A_FRAME = "inside_a_frame"  # 400
    SLOT_BUSY = "slot_busy"  # 409: another stream of the slot runs
    STREAM_REPLACED = "stream_replaced"  # 412
    TOO_LARGE = "too_large"  # 413
    BEYOND_THE_END = "beyond_the_end"  # 416
    TOO_MANY_STREAMS = "too_many_streams"  # 429
    UNAVAILABLE = "unavailable"  # 503: the store is away, or refuses us
    SHUTTING_DOWN = "shutting_down"  # 503: this process drains


class Role(StrEnum):
    """The elected producer, or anybody else."""

    PRODUCER = "producer"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamKey:
    """The address of one stream inside an alias."""

    tenant: str
    generation: int
    stream_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One incarnation of a stream, as the process that holds it is known to hold it.

    It says all that is left to tell of the stream once its state is gone. `owner_digest` stands
    for the owner, whose text never becomes part of a key.
    """

    key: StreamKey
    epoch: str
    owner_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One entry of an index of streams, and when it was entered (seconds, the store's clock)."""

    holding: Holding
    when: float


class OnBusy(StrEnum):
    """The policies of `run` for a slot in which another stream is live."""

    JOIN = "join"  # read that one
    REPLACE = "replace"  # cancel that one
    REFUSE = "refuse"  # raise SlotBusy


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A name under which an owner has at most one live stream, in one generation of a tenant."""

    tenant: str
    generation: int
    owner_digest: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """The incarnation that a slot names.

    `has_started` is False from when it took the slot until just before its source starts; `age` is
    the seconds since it took the slot.
    """

    epoch: str
    stream_id: str
    has_started: bool
    age: float


class Fate(Enum):
    """The knowledge of the holder of a stream."""

    LIVING = "living"  # a process that has renewed its lease
    ENDING = "ending"  # silent, or waited for in vain: some process takes its streams over
    UNKNOWN = "unknown"  # nobody will take over what it held


@dataclass(frozen=True, slots=True)
class Claim:
    """The secret token of one election. Only its holder may append.

    `epoch` is public: it names the incarnation of the stream that this election started. `holder`
    is the process that answers for the stream.
    """

    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    epoch: str = field(default_factory=lambda: secrets.token_hex(4), compare=False)
    holder: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms that an election binds for good; durations in seconds.

    `pending` is how long an election counts that is not confirmed. `grace` is how long a stream
    whose process died waits for another one to go on with it. `seen_mark` is the last revocation
    of the owner that the caller knew of, by the store's clock. `slot` is a name, or
    "".
    """

    owner: Owner
    ttl: float
    finished_ttl: float
    pending: float
    grace: float = 0.0
    seen_mark: float = 0.0
    slot: str = ""
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a stream and of an alias; `None` is unbounded."""

    max_chunk_bytes: int | None = 1_048_576
    max_entries_per_stream: int | None = None
    max_stream_bytes: int | None = 16_777_216
    max_streams: int | None = None
    max_streams_per_owner: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """A stream at one moment; times are seconds since the epoch of the store's clock.

    `epoch` names this incarnation of the id: a stream that was deleted and acquired again has
    another one. `holder` is the process that produces it, or did; `ttl` is the seconds left before
    the stream expires. `grace`, `seen_mark` and `slot` are those of its terms.
    """

    stream_id: str
    tenant: str
    generation: int
    owner: Owner = field(repr=False)
    status: StreamStatus
    size: int
    entries: int
    created: float
    expires: float
    epoch: str
    ttl: float = 0.0
    holder: str = ""
    grace: float = 0.0
    seen_mark: float = 0.0
    slot: str = ""
    error_code: str = ""
    error: str = ""
    attrs: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> StreamKey:
        """Where the stream lives."""
        return StreamKey(tenant=self.tenant, generation=self.generation, stream_id=self.stream_id)

    @property
    def is_streaming(self) -> bool:
        return self.status is StreamStatus.STREAMING


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """The answer to an acquire: the role of the caller, and the stream as it is now."""

    role: Role
    info: StreamInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The answer to a read: the stream as it is now, and the bytes from the requested offset."""

    info: StreamInfo
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPage:
    """One page of a list of streams.

    `next` is the cursor of the page after it; "" if there is none. A page may be shorter than asked
    for, and have another one after it.
    """

    streams: Sequence[StreamInfo]
    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The rules in force for one owner in one tenant; `generation` is None if nobody knows it.

    `ttl` overrides the alias (seconds), `longest_ttl` is the longest any stream was bound to,
    `revoked_at` marks when the owner's streams were revoked (seconds, the store's clock).
    """

    generation: int | None = None
    ttl: float | None = None
    longest_ttl: float = 0.0
    revoked_at: float | None = None

    def admits(self, info: StreamInfo) -> bool:
        """Return whether a stream may still be reached.

        A revocation ends what was acquired by those who had not seen its mark. No two clocks are
        compared: in a cluster, mark and stream may live on different servers.
        """
        return (self.generation is None or info.generation >= self.generation) and (
            self.revoked_at is None or info.seen_mark >= self.revoked_at
        )


class Verdict(StrEnum):
    """The verdicts of the doctor, from well to ill."""

    FINE = "fine"
    UNKNOWN = "unknown"  # it may not be asked: no fault
    WARNING = "warning"  # it works, until something else happens
    FAULT = "fault"  # it does not work


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One line of the doctor: its subject, how that is, and what to do about it.

    `alias` is empty where it is about the project. Messages hold no credentials; like those of
    `StoreUnavailable`, they are for people of the site.
    """

    check: str
    verdict: Verdict
    message: str
    remedy: str = ""
    alias: str = ""
