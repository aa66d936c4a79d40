"""A visitor of the scripted chat, on each store."""

from collections.abc import Iterator

import pytest

from tests.tools.streams import Configure

from . import site


@pytest.fixture(autouse=True)
def empty_script() -> Iterator[None]:
    """Start each test without a script, and end it with none that nobody followed."""
    site.scripts.clear()
    site.asked.clear()
    yield
    assert not site.scripts


@pytest.fixture
def visitor(configure: Configure, closes_runtime: None) -> site.Visitor:
    return site.Visitor()


@pytest.fixture
def stranger(visitor: site.Visitor) -> site.Visitor:
    return site.Visitor()
