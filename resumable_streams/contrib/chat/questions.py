"""The body of a POST, as an AI SDK client writes it. Pure.

{id, messages | message, trigger, messageId}
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .parts import MAX_KEY_LENGTH, BadQuestion, bounded, is_key, read_question_parts

__all__ = ["Question", "read_object", "read_question"]

SUBMIT, REGENERATE = "submit-message", "regenerate-message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request for an answer: to a message of a user, or to the results of tools.

    `key` is the id of the message; "" for "once more", without saying what. `results` is the
    message of the assistant with results; `again` asks to drop the answer that is there.
    `message_id` is what the client calls its `messageId`: it edits that message, say. `size` is how
    many bytes the results may have.
    """

    conversation: str
    key: str = ""
    parts: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] | None = None
    again: bool = False
    message_id: str = ""
    size: int = 0


def read_question(body: bytes, *, size: int) -> Question:
    """Return what a body asks; raise BadQuestion for one that cannot be understood.

    The last message counts: earlier ones are in the table already.
    """
    content = read_object(body)
    trigger = content.get("trigger") or SUBMIT
    if trigger not in (SUBMIT, REGENERATE):
        raise BadQuestion(f"'trigger' is {SUBMIT!r} or {REGENERATE!r}.")
    conversation, message_id = _key(content.get("id"), "'id'"), content.get("messageId")
    named = _key(message_id, "'messageId'") if message_id is not None else ""
    if "/" in conversation or conversation in (".", ".."):
        raise BadQuestion("'id' is part of a path: it has no '/', and is neither '.' nor '..'.")
    message = _last_message(content)
    if trigger == REGENERATE:
        key = message.get("id") if message and message.get("role") == "user" else ""
        key = _key(key, "The 'id' of a message") if key else ""
        return Question(conversation=conversation, key=key, again=True, message_id=named)
    if message is None:
        raise BadQuestion("'messages' is a list of at least one message.")
    key = _key(message.get("id"), "The 'id' of a message")
    if message.get("role") == "assistant":
        results = bounded(message, size=max(size, len(body)))
        return Question(
            conversation=conversation, key=key, results=results, message_id=named, size=size
        )
    parts = bounded(_parts_of_user(message), size=size)
    metadata = bounded(_metadata(message), size=size)
    return Question(
        conversation=conversation, key=key, parts=parts, metadata=metadata, message_id=named
    )


def _parts_of_user(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    if message.get("role") != "user":
        raise BadQuestion("The last message has the role 'user', or 'assistant' with results.")
    return read_question_parts(message)


def _metadata(message: Mapping[str, Any]) -> dict[str, Any]:
    metadata = message.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _last_message(content: Mapping[str, Any]) -> dict[str, Any] | None:
    match content:
        case {"message": dict(message)}:
            return message
        case {"messages": [*_, dict(message)]}:
            return message
    return None


def _key(value: object, name: str) -> str:
    if not is_key(value):
        raise BadQuestion(f"{name} is a string of 1 to {MAX_KEY_LENGTH} printable characters.")
    return value


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; raise BadQuestion where there is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadQuestion("The body is not JSON.") from error
    if not isinstance(content, dict):
        raise BadQuestion("The body is not a JSON object.")
    return content
