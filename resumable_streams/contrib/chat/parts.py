"""The parts of UI messages that clients post: checked, bounded, and storable. Pure.

https://ai-sdk.dev/docs/reference/ai-sdk-core/ui-message
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

__all__ = [
    "MAX_KEY_LENGTH",
    "BadQuestion",
    "bounded",
    "is_key",
    "read_question_parts",
    "storable",
    "tool_results",
]

Part = dict[str, Any]

MAX_KEY_LENGTH = 128
MAX_PARTS = 100
MAX_LEVELS = 64
"""How deep the JSON of a message may be. Some databases take 100 levels; and what copies a message
calls itself at each of them."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_FILE_ADDRESS = re.compile(r"https?://\S+|/[^/\\\s]\S*")

RESULT_STATES = {
    "input-available": ("output-available", "output-error"),
    "approval-requested": ("approval-responded", "output-available", "output-error"),
}
"""The states of a tool call in which a client may answer it, and those of its answer."""


class BadQuestion(ValueError):
    """A request that cannot be understood; the message is for the author of its client."""

    word = "bad_request"
    status = 400


class TooLarge(BadQuestion):
    """A message of more bytes or parts than are accepted."""

    word = "too_large"
    status = 413


def is_key(value: object) -> TypeGuard[str]:
    """Return whether this may be the id of a conversation or of a message."""
    return isinstance(value, str) and 1 <= len(value) <= MAX_KEY_LENGTH and value.isprintable()


def read_question_parts(message: Mapping[str, Any]) -> list[Part]:
    """Return the parts of a question; raise BadQuestion for one that no user may send.

    A plain `content` becomes one part of text. Keys that a part has beyond its own are dropped.
    """
    match message:
        case {"parts": [*found]}:
            parts = [_question_part(part) for part in found]
        case {"content": str(content)}:
            parts = [{"type": "text", "text": content}]
        case _:
            raise BadQuestion("A message has 'parts', a list.")
    if not any(part["type"] != "text" or part["text"].strip() for part in parts):
        raise BadQuestion("The message has no text, and no other part.")
    if len(parts) > MAX_PARTS:
        raise TooLarge(f"A message has at most {MAX_PARTS} parts.")
    return parts


def _question_part(part: Any) -> Part:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "file", "mediaType": str(kind), "url": str(url)}:
            return _file(part, kind, url)
        case {"type": str(kind), "data": data} if kind.startswith("data-"):
            named = {"id": part["id"]} if is_key(part.get("id")) else {}
            return {"type": kind, **named, "data": data}
        case {"type": str(kind)}:
            raise BadQuestion(f"A question has no part of the type {kind[:40]!r} in this form.")
    raise BadQuestion("A part is an object with a 'type'.")


def _file(part: Mapping[str, Any], kind: str, url: str) -> Part:
    """Return a file by its address: its bytes do not belong in a message."""
    if not _FILE_ADDRESS.fullmatch(url) or len(url) > 2_048:
        raise BadQuestion("The 'url' of a file is an address of http, https, or of this site.")
    name = part.get("filename")
    named = {"filename": name} if isinstance(name, str) else {}
    return {"type": "file", "mediaType": kind, **named, "url": url}


def bounded(value: Any, *, size: int) -> Any:
    """Return a value that can be stored in `size` bytes of JSON; raise BadQuestion otherwise."""
    if _is_deeper(value, MAX_LEVELS):
        raise BadQuestion(f"The message has more than {MAX_LEVELS} levels.")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        is_storable = storable(value) == value
    except ValueError as error:
        raise BadQuestion("The message has numbers that cannot be stored.") from error
    if not is_storable:
        raise BadQuestion("The message has characters that cannot be stored.")
    if len(text.encode()) > size:
        raise TooLarge(f"A message has at most {size} bytes.")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [inner for one in layer for inner in _inside(one)]
    return bool(layer)


def _inside(value: Any) -> Iterable[Any]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
    return ()


def storable(value: Any) -> Any:
    """Return JSON that every database accepts: halves of characters are joined, or replaced."""
    match value:
        case str():
            return _storable_text(value) if _UNSTORABLE.search(value) else value
        case dict():
            return {storable(key): storable(one) for key, one in value.items()}
        case list() | tuple():
            return [storable(one) for one in value]
    return value


def _storable_text(text: str) -> str:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\ufffd")


def tool_results(saved: Sequence[Part], posted: Mapping[str, Any]) -> list[Part] | None:
    """Return the saved parts with the results that a client has added; None if there are none.

    Nothing else of the message can be changed by a client: neither text nor the input of a tool.
    """
    found = posted.get("parts")
    listed = found if isinstance(found, list) else []
    calls = {_call_id(part): part for part in listed if isinstance(part, dict)}
    merged = [_with_result(part, calls.get(_call_id(part))) for part in saved]
    return None if merged == list(saved) else merged


def _call_id(part: Mapping[str, Any]) -> str | None:
    kind, call = part.get("type"), part.get("toolCallId")
    is_tool = isinstance(kind, str) and (kind.startswith("tool-") or kind == "dynamic-tool")
    return call if is_tool and isinstance(call, str) else None


def _with_result(part: Part, posted: Mapping[str, Any] | None) -> Part:
    if posted is None or _call_id(part) is None:
        return part
    state = posted.get("state")
    if state not in RESULT_STATES.get(part.get("state", ""), ()):
        return part
    result = {name: posted[name] for name in ("output", "errorText") if name in posted}
    if state == "approval-responded":
        result = {"approval": _approval(part, posted)}
    return {**part, "state": state, **result}


def _approval(part: Part, posted: Mapping[str, Any]) -> Part:
    asked, given = part.get("approval") or {}, posted.get("approval")
    given = given if isinstance(given, dict) else {}
    reason = given.get("reason")
    named = {"reason": reason} if isinstance(reason, str) else {}
    return {**asked, "approved": given.get("approved") is True, **named}
