"""The system check of a RedisStore: a cache that empties the database of streams.

It connects to nothing: `examination` does.
"""

from collections.abc import Iterator, Sequence

from django.core.checks import CheckMessage, Warning  # noqa: A004

from ...conf import SETTING, AliasSettings

__all__ = ["check_caches"]


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


def _at(settings: AliasSettings) -> str:
    return f"{SETTING}[{settings.alias!r}]"
