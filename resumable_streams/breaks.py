"""Deliberate breaks of a connection, which servers take for faults of the application.

A body that must not look whole has no other end. uvicorn, and gunicorn's own ASGI worker, log an
ERROR for each; daphne, hypercorn, granian and the WSGI workers of gunicorn log none. A filter for
LOGGING drops these lines:

    "filters": {"breaks": {"()": "resumable_streams.breaks.DeliberateBreaks"}},
    "loggers": {"uvicorn.error": {"filters": ["breaks"]}},
"""

import logging
from contextvars import ContextVar

__all__ = ["DeliberateBreaks", "expect_breaks", "note_break"]

LINES = (
    "ASGI callable returned without completing response.",
    "ASGI application returned without completing the response; closing the connection",
)


class _Connection:
    """The connection of one request: a server, and the tasks of its application, share it."""

    is_broken = False


_connection: ContextVar[_Connection | None] = ContextVar(
    "resumable_streams.connection", default=None
)


def expect_breaks() -> None:
    """Have breaks known to the task that runs this: the server's, which logs in it."""
    _connection.set(_Connection())


def note_break() -> None:
    """Note that the connection of this request is broken on purpose."""
    connection = _connection.get()
    if connection is not None:
        connection.is_broken = True


class DeliberateBreaks(logging.Filter):
    """Drop the line in which a server reports a break of ours; the breaks of others stay.

    For the loggers `uvicorn.error` and `gunicorn.error`. It knows breaks where the application is
    that of `resumable_streams.asgi`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        connection = _connection.get()
        return not (record.msg in LINES and connection is not None and connection.is_broken)
