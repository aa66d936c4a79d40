"""Celery as the queue of orders: for projects whose workers are Celery's already.

    from resumable_streams.contrib import celery

    reader = await celery.aenqueue(stream_id, "shop.answers.answer", {"question": 1}, owner=owner)

It is `streams.enqueue` with another queue, so `recover`, the signature of orders and the fencing
are the same: an order that Celery delivers twice is produced once. Have the worker import this
module (`app.autodiscover_tasks(["resumable_streams.contrib"], related_name="celery")`). Needs the
extra `celery`, and a store that both processes see.

Limits, compared with `manage.py resumable_streams worker`:

    one stream takes one slot of the pool for as long as it lasts
    a warm shutdown waits for running streams; nothing is handed over when its time is up, and a
    worker that is killed then is replaced after a lease (with `recover`, else: producer_lost)
    a soft time limit, and `revoke(terminate=True)`, kill: they are for tasks that are short
    a broker that redelivers late (Redis: `visibility_timeout`) recovers late
"""

from collections.abc import Mapping
from typing import Any

from celery import Task, current_app, shared_task

from ..conf import DEFAULT_ALIAS, get_settings
from ..engine.reader import StreamReader
from ..exceptions import StoreUnavailable
from ..process.runtime import runtime
from ..process.twins import sync_twin
from ..streams import StreamManager
from ..types import Owner
from ..workers import run_order

__all__ = ["aenqueue", "enqueue", "produce"]


@shared_task(  # type: ignore[untyped-decorator]
    bind=True,
    name="resumable_streams.produce",
    acks_late=True,
    reject_on_worker_lost=True,
    ignore_result=True,
    max_retries=None,
)
def produce(self: "Task[Any, None]", alias: str, order: str) -> None:
    """Carry out one order; again after a lease while somebody else may be at it."""
    try:
        is_done = runtime.call_sync(run_order, alias, order)
    except StoreUnavailable as error:
        if error.is_final:
            raise
        raise self.retry(exc=error, countdown=get_settings(alias).lease) from error
    if not is_done:
        raise self.retry(countdown=1.5 * get_settings(alias).lease)


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
    """Enqueue as `streams.aenqueue` does, through Celery.

    `task_options` are those of `apply_async`.
    A broker that refuses the order leaves no stream: its error is raised.
    """
    task = current_app.tasks[produce.name]  # which application is current depends on the thread

    def put(order: str) -> None:
        task.apply_async((using, order), **(task_options or {}))

    return await StreamManager(using).aenqueue(
        stream_id, path, kwargs, owner=owner, through=put, **named
    )


enqueue = sync_twin(aenqueue, lets_go=True)
"""`aenqueue`, for code without an event loop."""
