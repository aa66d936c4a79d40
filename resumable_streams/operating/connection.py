"""The store of an alias, as an operator's command uses it.

A command looks and deletes with a connection of its own: no push connection, no heartbeat and no
signal handler belongs to it. In a process that streams already, it uses the store that is open
there, so that it also reaches streams in the memory of that process.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..conf import get_settings
from ..engine import Engine
from ..process.runtime import runtime
from ..stores import make_store
from ..stores.base import BaseStore

__all__ = ["close_unused", "is_open", "is_reachable", "open_store"]

_visits = 0  # counted on the home loop only


def is_open(alias: str) -> bool:
    """Return whether this process streams with an alias already."""
    return isinstance(runtime.resources.get(alias), Engine)


def is_reachable(alias: str) -> bool:
    """Return whether the streams of an alias are not in the memory of another process."""
    return is_open(alias) or make_store(get_settings(alias)).outlives_process


@asynccontextmanager
async def open_store(alias: str) -> AsyncIterator[BaseStore]:
    """Yield the store that is open in this process, or one that is closed afterwards.

    Call it on the home loop.
    """
    global _visits
    engine = runtime.resources.get(alias)
    if isinstance(engine, Engine):
        yield engine.store
        return
    store = make_store(get_settings(alias))
    _visits += 1
    try:
        yield store
    finally:
        _visits -= 1
        await store.aclose()


async def close_unused(alias: str, *, was_open: bool) -> None:
    """Close the engine of an alias that was not open before, and a home loop without a use."""
    engine = runtime.resources.get(alias)
    if engine is not None and not was_open:
        del runtime.resources[alias]
        await engine.aclose()
    if not (runtime.resources or _visits):
        await runtime.aclose()
