"""The plugin for pytest, which a project names in its `conftest.py`.

    pytest_plugins = ["resumable_streams.testing.plugin"]

It needs pytest-django. It is no entry point, so that it is loaded in projects that use it only, and
after pytest-cov has begun to measure.
"""

from collections.abc import Iterator

import pytest

from .isolation import isolated_streams

__all__ = ["resumable_streams"]

MARKER = "resumable_streams(in_memory=True): how the fixture of the same name isolates a test"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def resumable_streams(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give the test streams of its own, as `isolated_streams` does.

    For every test: `usefixtures = resumable_streams` in the configuration of pytest. A test with
    `@pytest.mark.resumable_streams(in_memory=False)` has the store of the settings.
    """
    if _uses_the_database(request):
        request.getfixturevalue("db")  # before: its transaction is the one to share
    marker = request.node.get_closest_marker("resumable_streams")
    options = {} if marker is None else marker.kwargs
    with isolated_streams(test=request.node.nodeid, **options):
        yield


def _uses_the_database(request: pytest.FixtureRequest) -> bool:
    is_marked = request.node.get_closest_marker("django_db") is not None
    wanted = {"db", "transactional_db", "django_db_reset_sequences", "live_server"}
    return is_marked or not wanted.isdisjoint(request.fixturenames)
