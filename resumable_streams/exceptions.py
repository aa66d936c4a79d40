"""The errors of resumable streams.

    StreamError
    ├── StreamDoesNotExist      missing, foreign, expired, revoked or rotated: indistinguishable
    │   └── StreamUnreadable    the store holds something that is not a state of ours
    ├── StreamReplaced          the id names another incarnation than the one asked for
    ├── StreamUnfinished        the whole of a stream was asked for before its end
    ├── SlotBusy                another stream of the slot is running
    ├── StreamFinalized         a write came after the end
    ├── StreamClaimLost         a write came from a producer that is not (or no longer) elected
    ├── StreamGap               an append started beyond the end of the log
    ├── StreamLimitExceeded     a configured bound was hit
    ├── StreamFailed            the stream of a reader ended with an error
    ├── StoreUnavailable        the store did not answer in time
    │   └── StoreForbidden      the store refuses this user: final, unlike its base
    ├── ShuttingDown            this process is draining
    ├── InvalidStreamId         (also a ValueError)
    ├── InvalidOwner            (also a ValueError)
    ├── InvalidTenant           (also a ValueError)
    ├── InvalidSlot             (also a ValueError)
    ├── InvalidPage           (also a ValueError)
    └── InvalidOffset           (also a ValueError)
        └── OffsetInsideFrame   a body of frames can start between two of them only
    InvalidStoreError           (a django ImproperlyConfigured)

No message names an owner, a payload or the credentials of a URL.
"""

from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import ImproperlyConfigured

__all__ = [
    "Diagnosis",
    "InvalidOffset",
    "InvalidOwner",
    "InvalidPage",
    "InvalidSlot",
    "InvalidStoreError",
    "InvalidStreamId",
    "InvalidTenant",
    "OffsetInsideFrame",
    "ShuttingDown",
    "SlotBusy",
    "StoreForbidden",
    "StoreUnavailable",
    "StreamClaimLost",
    "StreamDoesNotExist",
    "StreamError",
    "StreamFailed",
    "StreamFinalized",
    "StreamGap",
    "StreamLimitExceeded",
    "StreamReplaced",
    "StreamUnfinished",
    "StreamUnreadable",
    "fresh",
]

E = TypeVar("E", bound=Exception)


class StreamError(Exception):
    """Base class of all stream errors. Picklable, attributes included."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, vars(self))


def _restore(kind: type[StreamError], args: tuple[Any, ...], state: dict[str, Any]) -> StreamError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def fresh(error: E) -> E:
    """Return an equal error, to be raised in place of one that is kept.

    An error keeps alive every frame that it was raised through, and these show in the reports of
    everybody else who gets it.
    """
    again = copy(error)
    again.__cause__ = error.__cause__
    return again


class StreamDoesNotExist(StreamError):
    """Nothing is here for this caller; the reason is not told."""

    def __init__(self) -> None:
        super().__init__("No such stream.")


class StreamReplaced(StreamError):
    """Another incarnation of the stream is there: the id was deleted, or expired, and begun again.

    The bytes of a client belong to the old one. Nothing of the new one, which `epoch` names,
    continues them.
    """

    def __init__(self, epoch: str) -> None:
        super().__init__("The stream was begun again: its id names another incarnation now.")
        self.epoch = epoch


class StreamUnreadable(StreamDoesNotExist):
    """A stream whose state cannot be read; to a caller it is missing, `name` is for operators.

    Somebody else wrote there, or a version of this package that is newer than this one.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.args = (f"The state of the stream at {name} cannot be read.",)
        self.name = name


class SlotBusy(StreamError):
    """Another stream of the slot is running, or about to: the one that `stream_id` names."""

    def __init__(self, stream_id: str) -> None:
        super().__init__("Another stream of this slot is running.")
        self.stream_id = stream_id


class StreamUnfinished(StreamError):
    """The whole of a stream was asked for, and it has not ended; `size` bytes are stored so far."""

    def __init__(self, size: int) -> None:
        super().__init__("The stream has not ended yet.")
        self.size = size


class StreamFinalized(StreamError):
    """A write came after the end of the stream, which has `status`, and `code` if it failed.

    A cancelled one has the code `replaced` if another stream of its slot took its place.
    """

    def __init__(self, status: str, code: str = "") -> None:
        super().__init__(f"The stream has already ended ({status}).")
        self.status = status
        self.code = code


class StreamClaimLost(StreamError):
    """A write came without the claim: another election, or the lease, took it away."""

    def __init__(self) -> None:
        super().__init__("This producer no longer holds the claim on the stream.")


class StreamGap(StreamError):
    """An append starts beyond the end; `size` is the end of the log (bytes)."""

    def __init__(self, size: int) -> None:
        super().__init__(f"The append would leave a gap: the log ends at byte {size}.")
        self.size = size


class StreamLimitExceeded(StreamError):
    """The limit `limit` (its name in LIMITS, or your own), set to `value`, would be exceeded.

    `retry_after` is the seconds until it may be tried again, where that is known.
    """

    def __init__(self, limit: str, value: int, *, retry_after: int | None = None) -> None:
        super().__init__(f"{limit} exceeded (the limit is {value}).")
        self.limit = limit
        self.value = value
        self.retry_after = retry_after


class StreamFailed(StreamError):
    """The stream of a reader ended with an error; `code` is one of `types.ErrorCode`.

    `detail` is what the producer stored for people: empty unless DEBUG.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"The stream failed: {code}.")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The cause of an unavailable store, for people of the site. It holds no credentials.

    `server` is its address, `words` are those of the server, the driver or the operating system,
    and `remedy` says what to do.
    """

    server: str = ""
    words: str = ""
    remedy: str = ""


class StoreUnavailable(StreamError):
    """A store of `alias` that could not be reached, or cannot do what was asked.

    `reason` says why in words for an operator, where a server has answered. Without one, what was
    asked for may have been done all the same: only its answer is missing. The `diagnosis` is part
    of the message: show that to people of the site only.
    """

    is_final: ClassVar[bool] = False
    """Whether it is of no use to ask again."""

    trouble: ClassVar[str] = "is unavailable"

    def __init__(self, alias: str, reason: str = "", *, diagnosis: Diagnosis | None = None) -> None:
        self.alias = alias
        self.reason = reason
        self.diagnosis = Diagnosis() if diagnosis is None else diagnosis
        super().__init__(self._message())

    def _message(self) -> str:
        found = self.diagnosis
        where = f" at {found.server}" if found.server else ""
        why = _with_words(self.reason, found.words.rstrip("."))
        sentence = f"The stream store {self.alias!r}{where} {self.trouble}{why}."
        return f"{sentence} {found.remedy}".rstrip()


def _with_words(reason: str, words: str) -> str:
    if reason and words and words not in reason:
        return f": {reason}: {words}"
    return f": {reason or words}" if reason or words else ""


class StoreForbidden(StoreUnavailable):
    """A store of `alias` that refuses the user we come as; `reason` is what the server said."""

    is_final = True
    trouble = "refuses the user of this connection"

    def __init__(self, alias: str, reason: str, *, diagnosis: Diagnosis | None = None) -> None:
        super().__init__(alias, reason, diagnosis=diagnosis)


class ShuttingDown(StreamError):
    """This process drains: try again elsewhere, or after `retry_after` seconds."""

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__("This process is shutting down.")
        self.retry_after = retry_after


class InvalidStreamId(StreamError, ValueError):
    """An id is not 1 to 256 characters of `A-Z a-z 0-9 _ . : -`."""

    def __init__(self) -> None:
        super().__init__("A stream id is 1 to 256 characters of A-Z, a-z, 0-9, '_', '.', ':', '-'.")


class InvalidOwner(StreamError, ValueError):
    """An owner is neither PUBLIC nor 1 to 1,024 bytes of text."""

    def __init__(self) -> None:
        super().__init__("An owner is PUBLIC or a string of 1 to 1024 bytes of UTF-8.")


class InvalidTenant(StreamError, ValueError):
    """A tenant is not 1 to 64 characters of `A-Z a-z 0-9 _ -`."""

    def __init__(self) -> None:
        super().__init__("A tenant is 1 to 64 characters of A-Z, a-z, 0-9, '_', '-'.")


class InvalidSlot(StreamError, ValueError):
    """The name of a slot is not 1 to 256 bytes of text."""

    def __init__(self) -> None:
        super().__init__("A slot is a string of 1 to 256 bytes of UTF-8.")


class InvalidPage(StreamError, ValueError):
    """A page of a list is not what can be asked for; the message names the rule."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)


class InvalidOffset(StreamError, ValueError):
    """A position is not in the log; `size` is the end of the log, if known (bytes)."""

    message: ClassVar[str] = (
        "An offset is a whole number of bytes, from 0 to the size of the stream."
    )

    def __init__(self, size: int | None = None) -> None:
        super().__init__(self.message)
        self.size = size


class OffsetInsideFrame(InvalidOffset):
    """An offset is inside a frame of a format that sends whole frames only."""

    message = (
        "The offset is inside a frame. An offset counts the bytes that the source yielded, without "
        "the ids, keep-alives and last events of a body: resume an event stream by the id of its "
        "last whole event, in the header Last-Event-ID."
    )


class InvalidStoreError(ImproperlyConfigured):
    """An alias is missing, or its configuration is not usable."""
