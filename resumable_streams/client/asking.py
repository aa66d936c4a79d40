"""One request and its answer: repeated while that is of use, judged once. Pure."""

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from .backoff import Attempts, describe, is_final
from .errors import (
    BadRequest,
    BeyondTheEnd,
    Conflict,
    Forbidden,
    GaveUp,
    NotAuthenticated,
    NotFound,
    Refusal,
    Replaced,
    TooMany,
)
from .steps import Ask, Conversation, Reply, Wait, shown

__all__ = [
    "EPOCH_HEADER",
    "ID_HEADER",
    "PASSING",
    "after_loss",
    "after_refusal",
    "ask",
    "fields",
    "refusal",
    "send",
]

ID_HEADER = "X-Resumable-Stream-Id"
EPOCH_HEADER = "X-Resumable-Stream-Epoch"

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that another try may change."""

REFUSALS: dict[int, type[Refusal]] = {
    400: BadRequest,
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    416: BeyondTheEnd,
    429: TooMany,
}


def ask(request: Ask, attempts: Attempts) -> Conversation[Reply]:
    """Return the first useful answer; raise its Refusal, or GaveUp after all tries."""
    while True:
        try:
            reply: Reply = yield request
        except httpx.TransportError as error:
            yield Wait(after_loss(error, attempts))
            continue
        if reply.is_success:
            return reply
        yield Wait(after_refusal(reply, attempts))


def send(request: Ask) -> Conversation[Reply]:
    """Return the answer to one try, whatever it is."""
    reply: Reply = yield request
    return reply


def after_loss(error: httpx.TransportError, attempts: Attempts) -> float:
    """Return the seconds to wait after a request without an answer; raise after the last one."""
    if is_final(error):
        raise GaveUp(describe(error), tries=1) from error
    attempts.has_lost = True
    try:
        return attempts.fail(describe(error))
    except GaveUp as gave_up:
        raise gave_up from error


def after_refusal(reply: Reply, attempts: Attempts) -> float:
    """Return the seconds to wait after a refusal that passes; raise any other."""
    if reply.status not in PASSING:
        raise refusal(reply)
    try:
        reason = f"{shown(reply.url)} answered {reply.status}"
        return attempts.fail(reason, retry_after=retry_after(reply))
    except GaveUp as gave_up:
        raise (refusal(reply) if reply.status == 429 else gave_up) from None


def refusal(reply: Reply) -> Refusal:
    """Return the error that an answer stands for."""
    where, said = shown(reply.url), fields(reply)
    word, detail = str(said.get("error") or ""), str(said.get("detail") or "")
    if 300 <= reply.status < 400:
        target = shown(reply.url.join(reply.headers.get("Location", "")))
        return Refusal(where, reply.status, detail=f"It redirects to {target}: log in there?")
    if reply.status == 412:
        return Replaced(where, epoch=reply.headers.get(EPOCH_HEADER, ""), word=word)
    kind = REFUSALS.get(reply.status, Refusal)
    error = kind(where, reply.status, word=word, detail=detail, retry_after=retry_after(reply))
    if isinstance(error, Conflict):
        error.stream_id = reply.headers.get(ID_HEADER)
    return error


def fields(reply: Reply) -> dict[str, object]:
    """Return the JSON object that an answer has; {} for any other body."""
    try:
        found = json.loads(reply.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def retry_after(reply: Reply) -> float | None:
    """Return the seconds of `Retry-After`, which may be a date; None without one."""
    text = reply.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
