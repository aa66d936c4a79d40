"""Streams in memory."""

from collections.abc import Iterator

import django
import pytest

from resumable_streams.signals import stream_acquired
from resumable_streams.streams import StreamManager

collect_ignore = [] if django.VERSION >= (6,) else ["test_tasks.py"]  # django.tasks


@pytest.fixture
def streams(memory_manager: StreamManager) -> StreamManager:
    return memory_manager


@pytest.fixture
def refusal() -> Iterator[None]:
    """Have a receiver refuse every stream."""

    def refuse(**named: object) -> None:
        raise PermissionError

    stream_acquired.connect(refuse)
    yield
    stream_acquired.disconnect(refuse)
