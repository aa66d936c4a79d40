"""The errors of the client.

    ClientError
    ├── Refusal                 the server refuses, and a retry changes nothing (`status`, `word`)
    │   ├── BadRequest          400: a malformed position, key or request
    │   ├── NotAuthenticated    401: no owner
    │   ├── Forbidden           403: a missing CSRF token, or a view that refuses this caller
    │   ├── NotFound            404: missing, foreign or expired; the server never says which
    │   ├── Conflict            409: another stream of the slot runs
    │   ├── Replaced            412: the id names another incarnation now
    │   ├── BeyondTheEnd        416: the stream is shorter than the position
    │   └── TooMany             429: a quota, for longer than the client waits
    ├── GaveUp                  no useful answer after all tries
    ├── AnswerLost              the answer to a POST was lost, and a repeat may pay twice
    ├── RemoteFailure           the stream ended with an error (`code`)
    ├── NotAStream              the answer is no stream of this package
    ├── BrokenOff               a body broke off whose format has no positions
    └── WrongFormat             the stream has no events, no parts or no JSON to iterate

Messages name addresses without their query, as that may hold the token of a signed link.
"""

from typing import ClassVar

__all__ = [
    "AnswerLost",
    "BadRequest",
    "BeyondTheEnd",
    "BrokenOff",
    "ClientError",
    "Conflict",
    "Forbidden",
    "GaveUp",
    "NotAStream",
    "NotAuthenticated",
    "NotFound",
    "Refusal",
    "RemoteFailure",
    "Replaced",
    "TooMany",
    "WrongFormat",
]


class ClientError(Exception):
    """Base class of all errors of the client."""


class Refusal(ClientError):
    """An answer that no retry changes.

    `status` is its code, `word` the server's name for the reason (or ""), and `retry_after` the
    seconds after which the server would be asked again, where it names them.
    """

    advice: ClassVar[str] = "Correct the request."

    def __init__(
        self,
        where: str,
        status: int,
        *,
        word: str = "",
        detail: str = "",
        retry_after: float | None = None,
    ) -> None:
        reason = f" ({word})" if word else ""
        sentences = [f"{where} answered {status}{reason}.", detail, self.advice]
        super().__init__(" ".join(filter(None, sentences)))
        self.status = status
        self.word = word
        self.detail = detail
        self.retry_after = retry_after


class BadRequest(Refusal):
    """A malformed position, idempotency key or request: 400."""

    advice = "Take a position from `stream.position`, and compare the request with the view."


class NotAuthenticated(Refusal):
    """A request without an owner: 401."""

    advice = "Pass `token=`, log the HTTP client in, or follow a signed link."


class Forbidden(Refusal):
    """A request without a CSRF token, or a caller that the view refuses: 403."""

    advice = (
        "With a session, get a page that sets the CSRF cookie with the same HTTP client first, or "
        "pass `csrf_token=`. With a token, ask whether its user may do this."
    )


class NotFound(Refusal):
    """A stream that is missing, foreign, expired, deleted or revoked: 404, or its format's 204."""

    advice = (
        "The stream is missing or expired, or belongs to somebody else. Compare the id, the "
        "credentials and `streams=`, the address below which the site has its streams."
    )


class Conflict(Refusal):
    """A slot in which another stream runs: 409; `stream_id` is that stream, where it is named."""

    advice = "Follow or cancel the stream that runs, or wait for its end."
    stream_id: str | None = None


class Replaced(Refusal):
    """An id that names another incarnation of the stream now: 412; `epoch` names the new one.

    Nothing of it was handed on: it does not continue the bytes of the old one.
    """

    advice = "Forget what came of the old one, and follow the stream from its start."

    def __init__(self, where: str, status: int = 412, *, epoch: str = "", **more: str) -> None:
        super().__init__(where, status, word=more.get("word") or "stream_replaced")
        self.epoch = epoch


class BeyondTheEnd(Refusal):
    """A position after the last byte: 416. The store has lost bytes, or the position is wrong."""

    advice = "Take a position from `stream.position`, or follow the stream from its start."


class TooMany(Refusal):
    """A quota that is used up for longer than the client waits: 429."""

    advice = "Wait for `retry_after` seconds, or end streams that nobody needs."


class GaveUp(ClientError):
    """The end of all tries; the cause of the last one is the `__cause__`, or in the message.

    Everything handed on so far is whole: iterate the same stream again to go on after it.
    """

    def __init__(self, reason: str, *, tries: int, retry_after: float | None = None) -> None:
        times = "one try" if tries == 1 else f"{tries} tries"
        super().__init__(
            f"Gave up after {times}. The last one: {reason}. Iterate the stream again to go on "
            f"after what came, or pass a `backoff=` with more attempts."
        )
        self.tries = tries
        self.retry_after = retry_after


class AnswerLost(ClientError):
    """A POST whose answer was lost, by a client that the server cannot know again.

    It has neither a token nor a session, and the server may have made it a visitor with a new
    session. A retry would then come from another visitor, whose key starts another stream.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"{where} gave no useful answer ({reason}), and a retry may start a second stream: "
            f"the client has neither a token nor a session. Log in, pass `token=`, get a page that "
            f"starts a session, or pass an `idempotency_key=` if the owner is the same for all."
        )


class RemoteFailure(ClientError):
    """A stream that ended with an error. All that came before it was handed on.

    `code` is one of `resumable_streams.ErrorCode`, "unknown" where the server does not tell;
    `detail` is text for people, and empty unless the site runs with DEBUG.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        more = f" {detail}" if detail else ""
        super().__init__(
            f"The stream ended with an error: {code}.{more} Start it again with another key."
        )
        self.code = code
        self.detail = detail


class NotAStream(ClientError):
    """An answer that is no stream of this package: a login page, say, or another view."""

    def __init__(self, where: str, found: str) -> None:
        super().__init__(
            f"{where} answered with {found}, and not with a stream. Compare the address, and log "
            f"in if that is a login page."
        )


class BrokenOff(ClientError):
    """A body that broke off, of a format that neither counts bytes nor has ids."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"The body of {where} broke off, and its format has no positions: follow the stream "
            f"again from its start."
        )


class WrongFormat(ClientError):
    """A stream that cannot be iterated in this way."""
