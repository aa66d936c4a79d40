"""The log of every act on a stream: `resumable_streams.audit`, always on.

Each record says the same twice. For people: the message is the name of the event, and `key=value`
for each field that has a value. For programs: `extra` is one flat dictionary of strings, numbers,
booleans and None, ready for a JSON formatter. `docs/observability.md` lists the fields.

Owners are logged here on purpose, in `extra`; the message has their digest alone. Bytes of streams,
messages of exceptions and query strings (so, tokens of signed links) are in neither.
"""

import logging
from typing import Any

from ..conf import get_settings
from ..identifiers import owner_digest
from ..signals import (
    inline,
    owner_bound,
    owner_checked,
    producer_lost,
    stream_acquired,
    stream_cancelled,
    stream_deleted,
    stream_failed,
    stream_finalized,
    stream_resumed,
)
from ..types import PUBLIC, ErrorCode, Owner, Role, StreamStatus
from .client_info import client_ip, request_id, user_id
from .pairs import Pairs

__all__ = ["connect"]

logger = logging.getLogger("resumable_streams.audit")

UNSAID = ("event", "owner")
"""The fields that the message does not repeat: the first is its beginning, the second is text of
the project's own, of up to 1,024 bytes."""


def connect() -> None:
    """Log what the signals say; any number of calls is one."""
    for signal, receiver in (
        (stream_acquired, _acquired),
        (owner_bound, _bound),
        (owner_checked, _checked),
        (stream_resumed, _resumed),
        (stream_cancelled, _cancelled),
        (stream_deleted, _deleted),
        (stream_failed, _failed),
        (stream_finalized, _finalized),
        (producer_lost, _lost),
    ):
        signal.connect(receiver, dispatch_uid="resumable_streams.audit")


@inline
def _acquired(*, role: Role, request: Any, **named: Any) -> None:
    _log("stream.acquired", named, request, role=str(role))


@inline
def _bound(*, request: Any, **named: Any) -> None:
    _log("stream.owner_bound", named, request)


@inline
def _checked(
    *, operation: str, outcome: str, request: Any, by_link: bool = False, **named: Any
) -> None:
    # At one level whatever the outcome: a line more for a foreign stream would take time, and tell
    # who asks that it is not a missing one.
    _log(
        "stream.owner_checked",
        named,
        request,
        operation=operation,
        outcome=outcome,
        by_link=by_link,
    )


@inline
def _resumed(*, offset: int, size: int, status: StreamStatus, request: Any, **named: Any) -> None:
    _log("stream.resumed", named, request, offset=offset, size=size, status=str(status))


@inline
def _cancelled(*, request: Any, **named: Any) -> None:
    _log("stream.cancelled", named, request)


@inline
def _deleted(*, request: Any, **named: Any) -> None:
    _log("stream.deleted", named, request)


@inline
def _failed(*, error_code: ErrorCode, error: BaseException, **named: Any) -> None:
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    _log("stream.failed", named, None, logging.WARNING, error_code=str(error_code), error=kind)


@inline
def _finalized(
    *, status: StreamStatus, error_code: str, size: int, duration: float, **named: Any
) -> None:
    _log(
        "stream.finalized",
        named,
        None,
        logging.WARNING if status is StreamStatus.ERROR else logging.INFO,
        status=str(status),
        error_code=str(error_code),
        size=size,
        duration=round(duration, 3),
    )


@inline
def _lost(*, seen_by: str, size: int, **named: Any) -> None:
    _log("stream.producer_lost", named, None, logging.WARNING, seen_by=seen_by, size=size)


def _log(
    event: str, stream: dict[str, Any], request: Any, level: int = logging.INFO, **fields: Any
) -> None:
    if logger.isEnabledFor(level):
        extra = {"event": event, **_stream(**stream), **fields}
        if request is not None:
            extra |= _client(request, stream["alias"])
        message = f"{event} %s"  # one template an event, by which log tools group
        logger.log(level, message, Pairs(extra, but=UNSAID), extra=extra)


def _stream(
    *,
    alias: str,
    tenant: str,
    generation: int,
    stream_id: str,
    owner: Owner | None,
    epoch: str | None = None,
    **rest: Any,
) -> dict[str, Any]:
    """Describe a stream; without an owner where nobody remembers whose it was."""
    return {
        "alias": alias,
        "tenant": tenant,
        "generation": generation,
        "stream_id": stream_id,
        "epoch": epoch,
        "owner_digest": None if owner is None else owner_digest(owner),
        "owner": None if owner is PUBLIC else owner,
        "public": owner is PUBLIC,
    }


def _client(request: Any, alias: str) -> dict[str, Any]:
    """Describe who asked: of the address, the path without its query."""
    is_scope = isinstance(request, dict)
    return {
        "user": user_id(request),
        "request_id": request_id(request),
        "ip": client_ip(request, get_settings(alias).trusted_proxies),
        "method": str(request.get("type", "") if is_scope else request.method or ""),
        "path": str(request.get("path", "") if is_scope else request.path),
    }
