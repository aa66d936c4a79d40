"""django.tasks (Django 6.0) as the queue of orders, with any backend of a project.

    from resumable_streams.contrib import tasks

    reader = await tasks.aenqueue(stream_id, "shop.answers.answer", {"question": 1}, owner=owner)

It is `streams.enqueue` with another queue, so `recover`, the signature of orders and the fencing
are the same: an order that a backend hands out twice is produced once.

Limits, compared with `manage.py resumable_streams worker`:

    one stream takes one slot of the backend's worker for as long as it lasts
    django.tasks has no retries: an order whose worker died goes on only if the backend hands it
    out again, a lease or more later; else the stream ends as producer_lost
    the backend decides about running tasks in a deploy
    ImmediateBackend produces before `enqueue` returns: right for tests, and no stream for a reader
"""

from collections.abc import Mapping
from typing import Any

from django.tasks import task

from ..conf import DEFAULT_ALIAS
from ..engine.reader import StreamReader
from ..process.runtime import runtime
from ..process.twins import sync_twin
from ..streams import StreamManager
from ..types import Owner
from ..workers import run_order

__all__ = ["aenqueue", "enqueue", "produce"]


@task
def produce(alias: str, order: str) -> bool:
    """Carry out one order; the result is False where somebody else was at it."""
    return runtime.call_sync(run_order, alias, order)


async def aenqueue(
    stream_id: str | None,
    path: str,
    kwargs: Mapping[str, Any] | None = None,
    *,
    owner: Owner,
    using: str = DEFAULT_ALIAS,
    task_options: Mapping[str, Any] | None = None,
    **named: Any,
) -> StreamReader:
    """Enqueue as `streams.aenqueue` does, through django.tasks.

    `task_options` are those of `Task.using`.
    A backend that refuses the order leaves no stream: its error is raised.
    """

    def put(order: str) -> None:
        produce.using(**(task_options or {})).enqueue(using, order)

    return await StreamManager(using).aenqueue(
        stream_id, path, kwargs, owner=owner, through=put, **named
    )


enqueue = sync_twin(aenqueue, lets_go=True)
"""`aenqueue`, for code without an event loop."""
