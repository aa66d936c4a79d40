"""Answers in chunks: what a model, an agent and their tools may say."""

from typing import Any

CALL = {"toolCallId": "t1", "toolName": "look"}
DYNAMIC = {"toolCallId": "t2", "toolName": "ask", "dynamic": True}
PROVIDER = {"providerMetadata": {"openai": {"itemId": "i"}}}

START = {"type": "start", "messageId": "m"}
STEP, END_STEP = {"type": "start-step"}, {"type": "finish-step"}
FINISH = {"type": "finish"}


def _text(kind: str, name: str, *pieces: str, **more: Any) -> list[dict[str, Any]]:
    deltas = [{"type": f"{kind}-delta", "id": name, "delta": piece} for piece in pieces]
    return [
        {"type": f"{kind}-start", "id": name, **more},
        *deltas,
        {"type": f"{kind}-end", "id": name},
    ]


def _message(*chunks: dict[str, Any]) -> list[dict[str, Any]]:
    return [START, STEP, *chunks, END_STEP, FINISH]


SAMPLES: dict[str, list[dict[str, Any]]] = {
    "text": _message(*_text("text", "1", "Hel", "lo \U0001f600")),
    "reasoning": _message(
        *_text("reasoning", "r", "So", "."), *_text("text", "1", "Yes.", **PROVIDER)
    ),
    "two texts at once": _message(
        {"type": "text-start", "id": "1"},
        {"type": "text-start", "id": "2"},
        {"type": "text-delta", "id": "1", "delta": "a"},
        {"type": "text-delta", "id": "2", "delta": "b"},
        {"type": "text-delta", "id": "1", "delta": "c"},
        {"type": "text-end", "id": "2"},
        {"type": "text-end", "id": "1"},
    ),
    "tool": _message(
        {"type": "tool-input-start", **CALL},
        {"type": "tool-input-delta", "toolCallId": "t1", "inputTextDelta": '{"a":'},
        {"type": "tool-input-delta", "toolCallId": "t1", "inputTextDelta": "1}"},
        {"type": "tool-input-available", **CALL, "input": {"a": 1}},
        {"type": "tool-output-available", "toolCallId": "t1", "output": {"b": [2]}},
        *_text("text", "1", "Done."),
    ),
    "tool that waits": _message({"type": "tool-input-available", **CALL, "input": {}}),
    "tool that fails": _message(
        {"type": "tool-input-available", **CALL, "input": {}},
        {"type": "tool-output-error", "toolCallId": "t1", "errorText": "No."},
    ),
    "dynamic tool": _message(
        {"type": "tool-input-available", **DYNAMIC, "input": {}},
        {"type": "tool-output-available", "toolCallId": "t2", "output": "x", "dynamic": True},
    ),
    "two steps": [
        *_message({"type": "tool-input-available", **CALL, "input": {}})[:-2],
        {"type": "tool-output-available", "toolCallId": "t1", "output": None},
        END_STEP,
        *(STEP, *_text("text", "1", "Done."), END_STEP, FINISH),
    ],
    "files, sources and data": _message(
        {"type": "file", "mediaType": "image/png", "url": "https://example.org/a.png"},
        {"type": "source-url", "sourceId": "s", "url": "https://example.org", "title": "E"},
        {"type": "source-document", "sourceId": "d", "mediaType": "text/plain", "title": "D"},
        {"type": "data-weather", "id": "w", "data": {"is": "loading"}},
        {"type": "data-weather", "id": "w", "data": {"is": "fine"}},
        {"type": "data-weather", "data": 1},
    ),
}
