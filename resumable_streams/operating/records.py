"""Stream records: a row for each stream, for its start and for its end.

    signals -> `recorder` -> database

The receivers take the facts of a request and never wait. A process that is killed writes no more:
whoever takes over its streams settles its rows from the store (`settling`). Only aliases with
RECORDS take part; without any, no receiver is connected and no thread runs.
"""

import logging
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from django.core.signals import setting_changed
from django.utils import timezone

from ..conf import SETTING, get_aliases, get_settings
from ..exceptions import InvalidStoreError
from ..identifiers import owner_digest
from ..models import StreamRecord
from ..signals import inline, owner_bound, process_taken_over, stream_deleted, stream_finalized
from ..types import CutOff, ErrorCode, Owner
from .client_info import client_ip, request_id, user_id
from .recorder import RecordEnding, recorder
from .settling import settle_written

__all__ = ["configure"]

logger = logging.getLogger("resumable_streams.records")

Status = StreamRecord.Status


def _quietly(receiver: Callable[..., None]) -> Callable[..., None]:
    """Log the errors of a receiver, whatever HOOK_ERRORS says: no stream fails for its record."""

    @inline  # it only puts something on a queue
    @wraps(receiver)
    def receive(*, alias: str, **named: Any) -> None:
        try:
            if get_settings(alias).records:
                receiver(alias=alias, **named)
        except Exception:
            logger.exception("A stream could not be recorded.")

    return receive


@_quietly
def _started(
    *,
    alias: str,
    tenant: str,
    generation: int,
    stream_id: str,
    epoch: str,
    owner: Owner,
    request: Any,
    **named: Any,
) -> None:
    recorder.put(
        StreamRecord(
            alias=alias,
            tenant=tenant,
            generation=generation,
            stream_id=stream_id,
            epoch=epoch,
            owner=owner.replace("\0", "\ufffd") if isinstance(owner, str) else "",
            owner_digest=owner_digest(owner),
            user=user_id(request),
            request_id=request_id(request),
            ip=client_ip(request, get_settings(alias).trusted_proxies),
            acquired=timezone.now(),
        )
    )


@_quietly
def _finalized(
    *,
    alias: str,
    tenant: str,
    stream_id: str,
    epoch: str,
    status: str,
    error_code: str,
    size: int,
    duration: float,
    **named: Any,
) -> None:
    if error_code == ErrorCode.EXPIRED:  # under its producer, by whatever process
        status = Status.DELETED
    elif error_code in list(CutOff):
        status, error_code = Status(error_code), ""
    recorder.put(
        RecordEnding(
            election=(alias, tenant, stream_id),
            epoch=epoch,
            changes={
                "status": str(status),
                "error_code": str(error_code)[:64],
                "size": size,
                "duration": duration,
                "ended": timezone.now(),
            },
        )
    )


@_quietly
def _deleted(*, alias: str, tenant: str, stream_id: str, epoch: str, **named: Any) -> None:
    recorder.put(
        RecordEnding(
            election=(alias, tenant, stream_id),
            epoch=epoch,
            changes={"status": str(Status.DELETED), "ended": timezone.now()},
        )
    )


@_quietly
def _taken_over(*, alias: str, **named: Any) -> None:
    # It may have died with ends that it had not written.
    recorder.follow(partial(settle_written, alias))


RECEIVERS = (
    (owner_bound, _started),
    (stream_finalized, _finalized),
    (stream_deleted, _deleted),
    (process_taken_over, _taken_over),
)


def configure() -> None:
    """Connect the receivers if any alias has RECORDS; called when Django is ready.

    A start arrives as `owner_bound`, which only producers send, before their source starts.
    """
    try:
        wanted = any(get_settings(alias).records for alias in get_aliases())
    except InvalidStoreError:  # the system checks tell
        wanted = False
    for signal, receiver in RECEIVERS:
        if wanted:
            signal.connect(receiver, dispatch_uid="resumable_streams.records")
        else:
            signal.disconnect(receiver, dispatch_uid="resumable_streams.records")


def _reconfigure(*, setting: str, **kwargs: object) -> None:
    if setting == SETTING:
        configure()


setting_changed.connect(_reconfigure)  # after the receiver of `conf`, which forgets the old value
