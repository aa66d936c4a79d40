"""The copy of the tenants' control in the database.

Streams are served by these rows, so they are read from the database that the routers would write to
(the manager of the model does that): a replica that lags would bring back a generation that an
operator has ended. Concurrent callers share a query, so any number of requests for tenants that
never existed is one query at a time.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

if TYPE_CHECKING:
    from ..models import StreamNamespace

__all__ = ["SavedRows", "in_database", "namespace_model", "saved_generations"]

T = TypeVar("T")

MOST_ASKED = 500


class SavedRows:
    """The rows of one alias, asked for by tenant, on one event loop."""

    def __init__(self, alias: str):
        self._alias = alias
        self._wanted: dict[str, asyncio.Future[StreamNamespace | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def row(self, tenant: str) -> "StreamNamespace | None":
        """Return the row of a tenant, by a query that begins after this call."""
        if tenant not in self._wanted:
            self._wanted[tenant] = asyncio.get_running_loop().create_future()
        wanted = self._wanted[tenant]
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="resumable_streams.saved_rows")
        return await asyncio.shield(wanted)

    async def _ask(self) -> None:
        while self._wanted:
            asked = {one: self._wanted.pop(one) for one in list(self._wanted)[:MOST_ASKED]}
            try:
                rows = await in_database(partial(self._query, list(asked)))
            except BaseException as error:
                for future in asked.values():
                    _fail(future, error)
                if not isinstance(error, Exception):
                    raise
            else:
                for tenant, future in asked.items():
                    future.set_result(rows.get(tenant))

    def _query(self, tenants: Sequence[str]) -> "dict[str, StreamNamespace]":
        try:
            found = namespace_model().objects.filter(alias=self._alias, tenant__in=tenants)
            return {row.tenant: row for row in found}
        except (ImproperlyConfigured, LookupError):  # no database, or the app is not installed
            return {}


def namespace_model() -> "type[StreamNamespace]":
    """Return the model: this package is imported before Django has loaded the models."""
    return apps.get_model("resumable_streams", "StreamNamespace")


async def saved_generations(alias: str) -> dict[str, int]:
    """Return the generations that the database has of the tenants of an alias."""

    def query() -> dict[str, int]:
        try:
            rows = namespace_model().objects.filter(alias=alias)
            return dict(rows.values_list("tenant", "generation"))
        except (ImproperlyConfigured, LookupError):
            return {}

    return await in_database(query)


async def in_database(query: Callable[[], T]) -> T:
    """Run a query in a thread of its own: a request's thread may be waiting for us."""

    def run() -> T:
        try:
            return query()
        finally:
            connections.close_all()

    return await sync_to_async(run, thread_sensitive=False)()


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if isinstance(error, Exception):
        future.set_exception(error)
        future.exception()  # whoever asked may have left: nobody need retrieve it
    else:
        future.cancel()
