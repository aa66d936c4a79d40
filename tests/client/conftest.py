"""A real server on the loop of the test, and clients of it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from django.core.handlers.asgi import ASGIHandler
from pytest_django import Settings

from resumable_streams.client import AsyncSiteClient, Backoff
from tests.acceptance.conftest import (
    empty_database,
    lasting,
    lasting_site,
    new_site,
    passing,
    recording,
)
from tests.tools.serving import PLAIN, served_here

from . import site

__all__ = ["empty_database", "lasting", "lasting_site", "new_site", "passing", "recording"]
"""The fixtures of server processes."""

QUICK = Backoff(attempts=5, first=0.001, longest=0.01)
"""A client that does not wait, as its server is near."""

MakeClient = Callable[..., AsyncSiteClient]


@pytest.fixture
def sources(settings: Settings, key_prefix: str) -> dict[str, Callable[[], Any]]:
    """Set the site up; return its sources, to be filled."""
    settings.ROOT_URLCONF = "tests.client.site"
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.RESUMABLE_STREAMS = {
        "default": {
            "LOCATION": key_prefix,
            "DRAIN_TIMEOUT": 0,
            "OWNER": "tests.client.site.owner",
            "KEEP_ALIVE": 0.1,
        }
    }
    for kept in (site.scripts, site.calls, site.bodies):
        kept.clear()
    return site.scripts


@pytest.fixture
async def port(sources: Any, closes_runtime: None) -> AsyncIterator[int]:
    """Serve the site."""
    async with served_here(ASGIHandler()) as port:
        yield port


@pytest.fixture
async def make(port: int) -> AsyncIterator[MakeClient]:
    """Return a function that makes clients, which are closed at the end."""
    made: list[httpx.AsyncClient] = []

    def make_client(**options: Any) -> AsyncSiteClient:
        options = {"base_url": f"http://127.0.0.1:{port}", "token": "ada", **options}
        http = options.pop("http", None) or httpx.AsyncClient(verify=PLAIN, timeout=10)
        made.append(http)
        return AsyncSiteClient(**{"http": http, "backoff": QUICK, "silence": 10.0, **options})

    yield make_client
    for http in made:
        await http.aclose()
