"""A manager of streams on each store, with settings that a test may change before its first use.

What a test opened is closed after it, wherever its home loop is: a test closes the runtime itself
only where that is what it is about, or where a server has to be there still.

The alias `elsewhere` names the same streams with a hub, a feed and connections of its own: what
another process would have.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings
from redis import Redis

from resumable_streams.process.runtime import runtime
from resumable_streams.signals import StreamSignal, inline
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.streams import StreamManager

MEMORY = f"{MemoryStore.__module__}.{MemoryStore.__qualname__}"
REDIS = f"{RedisStore.__module__}.{RedisStore.__qualname__}"

Configure = Callable[..., None]


@pytest.fixture
async def closes_runtime() -> AsyncIterator[None]:
    """Close what the test opened, on whatever loop, while that of the test is there."""
    yield
    if runtime.is_open:
        await runtime.call(runtime.aclose)


@pytest.fixture
def closes_sync_runtime() -> Iterator[None]:
    """Close what a test without a loop opened."""
    yield
    if runtime.is_open:
        runtime.call_sync(runtime.aclose)


@pytest.fixture
def configure_memory(settings: Settings, key_prefix: str) -> Configure:
    """Return a function that configures the memory store, with settings of the test's own."""

    def configure(**entry: Any) -> None:
        entry = {
            "BACKEND": MEMORY,
            "LOCATION": "behaviour",
            "KEY_PREFIX": key_prefix,
            **entry,
        }
        settings.RESUMABLE_STREAMS = {"default": entry, "elsewhere": entry}

    configure()
    return configure


@pytest.fixture
def configure_redis(
    settings: Settings, key_prefix: str, redis_url: str, redis_server: Redis
) -> Configure:
    """Return a function that configures the Redis store, with settings of the test's own."""
    # Known generations: no test here means to ask the database for them.
    for tenant in ("default", "4", "42"):
        redis_server.hset(KeySpace(key_prefix).control(tenant), "generation", 1)

    def configure(**entry: Any) -> None:
        entry = {
            "BACKEND": REDIS,
            "LOCATION": redis_url,
            "KEY_PREFIX": key_prefix,
            **entry,
        }
        settings.RESUMABLE_STREAMS = {"default": entry, "elsewhere": entry}

    configure()
    return configure


@pytest.fixture(params=["memory", "redis"])
def configure(request: pytest.FixtureRequest) -> Configure:
    """Configure one store after the other; call it to change settings before the first use."""
    configured: Configure = request.getfixturevalue(f"configure_{request.param}")
    return configured


@pytest.fixture
def manager(configure: Configure, closes_runtime: None) -> StreamManager:
    """Return the streams of the `default` alias, on each store."""
    return StreamManager()


@pytest.fixture
def redis_manager(configure_redis: Configure, closes_runtime: None) -> StreamManager:
    """Return the streams of the `default` alias, on Redis."""
    return StreamManager()


@pytest.fixture
def memory_manager(configure_memory: Configure, closes_runtime: None) -> StreamManager:
    """Return the streams of the `default` alias, in memory."""
    return StreamManager()


@pytest.fixture
def elsewhere(manager: StreamManager) -> StreamManager:
    """Return the same streams as another process has them."""
    return manager.using("elsewhere")


@pytest.fixture
def hear() -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Return a function that collects what signals say, until the end of the test."""
    connected: list[tuple[StreamSignal, Any]] = []

    def listen(*signals: StreamSignal) -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []

        @inline
        def receiver(**named: Any) -> None:
            heard.append(named)

        for signal in signals:
            signal.connect(receiver)
            connected.append((signal, receiver))
        return heard

    yield listen
    for signal, receiver in connected:
        signal.disconnect(receiver)
