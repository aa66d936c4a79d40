"""Orders that other queues must not be given: refused before anything happens."""

import django
import pytest
from celery import Celery

from resumable_streams.contrib import celery
from resumable_streams.streams import StreamManager

from .test_celery import app as app  # a fixture


@pytest.mark.parametrize("named", ["stream_id", "offset"])
async def test_celery_is_given_no_order_that_names_what_the_worker_passes(
    streams: StreamManager, app: Celery, named: str
) -> None:
    with pytest.raises(ValueError, match=f"may not name {named}"):
        await celery.aenqueue("s", "a.b", {named: 0}, owner="me")
    assert await streams.astatus("s", owner="me") is None


if django.VERSION >= (6,):

    @pytest.mark.parametrize("named", ["stream_id", "offset"])
    async def test_nor_is_django_tasks(streams: StreamManager, named: str) -> None:
        from resumable_streams.contrib import tasks

        with pytest.raises(ValueError, match=f"may not name {named}"):
            await tasks.aenqueue("s", "a.b", {named: 0}, owner="me")
        assert await streams.astatus("s", owner="me") is None
