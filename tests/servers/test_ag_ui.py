"""The client of AG-UI, from npm: it finishes runs, those that were cut, too."""

import json
import uuid
from typing import Any

from .conftest import Node, Start

COUNT = 40
WHOLE = "".join(f"{number} " for number in range(COUNT))


def ran(node: Node, url: str, *, every: float = 0.0, **more: Any) -> tuple[list[Any], Any]:
    """Run the agent; return the lines it printed, and the last one."""
    agent = node(
        "agent.mjs",
        url=url,
        headers={"X-User": "me"},
        threadId="t-1",
        **{"runId": uuid.uuid4().hex, **more},
        props={"count": COUNT, "every": every},
    )
    assert agent.stdout is not None
    *lines, last = [json.loads(line) for line in agent.stdout]
    assert agent.wait() == 0
    return lines, last


def text(last: Any) -> str:
    return "".join(message["content"] for message in last["messages"])


def test_a_run_of_plain_text_is_finished(start: Start, node: Node) -> None:
    run_id = uuid.uuid4().hex
    lines, last = ran(node, start().url, runId=run_id)
    assert last["end"] == {"finished": 1}
    assert text(last) == WHOLE
    run = {"threadId": "t-1", "runId": run_id}
    assert lines[0]["event"] == {"type": "RUN_STARTED", **run}
    assert lines[-1]["event"] == {"type": "RUN_FINISHED", **run}
    assert len(last["messages"]) == 2  # an event stood between them
