"""From the log of an answer to its row, however the answer ends.

    the end is told         exactly once, in whichever process: `stream_finalized`
    nobody could tell it    by the next look at the conversation, or by `manage.py settle_chats`

The log is the truth while it exists. Without it (deleted, or expired before anybody looked), the
process that wrote the answer knows its parts; without that, the row stays as it was last saved.
A row is completed once: the first one to save wins. What only the process knows that wrote the
answer is added to the row later, if need be, and no signal of the model tells of it: the usage; and
the words, where somebody found no stream any more and took the answer for expired.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from ...conf import get_settings
from ...exceptions import StoreUnavailable, StreamError
from ...process.threads import run_sync
from ...signals import stream_finalized
from ...types import ErrorCode, StreamInfo, StreamKey, StreamStatus
from .building import MessageBuilder, chunks_in
from .drafts import drafts
from .former import delete_former, former_at_end_of
from .logs import look, read_log
from .models import Conversation, Message
from .turns import STREAM_PREFIX

__all__ = ["added", "connect", "save_draft", "settle", "settle_or_log", "settle_with"]

logger = logging.getLogger("resumable_streams.chat")

RETRY_PAUSES = (0.2, 1.0, 3.0)

Status = Message.Status

STATUSES = {
    StreamStatus.DONE: Status.COMPLETE,
    StreamStatus.CANCELLED: Status.STOPPED,
    StreamStatus.ERROR: Status.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEnd:
    """The end of an answer: how its stream ended, and its log or else its draft, if any."""

    status: str
    error_code: str = ""
    log: bytes | None = None
    draft: MessageBuilder | None = None
    usage: Mapping[str, int] = field(default_factory=dict)


def connect() -> None:
    """Save each answer when its end is told."""
    stream_finalized.connect(_finalized, dispatch_uid="resumable_streams.contrib.chat")


async def _finalized(
    *,
    alias: str,
    tenant: str,
    generation: int | None,
    stream_id: str,
    epoch: str,
    status: str,
    error_code: str,
    usage: Mapping[str, int] | None = None,
    **named: Any,
) -> None:
    if not stream_id.startswith(STREAM_PREFIX):
        return
    draft = drafts.take(stream_id)
    log = None
    if generation is not None:
        key = StreamKey(tenant=tenant, generation=generation, stream_id=stream_id)
        log = await _log(alias, key, epoch)
    outcome = AnswerEnd(
        status=STATUSES[StreamStatus(status)],
        error_code=str(error_code),
        log=log,
        draft=draft,
        usage=dict(usage or {}),
    )
    await _patiently(partial(save_end, stream_id, outcome))
    await _clear(stream_id)


async def _clear(stream_id: str) -> None:
    """Delete the streams that this answer has replaced; its own, if its conversation is deleted."""
    try:
        await delete_former(await run_sync(partial(former_at_end_of, stream_id)))
    except StreamError as error:  # the next answer, or `settle_chats`, deletes them
        logger.warning("The streams of former answers could not be deleted: %s", error)


async def _log(alias: str, key: StreamKey, epoch: str) -> bytes | None:
    try:
        return await read_log(alias, key, epoch)
    except StoreUnavailable:
        return None


async def _patiently(save: partial[None]) -> None:
    """Save, again after a pause if the database is away; the next look tries once more."""
    for pause in (*RETRY_PAUSES, None):
        try:
            return await run_sync(save)
        except DatabaseError:
            if pause is None:
                raise
            await asyncio.sleep(pause)


def save_end(stream_id: str, outcome: AnswerEnd) -> None:
    """Complete the row of an answer, unless that was done; for sync code."""
    rows = Message.objects.filter(stream_id=stream_id)
    with transaction.atomic(using=rows.db):
        # The first statement writes, which is a lock in every database: of the conversation before
        # its messages, as in `turns` and `deleting`, or two of us would wait for each other.
        ended = timezone.now()
        Conversation.objects.filter(running=stream_id).update(
            running=None, claimed=None, updated=ended
        )
        if rows.filter(status=Status.RUNNING).update(ended=ended):
            row = rows.get()
            _complete(row, outcome)
            row.save()
        else:
            _add_late(rows, outcome)


def _add_late(rows: QuerySet[Message], outcome: AnswerEnd) -> None:
    """Add to a row that is complete what only the writer of the answer knows."""
    owners = Conversation.objects.filter(pk__in=rows.values("conversation_id"))
    owners.update(claimed=F("claimed"))  # the lock, as in `turns`
    row = rows.first()
    if row is None:
        return
    if row.error_code == ErrorCode.EXPIRED and _built(row, outcome) is not None:
        _complete(row, outcome)
        names = ("status", "error_code", "parts", "metadata", "usage")
        rows.update(**{name: getattr(row, name) for name in names})
    elif outcome.usage:  # a draft may have had some of it
        rows.update(usage=added(row.earlier_usage, outcome.usage))


def added(earlier: Mapping[str, int], usage: Mapping[str, int]) -> dict[str, int]:
    """Return the sums of two usages; nothing, if nothing is new."""
    names = dict.fromkeys([*earlier, *usage]) if usage else ()
    return {name: earlier.get(name, 0) + usage.get(name, 0) for name in names}


def _complete(row: Message, outcome: AnswerEnd) -> None:
    row.status, row.error_code = Status(outcome.status), outcome.error_code[:64]
    row.usage = added(row.earlier_usage, outcome.usage) or row.usage
    builder = _built(row, outcome)
    if builder is None:
        return
    row.parts = builder.parts()
    row.metadata = {**row.metadata, **builder.metadata}
    if row.status == Status.COMPLETE and builder.error:
        row.status, row.error_code = Status.FAILED, str(ErrorCode.SOURCE_FAILED)
    elif row.status == Status.COMPLETE and builder.is_aborted:
        row.status = Status.STOPPED


def _built(row: Message, outcome: AnswerEnd) -> MessageBuilder | None:
    if outcome.log is None:
        return outcome.draft
    builder = MessageBuilder(row.parts[: row.base])
    for chunk in chunks_in(outcome.log):
        builder.add(chunk)
    return builder


def save_draft(stream_id: str, parts: list[dict[str, Any]], usage: Mapping[str, int]) -> None:
    """Save an answer as far as it is written; for sync code."""
    running = Message.objects.filter(stream_id=stream_id, status=Status.RUNNING)
    reported = {"usage": dict(usage)} if usage else {}
    running.update(parts=parts, **reported)


async def settle(conversation: Conversation) -> StreamInfo | None:
    """Save the answer of a conversation if it has ended unheard; return its stream while it runs.

    `conversation.running` is None afterwards if nothing runs. An answer that was claimed a moment
    ago counts as running: its stream is about to be there.
    """
    if conversation.running is None:
        return None
    info = await look(conversation.alias, conversation.tenant, conversation.running)
    return await settle_with(conversation, info)


async def settle_with(conversation: Conversation, info: StreamInfo | None) -> StreamInfo | None:
    """Do as `settle`, with the state of the stream as it was just looked up."""
    stream_id = conversation.running
    if stream_id is None or (info is None and is_starting(conversation)):
        return None
    if info is not None and info.is_streaming:
        return info
    await _save_ended(conversation, stream_id, info)
    conversation.running = None
    return None


async def settle_or_log(conversation: Conversation, info: StreamInfo | None) -> bool:
    """Do as `settle_with`, one of many; return whether it could be done.

    An answer that no database takes keeps nobody from the others. A store or database that is away
    is no matter of one answer: raises what they raise.
    """
    try:
        await settle_with(conversation, info)
    except (StreamError, InterfaceError, OperationalError):
        raise
    except Exception:
        logger.exception("An answer could not be saved.", extra={"conversation": conversation.pk})
        return False
    return True


async def _save_ended(conversation: Conversation, stream_id: str, info: StreamInfo | None) -> None:
    if info is None:
        outcome = AnswerEnd(status=Status.FAILED, error_code=ErrorCode.EXPIRED)
    else:
        log = await read_log(conversation.alias, info.key, info.epoch)
        status = STATUSES[info.status]
        outcome = AnswerEnd(status=status, error_code=info.error_code, log=log)
    await run_sync(partial(save_end, stream_id, outcome))


def is_starting(conversation: Conversation) -> bool:
    """Return whether the stream of an answer may be about to be started."""
    if conversation.claimed is None:
        return False
    age = (timezone.now() - conversation.claimed).total_seconds()
    return age < get_settings(conversation.alias).election
