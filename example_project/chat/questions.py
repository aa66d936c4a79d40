"""What an AI SDK client posts, checked."""

import json
import re
from dataclasses import dataclass
from typing import Any, TypeGuard

from .models import Message

KEY_LENGTH = 128
TRIGGERS = ("submit-message", "regenerate-message")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class BadQuestion(ValueError):
    """Say what is wrong with a request, in words for whoever wrote the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Be a request for an answer: in this chat, to this message."""

    chat: str
    message: str
    text: str
    again: bool = False  # drop the answer there is, and give another


def parse(body: bytes) -> Question:
    """Read `{id, messages, trigger}`; the last message of the user is the question."""
    content = _object(body)
    trigger = content.get("trigger", TRIGGERS[0])
    if trigger not in TRIGGERS:
        raise BadQuestion(f"'trigger' is {' or '.join(map(repr, TRIGGERS))}.")
    message = _last_of_user(content.get("messages"))
    return Question(
        chat=_key(content.get("id"), "'id'"),
        message=_key(message.get("id"), "The 'id' of a message"),
        text=_text(message),
        again=trigger == TRIGGERS[1],
    )


def parse_text(body: bytes) -> str:
    """Read the question of a body that may have none; an empty one is fine."""
    content = _object(body) if body.strip() else {}
    return _text(_last_of_user(content["messages"])) if "messages" in content else ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadQuestion("The body is not JSON.") from error
    if not isinstance(content, dict):
        raise BadQuestion("The body is not a JSON object.")
    return content


def _last_of_user(messages: object) -> dict[str, Any]:
    if not isinstance(messages, list) or not messages:
        raise BadQuestion("'messages' is a list of at least one message.")
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == Message.Role.USER:
            return message
    raise BadQuestion("'messages' has no message of the role 'user'.")


def is_key(value: object) -> TypeGuard[str]:
    """Tell whether this may be the id of a chat or of a message."""
    return isinstance(value, str) and 1 <= len(value) <= KEY_LENGTH and value.isprintable()


def _key(value: object, name: str) -> str:
    if not is_key(value):
        raise BadQuestion(f"{name} is a string of 1 to {KEY_LENGTH} printable characters.")
    return value


def _text(message: dict[str, Any]) -> str:
    """Join the text parts of a message; a plain 'content' does as well."""
    match message:
        case {"parts": [*parts]}:
            texts = [_part_text(part) for part in parts]
        case {"content": str(content)}:
            texts = [content]
        case _:
            texts = []
    text = "".join(texts).strip()
    if not text:
        raise BadQuestion("The message has no text.")
    if not _is_storable(text):
        raise BadQuestion("The message has characters that no text has.")
    return text


def _is_storable(text: str) -> bool:
    """Tell whether every database takes this: JSON may have zeros and halves of surrogate pairs."""
    return UNSTORABLE.search(text) is None


def _part_text(part: object) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
    return ""
