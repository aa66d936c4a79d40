"""The database connections of a thread, and which of them somebody is in the middle of using."""

import logging
from collections.abc import Iterator

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..compat import open_cursors

__all__ = ["are_pooled", "close_all", "close_idle", "is_any_open"]

logger = logging.getLogger("resumable_streams.databases")


def close_idle() -> bool:
    """Close the connections of this thread despite CONN_MAX_AGE; return whether all are closed.

    A connection in use stays open: with a transaction, or with a chunked cursor (`iterator()`) from
    which rows are still to be fetched. The next query opens what it needs.
    """
    for connection in _own():
        if not _is_in_use(connection):
            _close(connection)
    return not is_any_open()


def close_all() -> None:
    """Close the connections of this thread, also those in use: nobody comes back to them."""
    for connection in _own():
        _close(connection)
        del connections[connection.alias]  # closed within a transaction, it could not be reopened


def is_any_open() -> bool:
    """Return whether this thread holds a connection."""
    return any(map(_is_open, _own()))


def are_pooled() -> bool:
    """Return whether what this thread holds goes back to a pool of Django's when it is closed."""
    return all(
        connection.settings_dict["OPTIONS"].get("pool")
        for connection in _own()
        if _is_open(connection)
    )


def _own() -> Iterator[BaseDatabaseWrapper]:
    """Yield the connections of this thread. One that threads share, in a test, is the test's."""
    for connection in connections.all(initialized_only=True):
        if not connection.allow_thread_sharing:
            yield connection


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is not None and not connection.closed_in_transaction


def _is_in_use(connection: BaseDatabaseWrapper) -> bool:
    if not _is_open(connection):
        return False
    # A transaction that was begun by hand, with `set_autocommit`, has no atomic block.
    by_hand = connection.autocommit != connection.settings_dict["AUTOCOMMIT"]
    return connection.in_atomic_block or by_hand or open_cursors(connection) > 0


def _close(connection: BaseDatabaseWrapper) -> None:
    try:
        connection.close()
    except Exception as error:  # it is broken: there is nothing to hold
        logger.warning(
            "A connection to the database %s could not be closed.",
            connection.alias,
            exc_info=error,
        )
