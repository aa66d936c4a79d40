"""Log lines about unavailable stores: one for each cause and minute, however many callers fail."""

import logging
import re
import time
from dataclasses import dataclass

from ..exceptions import StoreUnavailable

__all__ = ["forget_outages", "log_outage"]

logger = logging.getLogger("resumable_streams.store")

QUIET_SECONDS = 60.0
MAX_KEPT = 1_000
_NUMBER = re.compile(r"\d+")  # ports, hash slots, seconds: the cause is the same


@dataclass(slots=True)
class _Line:
    """The last line about a cause, and how often the cause was met since."""

    written_at: float
    repeats: int = 0


_lines: dict[object, _Line] = {}


def log_outage(error: StoreUnavailable) -> None:
    """Log what is wrong with a store, where, and what to do; once a minute for each cause.

    The next line about the same cause tells how often it was met meanwhile.
    """
    found, now = error.diagnosis, time.monotonic()
    words = _NUMBER.sub("", f"{error.reason} {found.words}")
    cause = (error.alias, found.server, words)
    last = _lines.get(cause)
    if last is not None and now - last.written_at < QUIET_SECONDS:
        last.repeats += 1
        return
    repeats = f" (Met {last.repeats} more times since the last line.)" if last is not None else ""
    logger.warning("%s%s", error, repeats)
    _lines.pop(cause, None)  # the longest silent first
    _lines[cause] = _Line(written_at=now)
    while len(_lines) > MAX_KEPT:
        del _lines[next(iter(_lines))]


def forget_outages() -> None:
    """Have the next outage of every cause logged at once."""
    _lines.clear()
