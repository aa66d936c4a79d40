"""A question and its answer, begun in one transaction: sync code for the database.

The first statement of each transaction writes to the row of the conversation, which is a lock in
every database. So of two requests at once, in any two processes, one begins an answer, and the
other one finds it.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from .former import leave
from .models import Conversation, Message
from .parts import BadQuestion, bounded, tool_results
from .questions import Question

__all__ = ["STREAM_PREFIX", "Newest", "Turn", "begin", "give_way", "latest", "turn_of"]

STREAM_PREFIX = "chat-"
"""The beginning of the ids of our streams, by which they are known without a query."""

PAGE_ROWS = 100

Role, Status = Message.Role, Message.Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """How many of the last messages of a conversation are wanted, and how many bytes of them.

    The bytes are those of their parts as JSON. The last message is there, however long it is.
    """

    messages: int
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An answer, and the messages that it answers.

    `is_new`: this request has begun it. Otherwise it is there already, and `is_same` says whether
    it is the answer to the very question that was asked.
    """

    conversation: Conversation
    answer: Message
    messages: Sequence[Message]
    is_new: bool = False
    is_same: bool = False

    @property
    def stream_id(self) -> str:
        return self.answer.stream_id or ""


def begin(conversation: Conversation, question: Question, *, last: Newest, title: str) -> Turn:
    """Save the question and an empty answer, unless an answer is running or is there already.

    `last` is how much of the conversation the turn has at most. Raises BadQuestion for a question
    that does not fit the conversation.
    """
    rows = Conversation.objects.filter(pk=conversation.pk)
    with transaction.atomic(using=rows.db):
        if not rows.update(updated=timezone.now()):  # the lock
            raise BadQuestion("The conversation was deleted.")
        conversation = rows.get()
        turn = _running(conversation, question, last) or _answered(conversation, question, last)
        return turn or _begin(conversation, question, last, title)


def turn_of(stream_id: str, last: Newest) -> Turn | None:
    """Return the turn whose answer has this stream; None without one."""
    found = Message.objects.filter(stream_id=stream_id).select_related("conversation")
    if (answer := found.first()) is None:
        return None
    before = _asked_before(answer.conversation, answer, last)
    return Turn(conversation=answer.conversation, answer=answer, messages=before)


def latest(conversation: Conversation, last: Newest) -> list[Message]:
    """Return the last messages of a conversation, in their order."""
    return _last(_messages(conversation), last)


def give_way(turn: Turn) -> None:
    """Give way to the next request, as no stream of this turn may ever be started."""
    rows = Conversation.objects.filter(pk=turn.conversation.pk, running=turn.stream_id)
    rows.update(claimed=None)


def _messages(conversation: Conversation) -> QuerySet[Message]:
    return Message.objects.filter(conversation_id=conversation.pk)


def _last(rows: QuerySet[Message], last: Newest) -> list[Message]:
    found: list[Message] = []
    size = 0
    for row in _newest_first(rows, last.messages):
        if last.size is not None:
            size += len(json.dumps(row.parts, ensure_ascii=False).encode())
            if found and size > last.size:
                break
        found.append(row)
    return found[::-1]


def _newest_first(rows: QuerySet[Message], count: int) -> Iterator[Message]:
    """Yield rows page by page: whoever has enough asks for no more of them."""
    ordered = rows.order_by("-id")
    while page := list(ordered[: min(count, PAGE_ROWS)]):
        yield from page
        count -= len(page)
        if len(page) < PAGE_ROWS:
            return
        ordered = ordered.filter(pk__lt=page[-1].pk)


# An answer that is there.


def _running(conversation: Conversation, question: Question, last: Newest) -> Turn | None:
    if conversation.running is None:
        return None
    answer = _messages(conversation).filter(stream_id=conversation.running).first()
    if answer is None:  # its message was deleted by hand
        Conversation.objects.filter(pk=conversation.pk).update(running=None)
        return None
    before = _asked_before(conversation, answer, last)
    return Turn(
        conversation=conversation,
        answer=answer,
        messages=before,
        is_same=_is_question_of(answer, question, before),
    )


def _asked_before(conversation: Conversation, answer: Message, last: Newest) -> list[Message]:
    """Return the messages that an answer answers, itself included where it goes on."""
    end = {"pk__lte": answer.pk} if answer.base else {"pk__lt": answer.pk}
    before = _last(_messages(conversation).filter(**end), last)
    if answer.base:
        before[-1].parts = before[-1].parts[: answer.base]
    return before


def _is_question_of(answer: Message, question: Question, before: Sequence[Message]) -> bool:
    if question.again or not before:
        return False
    if question.results is not None:
        return bool(answer.base) and answer.key == question.key
    return before[-1].key == question.key and before[-1].parts == question.parts


def _answered(conversation: Conversation, question: Question, last: Newest) -> Turn | None:
    """Return the complete answer to a question that was only sent once more."""
    if question.again:
        return None
    answer = _answer_to(conversation, question)
    if answer is None or answer.status != Status.COMPLETE:
        return None
    return Turn(conversation=conversation, answer=answer, messages=(), is_same=True)


def _answer_to(conversation: Conversation, question: Question) -> Message | None:
    rows = _messages(conversation)
    if question.results is not None:
        row = rows.filter(key=question.key, role=Role.ASSISTANT, base__gt=0).first()
        has_more = row is not None and tool_results(row.parts, question.results) is not None
        return None if has_more else row
    asked = rows.filter(key=question.key, role=Role.USER).first()
    if asked is None or asked.parts != question.parts:
        return None
    later = list(rows.filter(pk__gt=asked.pk).order_by("id")[:2])
    # A client that names the message to edit wants to go on from there.
    if not later or (question.message_id and len(later) > 1):
        return None
    return later[0] if later[0].role == Role.ASSISTANT else None


# An answer that is to be written.


def _begin(conversation: Conversation, question: Question, last: Newest, title: str) -> Turn:
    if question.results is not None:
        answer = _go_on(conversation, question)
    else:
        asked = _asked(conversation, question)
        later = _messages(conversation).filter(pk__gt=asked.pk)
        leave(conversation, later)
        later.delete()
        answer = Message.objects.create(
            conversation=conversation,
            key=uuid.uuid4().hex,
            role=Role.ASSISTANT,
            status=Status.RUNNING,
            stream_id=_new_stream(),
        )
        title = title or asked.text
    _claim(conversation, answer, title)
    return Turn(
        conversation=conversation,
        answer=answer,
        messages=_asked_before(conversation, answer, last),
        is_new=True,
    )


def _new_stream() -> str:
    return f"{STREAM_PREFIX}{uuid.uuid4().hex}"


def _asked(conversation: Conversation, question: Question) -> Message:
    """Return the row of the question, written if it is new or was edited."""
    if question.again:
        return _asked_again(conversation, question)
    asked: Message
    asked, is_new = Message.objects.get_or_create(
        conversation=conversation,
        key=question.key,
        defaults={
            "role": Role.USER,
            "parts": question.parts,
            "metadata": question.metadata,
        },
    )
    if asked.role != Role.USER:
        raise BadQuestion("The 'id' of a question is that of an answer.")
    if not is_new:
        asked.parts, asked.metadata = question.parts, question.metadata
        asked.save(update_fields=["parts", "metadata"])
    return asked


def _asked_again(conversation: Conversation, question: Question) -> Message:
    """Return the question to answer once more: as named, or the one before the answer named."""
    rows = _messages(conversation)
    named = rows.filter(key=question.message_id or question.key).first()
    if named is None and question.message_id and question.key:
        named = rows.filter(key=question.key).first()
    if named is not None and named.role == Role.ASSISTANT:
        rows = rows.filter(pk__lt=named.pk)
    elif named is not None:
        rows = rows.filter(pk=named.pk)
    asked: Message | None = rows.filter(role=Role.USER).order_by("-id").first()
    if asked is None:
        raise BadQuestion("There is no question to answer once more.")
    return asked


def _go_on(conversation: Conversation, question: Question) -> Message:
    """Return the last answer with the results of its tools, to be gone on with."""
    answer = _messages(conversation).order_by("-id").first()
    if answer is None or answer.role != Role.ASSISTANT or answer.key != question.key:
        raise BadQuestion("Results are for the last message of the conversation.")
    parts: Any = tool_results(answer.parts, question.results or {})
    if parts is None and not answer.base:
        raise BadQuestion("The message has no result for a tool call that waits for one.")
    if parts is not None:  # the others are ours, of whatever size
        bounded([one for one in parts if one not in answer.parts], size=question.size)
    leave(conversation, _messages(conversation).filter(pk=answer.pk))
    # Of an answer that failed after its results had come, these are there.
    answer.parts = answer.parts[: answer.base] if parts is None else parts
    answer.base, answer.status, answer.error_code = len(answer.parts), Status.RUNNING, ""
    answer.stream_id, answer.ended = _new_stream(), None
    answer.earlier_usage = answer.usage
    answer.save()
    return answer


def _claim(conversation: Conversation, answer: Message, title: str) -> None:
    conversation.running, conversation.claimed = answer.stream_id, timezone.now()
    conversation.updated = conversation.claimed
    conversation.title = conversation.title or " ".join(title.split())[:80]
    conversation.save(update_fields=["running", "claimed", "updated", "title"])
