"""The chats of `chat_site`: answered where the request is, or by a worker."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.contrib.chat.views import ChatView


async def answer_to(plan: dict[str, Any], *, has_asked: bool) -> AsyncIterator[Any]:
    """Yield the answer that a plan asks for."""
    if plan.get("tool") and not has_asked:
        call = {"toolCallId": f"call-{plan['tool']}", "toolName": "where"}
        yield "Let me see."
        yield {"type": "tool-input-start", **call}
        yield {"type": "tool-input-available", **call, "input": {"asks": plan["tool"]}}
        return
    for number in range(plan["count"]):
        yield f"{number} "
        await asyncio.sleep(plan["every"])
    if plan.get("fail"):
        raise ConnectionError("The provider broke off.")


class Assistant(ChatView):
    """A chat that does as its questions say."""

    save_interval = 0.5

    async def answer(self, conversation: Conversation, messages: Sequence[Message]) -> Any:
        asked = next(one for one in reversed(messages) if one.role == "user")
        plan = json.loads(asked.text)
        return answer_to(plan, has_asked=messages[-1].role == "assistant")


class Queued(Assistant):
    """The same, by workers."""

    enqueue = True
