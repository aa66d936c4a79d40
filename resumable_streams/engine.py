"""What one alias needs in this process: its settings, store, hub and heart, on the home loop."""

import asyncio
import inspect
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from django.utils.module_loading import import_string

from .conf import AliasSettings, get_settings
from .exceptions import InvalidStoreError, ShuttingDown
from .producer import Heart, Producer
from .runtime import runtime
from .sources import Source
from .stores.base import BaseStore
from .tail import Hub
from .types import Claim, StreamInfo, StreamKey

__all__ = ["Engine", "get_engine", "make_store"]

T = TypeVar("T")


def make_store(settings: AliasSettings) -> BaseStore:
    """Construct the store of an alias; raise InvalidStoreError if the settings do not fit it."""
    try:
        backend = import_string(settings.backend)
    except ImportError as error:
        raise InvalidStoreError(
            f"BACKEND {settings.backend!r} of the stream alias {settings.alias!r} cannot be imported."
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, BaseStore)):
        raise InvalidStoreError(
            f"BACKEND {settings.backend!r} of the stream alias {settings.alias!r} is not a BaseStore."
        )
    options: dict[str, Any] = dict(settings.options)
    if settings.cache_alias is not None:
        options["cache_alias"] = settings.cache_alias
    given = {
        "alias": settings.alias,
        "key_prefix": settings.key_prefix,
        "location": settings.location,
        "limits": settings.limits,
        **options,
    }
    try:
        inspect.signature(backend).bind(**given)
    except TypeError as error:
        raise InvalidStoreError(
            f"The stream alias {settings.alias!r} has OPTIONS that {backend.__name__} does not "
            f"take: {error}."
        ) from None
    store: BaseStore = backend(**given)
    return store


class Engine:
    """Produce and read the streams of one alias; made on the home loop, closed with it."""

    def __init__(self, settings: AliasSettings):
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.store = make_store(settings)
        self.hub = Hub(
            self.store,
            lease=settings.lease,
            sweep=settings.sweep,
            store_timeout=settings.store_timeout,
        )
        self._heart = Heart(self.store, lease=settings.lease, lost=self.hub.suspect)

    def produce(self, key: StreamKey, claim: Claim, info: StreamInfo, source: Source) -> Producer:
        """Start the detached producer of a stream this process was elected for."""
        tail = self.hub.open_local(info, key)
        producer = Producer(
            store=self.store, settings=self.settings, claim=claim, tail=tail, source=source
        )

        async def work() -> None:
            self._heart.add(producer)
            try:
                await producer.run()
            finally:
                self._heart.discard(producer)
                self.hub.close_local(tail)

        try:
            runtime.detach(work, name=f"resumable_streams.producer {key.stream_id}")
        except ShuttingDown:
            self.hub.close_local(tail)
            raise
        return producer

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the home loop of this engine; raise ShuttingDown if it is gone."""
        if self.loop.is_closed():
            coroutine.close()
            raise ShuttingDown
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def release_readers(self) -> None:
        for tail in self.hub.tails:
            if not tail.is_local:
                tail.fail(ShuttingDown())

    async def aclose(self) -> None:
        await self._heart.aclose()
        await self.hub.aclose()
        await self.store.aclose()


def get_engine(alias: str) -> Engine:
    """Return the engine of `alias`; call it on the home loop."""
    engine = runtime.resources.get(alias)
    if not isinstance(engine, Engine):
        engine = runtime.resources[alias] = Engine(get_settings(alias))
    return engine
