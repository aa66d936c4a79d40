"""A site with a chat whose questions say, in JSON, how they are to be answered.

`{"count": 10, "every": 0.1}` are ten words at a pace; with `"tool"` the client is asked first, with
`"fail"` the provider breaks off. The caller is whoever the header says.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from tests.acceptance.deploy_site import *  # noqa: F403

ROOT_URLCONF = "tests.acceptance.chat_site"


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


def _urls() -> list[Any]:
    # Imported late: this module is the settings, too.
    from django.urls import include, path

    from resumable_streams.contrib.chat.views import ChatView

    class Assistant(ChatView):
        save_interval = 0.5

        async def answer(self, conversation: Any, messages: Any) -> Any:
            asked = next(one for one in reversed(messages) if one.role == "user")
            plan = json.loads(asked.text)
            return answer_to(plan, has_asked=messages[-1].role == "assistant")

    return [path("api/", include(Assistant.urls("chat")))]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
