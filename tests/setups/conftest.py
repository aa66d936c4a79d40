"""Sites in this process, through Django's ASGI handler."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.core.handlers.asgi import ASGIHandler
from pytest_django import Settings

from .asgi import Transport
from .visit import Site

Open = Callable[..., Site]


@pytest.fixture
def site(request: pytest.FixtureRequest, settings: Settings, key_prefix: str) -> Open:
    """Return a function that sets a site up."""
    if request.node.get_closest_marker("urls") is None:
        settings.ROOT_URLCONF = "tests.setups.site"
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix, "DRAIN_TIMEOUT": 0}}

    def set_up(*, prefix: str = "", settings_: dict[str, Any] | None = None, **more: Any) -> Site:
        for name, value in (settings_ or {}).items():
            setattr(settings, name, value)
        transport = Transport(ASGIHandler())
        base = f"http://testserver{prefix}/"
        return Site(
            open=lambda: httpx.AsyncClient(transport=transport, base_url=base, timeout=10), **more
        )

    return set_up
