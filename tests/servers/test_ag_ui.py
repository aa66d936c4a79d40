"""The client of AG-UI, from npm: it finishes runs, those that were cut, too."""

import json
import uuid
from typing import Any

import pytest

from tests.acceptance.servers import ROOT, Server

from .adopters import as_browser
from .conftest import Node, Proxy, Start
from .nginx import BLOCKS

CLIENT = ROOT / "resumable_streams" / "static" / "resumable_streams" / "client.js"
COUNT = 40
WHOLE = "".join(f"{number} " for number in range(COUNT))


def ran(node: Node, url: str, *, every: float = 0.0, **more: Any) -> tuple[list[Any], Any]:
    """Run the agent; return the lines it printed, and the last one."""
    agent = node(
        "agent.mjs",
        url=url,
        threadId="t-1",
        **{"runId": uuid.uuid4().hex, "headers": {"X-User": "me"}, **more},
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


def test_a_run_is_cancelled(start: Start, node: Node) -> None:
    _, last = ran(node, start().url, every=0.1, cancelAt=8)
    assert last["end"]["error"] == "cancelled"
    assert WHOLE.startswith(text(last))


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn"])
def test_a_run_whose_body_ends_early_goes_on_at_the_next_event(
    site: Any, redis_url: str, node: Node, kind: str
) -> None:
    server = frames_site(site, redis_url, kind, MAX_RESPONSE_SECONDS="1")
    lines, last = ran(node, server.url, every=0.08, client=CLIENT.as_uri())
    assert last["end"] == {"finished": 1}
    assert text(last) == WHOLE
    assert len([line for line in lines if "broken" in line]) >= 2
    assert [line["event"]["type"] for line in lines if "event" in line].count("RUN_STARTED") == 1


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn"])
def test_a_run_that_is_run_again_is_told_from_its_start(
    site: Any, redis_url: str, node: Node, kind: str
) -> None:
    """The id of the run is that of its stream, so the model is asked once."""
    server = frames_site(site, redis_url, kind, MAX_RESPONSE_SECONDS="1")
    lines, last = ran(node, server.url, every=0.08, tries=9)
    assert last["end"]["finished"] == 1
    assert [line["event"]["type"] for line in lines].count("RUN_STARTED") > 1
    assert text(last) == WHOLE


@pytest.mark.parametrize("block", BLOCKS)
def test_a_deploy_in_mid_run_is_no_end(
    site: Any, redis_url: str, proxy: Proxy, node: Node, block: str
) -> None:
    old, new = (frames_site(site, redis_url, "uvicorn", DRAIN_TIMEOUT="20") for _ in range(2))
    agent = node(
        "agent.mjs",
        url=proxy(old.url, new.url, block=block),
        headers={"X-User": "me"},
        threadId="t-1",
        runId=uuid.uuid4().hex,
        props={"count": COUNT, "every": 0.1},
        client=CLIENT.as_uri(),
    )
    assert agent.stdout is not None
    lines = []
    for line in agent.stdout:
        lines.append(json.loads(line))
        if len(lines) == 8:
            old.process.terminate()
    assert lines[-1]["end"] == {"finished": 1}
    assert text(lines[-1]) == WHOLE
    assert any("broken" in line for line in lines)


@pytest.mark.timeout(180)
def test_thirty_cuts_change_nothing_in_a_run_of_the_example(
    site: Any, redis_url: str, node: Node
) -> None:
    server = site("daphne", REDIS_URL=redis_url, DEMO_RATE="100")
    headers = as_browser(server.url)
    given: dict[str, Any] = {"path": "/api/agent", "question": "Why?", "headers": headers}
    undisturbed, whole = ran(node, server.url, **given)
    cut: dict[str, Any] = {"client": CLIENT.as_uri(), "cuts": 30, "seed": 7, "longest": 600}
    disturbed, last = ran(node, server.url, **cut, **given)
    assert (last["end"], last["cuts"]) == ({"finished": 1}, 30)
    assert text(last) == text(whole)
    assert told(disturbed) == told(undisturbed)


def told(lines: list[Any]) -> list[Any]:
    """Return the events of a run, without the names of the run and of its message."""
    names = ("runId", "messageId")
    events = [line["event"] for line in lines if "event" in line]
    return [{key: event[key] for key in event if key not in names} for event in events]


def frames_site(site: Any, redis_url: str, kind: str, **environment: str) -> Server:
    module = "tests.acceptance.frames_site"
    server: Server = site(kind, DJANGO_SETTINGS_MODULE=module, REDIS_URL=redis_url, **environment)
    return server
