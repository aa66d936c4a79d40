"""The transaction of a test, which its producers share.

A `TestCase`, and the fixture `db` of pytest-django, put each test into a transaction that nobody
else sees. A producer runs its ORM in a thread of its own: with a connection of its own it would
find nothing of the test's rows, wait for the test's locks, and keep the database from being
removed at the end. So in such a test every thread uses the connection of the test. The same holds
for SQLite in memory, where a second connection finds tables locked.

Statements of several threads take turns, and `atomic` blocks do so as a whole: a statement of
another thread inside of a block would be undone with it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import Atomic

from ..compat import close_shared_connections, connections_in_every_thread

__all__ = ["shared_transactions"]

TURN_SECONDS = 10.0
"""How long a thread waits until another one has left its `atomic` block."""

IN_PROGRESS = "SQL statements in progress"
"""What SQLite says to a savepoint while a thread has not read the rows of an INSERT … RETURNING."""


@contextmanager
def shared_transactions() -> Iterator[None]:
    """Have every thread use the connections of this one that a test has in a transaction."""
    with ExitStack() as shared:
        turns = {
            one.alias: shared.enter_context(_shared(one))
            for one in connections.all(initialized_only=True)
            if _is_for_all(one)
        }
        shared.enter_context(_blocks_take(turns))
        wrappers = {alias: connections[alias] for alias in turns}
        shared.callback(close_shared_connections)  # what was opened without a transaction
        shared.enter_context(connections_in_every_thread(wrappers))
        yield


def _is_for_all(connection: BaseDatabaseWrapper) -> bool:
    in_memory: Callable[[], bool] = getattr(connection, "is_in_memory_db", bool)
    return connection.in_atomic_block or in_memory()


class _Turns:
    """The right to use one connection, which a thread keeps during an `atomic` block."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._lock = threading.RLock()
        self._holder = ""
        self._held = threading.local()

    def take(self) -> None:
        if not self._lock.acquire(timeout=TURN_SECONDS):
            raise OperationalError(
                f"For {TURN_SECONDS:.0f} seconds the thread {self._holder} has been inside a "
                f"transaction of the database {self._alias!r}, which all threads of a test share. "
                "Leave `atomic` before you wait for a stream, and do not yield inside of it; or "
                "use a TransactionTestCase, where each thread has a connection of its own."
            )
        self._holder = threading.current_thread().name
        self._held.times = getattr(self._held, "times", 0) + 1

    def give_back(self) -> None:
        """Leave; a thread that entered its block before the turns began has nothing to give."""
        if getattr(self._held, "times", 0):
            self._held.times -= 1
            self._lock.release()

    def execute(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        """Run one statement: a wrapper of Django's `execute_wrapper`."""
        self.take()
        try:
            return execute(*arguments)
        finally:
            self.give_back()


@contextmanager
def _shared(connection: BaseDatabaseWrapper) -> Iterator[_Turns]:
    """Let all threads use a connection, in turns; only the one that opened it closes it."""
    turns, owner, close = _Turns(connection.alias), threading.get_ident(), connection.close

    def close_at_home() -> None:
        if threading.get_ident() == owner:
            close()

    connection.inc_thread_sharing()
    try:
        with (
            connection.execute_wrapper(turns.execute),
            patch.object(connection, "close", close_at_home),
            # At the end of each request; Django 5.2 would close it in the middle of a transaction.
            patch.object(connection, "close_if_unusable_or_obsolete", lambda: None),
        ):
            yield turns
    finally:
        connection.dec_thread_sharing()


@contextmanager
def _blocks_take(turns: Mapping[str, _Turns]) -> Iterator[None]:
    """Have each `atomic` block on these connections be one turn."""
    enter, leave = Atomic.__enter__, Atomic.__exit__

    def take_and_enter(block: Atomic) -> None:
        if (turn := turns.get(block.using or DEFAULT_DB_ALIAS)) is None:
            return enter(block)
        deadline = time.monotonic() + TURN_SECONDS
        while True:
            turn.take()
            try:
                return enter(block)
            except BaseException as error:
                turn.give_back()
                if IN_PROGRESS not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.001)

    def leave_and_give_back(block: Atomic, *raised: Any) -> None:
        try:
            leave(block, *raised)
        finally:
            if (turn := turns.get(block.using or DEFAULT_DB_ALIAS)) is not None:
                turn.give_back()

    Atomic.__enter__, Atomic.__exit__ = take_and_enter, leave_and_give_back  # type: ignore[method-assign]
    try:
        yield
    finally:
        Atomic.__enter__, Atomic.__exit__ = enter, leave  # type: ignore[method-assign]
