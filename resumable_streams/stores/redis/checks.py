"""System checks of a RedisStore: a server that evicts streams, a cache that empties their database.

A server that hides CONFIG still tells its policy in INFO, so INFO is what is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from django.core.checks import CheckMessage, Warning  # noqa: A004

from ...conf import SETTING, AliasSettings
from ...exceptions import StoreUnavailable

__all__ = ["check_caches", "check_eviction"]

LOOK_SECONDS = 5.0


def check_caches(settings: AliasSettings, emptied_by: Sequence[str]) -> Iterator[CheckMessage]:
    """W013: `cache.clear()` removes all streams, as it empties the database that they are in.

    An entry of CACHES that only the streams use is the way to go: nobody clears it by the way.
    """
    own = None if settings.cache_alias == "default" else settings.cache_alias
    if others := [name for name in emptied_by if name != own]:
        yield Warning(
            f"{_at(settings)} keeps its streams in the database of the cache "
            f"{', '.join(map(repr, others))}.",
            hint="`cache.clear()` empties that database, and ends every stream. Give the streams "
            "another database, or server: with CACHE_ALIAS, an entry of CACHES of their own.",
            id="resumable_streams.W013",
        )


def check_eviction(
    settings: AliasSettings, memory_of_servers: Callable[[], Awaitable[Sequence[bytes]]]
) -> Iterator[CheckMessage]:
    """W008: the server may evict streams; W009: it could not be asked."""

    async def look() -> Sequence[bytes]:
        async with asyncio.timeout(LOOK_SECONDS):
            return await memory_of_servers()

    try:
        memories = asyncio.run(look())
    except (StoreUnavailable, TimeoutError) as error:
        cause = type(error.__cause__ or error).__name__
        yield Warning(
            f"The server of {_at(settings)} could not be asked for its eviction policy ({cause}).",
            hint="Run the check where the server can be reached, by a user who may use INFO.",
            id="resumable_streams.W009",
        )
        return
    policies = sorted({policy for memory in memories if (policy := _policy(memory.decode()))})
    if policies:
        yield Warning(
            f"The server of {_at(settings)} evicts keys when its memory is full "
            f"({', '.join(policies)}).",
            hint="Readers of an evicted stream get data_lost or 404. Set maxmemory-policy to "
            "noeviction, and bound what is stored with TTL and LIMITS.",
            id="resumable_streams.W008",
        )


def _policy(memory: str) -> str | None:
    """Return the policy by which a server evicts; None if it does not, or has no bound to hit."""
    lines = (line.partition(":") for line in memory.splitlines())
    found = {name: value for name, _, value in lines}
    policy = found.get("maxmemory_policy", "noeviction")
    return None if policy == "noeviction" or found.get("maxmemory", "0") == "0" else policy


def _at(settings: AliasSettings) -> str:
    return f"{SETTING}[{settings.alias!r}]"
