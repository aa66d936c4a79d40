"""Orders through django.tasks, on the backends that Django has."""

import asyncio
from typing import Any

import pytest
from django.tasks.signals import task_enqueued
from pytest_django import Settings

from resumable_streams.contrib import tasks
from resumable_streams.streams import StreamManager
from resumable_streams.types import StreamStatus
from tests.tools.readers import read_all

ORDERS = "tests.behaviour.orders"


@pytest.fixture
def backend(settings: Settings, request: pytest.FixtureRequest) -> None:
    settings.TASKS = {"default": {"BACKEND": f"django.tasks.backends.{request.param}"}}


@pytest.mark.parametrize("backend", ["immediate.ImmediateBackend"], indirect=True)
async def test_a_task_produces_what_is_read(streams: StreamManager, backend: None) -> None:
    reader = await tasks.aenqueue("s", f"{ORDERS}.numbers", {"count": 3}, owner="me")
    assert await read_all(reader) == b"000001002"
    assert reader.info.status is StreamStatus.DONE


@pytest.mark.parametrize("backend", ["dummy.DummyBackend"], indirect=True)
async def test_an_order_that_comes_twice_is_produced_once(
    streams: StreamManager, backend: None
) -> None:
    results: list[Any] = []

    def collect(task_result: Any, **named: object) -> None:
        results.append(task_result)

    task_enqueued.connect(collect)
    reader = await tasks.aenqueue("s", f"{ORDERS}.numbers", {"count": 3}, owner="me")
    task_enqueued.disconnect(collect)
    (result,) = results
    both = [asyncio.to_thread(tasks.produce.call, *result.args) for _ in range(2)]
    # The other one meets somebody at work on it (False), or comes when it is done (True).
    assert True in await asyncio.gather(*both)
    assert await read_all(reader) == b"000001002"


@pytest.mark.parametrize("backend", ["dummy.DummyBackend"], indirect=True)
async def test_a_backend_that_takes_no_order_leaves_no_stream(
    streams: StreamManager, backend: None
) -> None:
    with pytest.raises(Exception, match="no_such_backend"):
        await tasks.aenqueue(
            "s",
            f"{ORDERS}.numbers",
            {"count": 3},
            owner="me",
            task_options={"backend": "no_such_backend"},
        )
    assert await streams.astatus("s", owner="me") is None
