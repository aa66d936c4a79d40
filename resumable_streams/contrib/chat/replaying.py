"""From parts back to chunks, for answers whose log is gone, or begins later. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from ...formats import ui_message

__all__ = ["chunks_of", "replay"]

Part = dict[str, Any]

_KEPT = ("title", "toolMetadata", "providerExecuted")


def chunks_of(parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    """Yield chunks from which a client builds these parts."""
    has_step = False
    for number, part in enumerate(parts):
        match part:
            case {"type": "step-start"}:
                if has_step:
                    yield {"type": "finish-step"}
                has_step = True
                yield {"type": "start-step"}
            case {"type": "text" | "reasoning" as kind, "text": text}:
                yield from _text_chunks(kind, part.get("id") or f"saved:{number}", part, text)
            case {"toolCallId": _}:
                yield from _tool_chunks(part)
            case _:
                yield {name: value for name, value in part.items() if name != "state"}
    if has_step:
        yield {"type": "finish-step"}


def _text_chunks(kind: str, text_id: str, part: Part, text: str) -> Iterator[dict[str, Any]]:
    found = part.get("providerMetadata")
    more = {} if found is None else {"providerMetadata": found}
    yield {"type": f"{kind}-start", "id": text_id, **more}
    if text:
        yield {"type": f"{kind}-delta", "id": text_id, "delta": text}
    yield {"type": f"{kind}-end", "id": text_id}


def _tool_chunks(part: Part) -> Iterator[dict[str, Any]]:
    is_dynamic = part["type"] == "dynamic-tool"
    call = {"toolCallId": part["toolCallId"]}
    name = part.get("toolName") if is_dynamic else part["type"].removeprefix("tool-")
    dynamic = {"dynamic": True} if is_dynamic else {}
    more = {key: part[key] for key in _KEPT if key in part}
    start = {**call, "toolName": name, **dynamic, **more}
    state = part.get("state")
    if state == "input-streaming":
        yield {"type": "tool-input-start", **start}
        return
    yield {"type": "tool-input-available", **start, "input": part.get("input")}
    if (approval := part.get("approval")) is not None:
        yield {"type": "tool-approval-request", **call, "approvalId": approval.get("id")}
    result = {**call, **dynamic}  # without it, version 5 of the SDK finds no such call
    if state == "output-available":
        yield {"type": "tool-output-available", **result, "output": part.get("output")}
    elif state == "output-error":
        yield {"type": "tool-output-error", **result, "errorText": part.get("errorText", "")}
    elif state == "output-denied":
        yield {"type": "tool-output-denied", **call}


def replay(key: str, parts: Sequence[Part]) -> bytes:
    """Return the frames of a message up to its end, from its start on."""
    chunks = [{"type": "start", "messageId": key}, *chunks_of(parts)]
    return b"".join(map(ui_message.part, chunks))
