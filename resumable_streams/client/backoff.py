"""The waits between tries."""

import random
from dataclasses import dataclass

import httpx

from .errors import GaveUp

__all__ = ["Attempts", "Backoff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The patience of a client.

    The wait doubles from `first` seconds up to `longest`, less a random half, so that the readers
    of a server that ended do not come back at once. A `Retry-After` is never cut short; one of more
    than `patience` seconds is not waited for. `attempts` tries in a row that bring nothing are the
    last; each that brings something starts the count again.
    """

    attempts: int = 10
    first: float = 0.5
    longest: float = 15.0
    patience: float = 300.0

    def seconds(self, failures: int, at_least: float = 0.0) -> float:
        """Return how long to wait after so many failures in a row."""
        share = random.uniform(0.5, 1.0)  # noqa: S311
        wait = share * min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        # All who were told the same time would come at the same time.
        spread = at_least * random.uniform(1.0, 1.25)  # noqa: S311
        return max(wait, spread)


class Attempts:
    """The tries of one request, or of one stream since it brought something."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures = 0
        self.pause = 0.0
        """The seconds that the server has asked for in an event stream (`retry:`)."""
        self.has_lost = False
        """An answer was lost: its request may have been carried out."""

    def start_again(self) -> None:
        """Forget the failures: something came."""
        self._failures = 0

    def fail(self, reason: str, *, retry_after: float | None = None) -> float:
        """Count a failure, and return the seconds to wait; raise GaveUp after the last one."""
        self._failures += 1
        is_long = retry_after is not None and retry_after > self._backoff.patience
        if is_long or self._failures >= self._backoff.attempts:
            raise GaveUp(reason, tries=self._failures, retry_after=retry_after)
        return self._backoff.seconds(self._failures, max(retry_after or 0.0, self.pause))


def is_final(error: httpx.TransportError) -> bool:
    """Return whether a request fails for a reason that time does not mend."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return True
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def describe(error: httpx.TransportError) -> str:
    """Return the failure of a connection in words."""
    if isinstance(error, httpx.ReadTimeout):
        return "silence: the server sent nothing, not even a keep-alive"
    text = str(error).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
