"""The events of AG-UI for the parts of a UI message: any provider in the format `ag_ui`.

    from resumable_streams.contrib import ag_ui
    from resumable_streams.contrib.openai import parts

    async def produce(self, request):
        return ag_ui.events(parts(client.responses.create(…, stream=True)))

pydantic-ai makes such events by itself: `contrib.pydantic_ai.events`. The format adds the events of
the run. AG-UI has no place for sources, so they are left out.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from .answers import Part

__all__ = ["events"]

Event = dict[str, Any]


async def events(parts: AsyncIterator[Part]) -> AsyncIterator[Event]:
    """Yield the events that parts become."""
    messages = Messages()
    async with aclosing(parts) as opened:  # type: ignore[type-var]
        async for part in opened:
            for event in messages.events(part):
                yield event


class Messages:
    """The messages of a run. Ids of parts are unique in a step, ids of messages in a thread."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._streamed: set[str] = set()  # calls whose input came in pieces

    def events(self, part: Part) -> Iterator[Event]:
        """Yield the events that a part becomes."""
        kind: str = part["type"]
        if kind.startswith("text-"):
            yield self._words(part, "TEXT_MESSAGE", "assistant")
        elif kind.startswith("reasoning-"):
            yield from self._reasoning(part)
        elif "toolCallId" in part:
            yield from self._tool(part)
        elif kind == "message-metadata":
            yield {"type": "CUSTOM", "name": "metadata", "value": part["messageMetadata"]}

    def _words(self, part: Part, message: str, role: str) -> Event:
        if part["type"].endswith("-start"):
            self._ids[part["id"]] = uuid4().hex
            return {"type": f"{message}_START", "messageId": self._ids[part["id"]], "role": role}
        message_id = self._ids[part["id"]]
        if part["type"].endswith("-end"):
            return {"type": f"{message}_END", "messageId": message_id}
        return {"type": f"{message}_CONTENT", "messageId": message_id, "delta": part["delta"]}

    def _reasoning(self, part: Part) -> Iterator[Event]:
        """Yield the events of a message of reasoning, which stands alone in its block."""
        event = self._words(part, "REASONING_MESSAGE", "reasoning")
        if event["type"].endswith("_START"):
            yield {"type": "REASONING_START", "messageId": event["messageId"]}
        yield event
        if event["type"].endswith("_END"):
            yield {"type": "REASONING_END", "messageId": event["messageId"]}

    def _tool(self, part: Part) -> Iterator[Event]:
        call = {"toolCallId": part["toolCallId"]}
        match part["type"]:
            case "tool-input-start":
                yield {"type": "TOOL_CALL_START", **call, "toolCallName": part["toolName"]}
            case "tool-input-delta":
                self._streamed.add(part["toolCallId"])
                yield {"type": "TOOL_CALL_ARGS", **call, "delta": part["inputTextDelta"]}
            case "tool-input-available" | "tool-input-error":
                if part["toolCallId"] not in self._streamed:
                    yield {"type": "TOOL_CALL_ARGS", **call, "delta": _text(part["input"])}
                yield {"type": "TOOL_CALL_END", **call}
            case "tool-output-available" | "tool-output-error":
                content = _text(part.get("output", part.get("errorText")))
                message = {"messageId": uuid4().hex, "role": "tool", "content": content}
                yield {"type": "TOOL_CALL_RESULT", **call, **message}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
