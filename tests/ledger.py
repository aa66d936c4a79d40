"""A database of a test's own, migrated; one in a file can be taken away and given back."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.core.management import call_command
from django.db import connections
from pytest_django import Settings

__all__ = ["Ledger", "open_database", "open_ledger"]

ALIAS = "ledger"


class LedgerRouter:
    """Send everything of the app to the ledger."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return ALIAS if model._meta.app_label == "resumable_streams" else None

    db_for_write = db_for_read


class Ledger:
    """Be the database; `take_away` makes every use of it fail, `give_back` ends that."""

    def __init__(self, path: Path):
        self._path = path

    def take_away(self) -> None:
        _close()
        connections.settings[ALIAS]["NAME"] = str(self._path / "not" / "there")

    def give_back(self) -> None:
        _close()
        connections.settings[ALIAS]["NAME"] = str(self._path)


def _close() -> None:
    with suppress(SynchronousOnlyOperation):  # the thread of an event loop: it has no connection
        connections[ALIAS].close()


@contextmanager
def open_ledger(path: Path, settings: Settings) -> Iterator[Ledger]:
    """Route the app to a new database at `path`; the caller has unblocked the database."""
    with open_database({"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}, settings):
        yield Ledger(path)


@contextmanager
def open_database(entry: dict[str, Any], settings: Settings) -> Iterator[None]:
    """Route the app to a new database, as DATABASES would describe it."""
    configured = connections.configure_settings({"default": {}, ALIAS: entry})
    connections.settings[ALIAS] = configured[ALIAS]
    settings.DATABASE_ROUTERS = [LedgerRouter()]
    call_command("migrate", "resumable_streams", database=ALIAS, verbosity=0)
    try:
        yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.settings[ALIAS]
