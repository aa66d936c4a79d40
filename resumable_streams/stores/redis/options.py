"""The options of the Redis store, checked before anything is connected."""

from collections.abc import Sequence
from typing import TypeGuard

from ...exceptions import InvalidStoreError
from ...types import Limits

__all__ = ["refuse_wrong"]

MAX_STRING_BYTES = 512 * 1024 * 1024  # what a Redis string holds


def refuse_wrong(
    alias: str,
    limits: Limits,
    *,
    seconds: Sequence[object],
    cluster: object,
    sentinels: object,
    wait_replicas: object,
) -> None:
    """Raise InvalidStoreError for options that cannot work."""
    most = limits.max_stream_bytes or MAX_STRING_BYTES + 1
    problems = {
        "MAX_STREAM_BYTES {} must be set, to at most 512 MiB: that is what a Redis string holds.": (
            most > MAX_STRING_BYTES
        ),
        "connect_timeout and command_timeout {} must be numbers of seconds above 0.": (
            not all(_is_number(one) and one > 0 for one in seconds)
        ),
        "`cluster` {} must be True or a list of nodes (host:port).": (
            not isinstance(cluster, bool) and not (cluster and _are_nodes(cluster))
        ),
        "`sentinels` {} must be a list (host:port).": not _are_nodes(sentinels),
        "`cluster` and `sentinels` {} exclude each other.": bool(cluster and sentinels),
        "`wait_replicas` {} must be a number of replicas.": (
            not isinstance(wait_replicas, int) or wait_replicas < 0
        ),
    }
    for problem, is_there in problems.items():
        if is_there:
            raise InvalidStoreError(problem.format(f"of the stream alias {alias!r}"))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_nodes(nodes: object) -> bool:
    return isinstance(nodes, list | tuple) and all(isinstance(one, str) for one in nodes)
