"""Streams in memory, with an engine that is closed after each test."""

from collections.abc import AsyncIterator, Iterator

import django
import pytest
from pytest_django import Settings

from resumable_streams.runtime import runtime
from resumable_streams.signals import stream_acquired
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.streams import StreamManager

collect_ignore = [] if django.VERSION >= (6,) else ["test_tasks.py"]  # django.tasks

MEMORY = f"{MemoryStore.__module__}.{MemoryStore.__qualname__}"


@pytest.fixture
async def streams(settings: Settings, key_prefix: str) -> AsyncIterator[StreamManager]:
    entry = {"BACKEND": MEMORY, "KEY_PREFIX": key_prefix, "LOCATION": "contrib"}
    settings.RESUMABLE_STREAMS = {"default": entry, "elsewhere": entry}
    yield StreamManager()
    if runtime.resources:
        await runtime.aclose()


@pytest.fixture
def refusal() -> Iterator[None]:
    """Have a receiver refuse every stream."""

    def refuse(**named: object) -> None:
        raise PermissionError

    stream_acquired.connect(refuse)
    yield
    stream_acquired.disconnect(refuse)
