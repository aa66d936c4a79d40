"""Aliases of one server or several; `elsewhere` is what another process would have."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pytest_django import Settings

from resumable_streams.runtime import runtime
from resumable_streams.stores.redis import RedisStore

REDIS = f"{RedisStore.__module__}.{RedisStore.__qualname__}"

Configure = Callable[..., None]


@pytest.fixture
async def configure(
    settings: Settings, key_prefix: str, transactional_db: None
) -> AsyncIterator[Configure]:
    """Return a function that configures both aliases; `elsewhere` may be at another address."""

    def configure(location: str, *, elsewhere: str | None = None, **entry: Any) -> None:
        options = {"command_timeout": 0.5, "connect_timeout": 0.5, **entry.pop("OPTIONS", {})}
        entry = {
            "BACKEND": REDIS,
            "LOCATION": location,
            "KEY_PREFIX": key_prefix,
            "OPTIONS": options if entry.get("BACKEND", REDIS) == REDIS else {},
            **entry,
        }
        other = {**entry, "LOCATION": elsewhere or location}
        settings.RESUMABLE_STREAMS = {"default": entry, "elsewhere": other}

    yield configure
    await runtime.aclose()
