"""The code of docs/formats.md, asked over HTTP as its clients ask, and its tables."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient
from django.urls import include, path
from pytest_django import Settings

from resumable_streams.conf import AliasSettings
from resumable_streams.formats import get_format
from resumable_streams.formats.registry import BUILT_IN
from resumable_streams.sse import data_of
from resumable_streams.views import AcquireView
from tests.whatwg import events

from .pages import DOCS, write_files

PAGE = (DOCS / "formats.md").read_text()
FOLDERS = ("relays", "agents", "reports", "csvs")

urlpatterns: list[Any] = [path("streams/", include("resumable_streams.urls"))]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, key_prefix: str
) -> None:
    """Write the page down, and make it importable."""
    for folder in (*FOLDERS, "mysite"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "mysite" / "settings.py").touch()
    assert len(write_files("formats.md", tmp_path)) == 5
    monkeypatch.syspath_prepend(tmp_path)
    written = {"__name__": "settings"}
    exec((tmp_path / "mysite" / "settings.py").read_text(), written)
    given: Any = written["RESUMABLE_STREAMS"]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix, **given["default"]}}
    for name in [name for name in sys.modules if name.partition(".")[0] in FOLDERS]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> AsyncClient:
    return AsyncClient()


async def ask(client: AsyncClient, view: type[AcquireView], **body: Any) -> Any:
    """Return the response of a view, as one at the address `ask/` gives it."""
    urlpatterns[1:] = [path("ask/", view.as_view())]
    return await client.post("/ask/", json.dumps(body), content_type="application/json")


async def read(response: Any) -> bytes:
    assert response.status_code == 200
    return b"".join([part async for part in response])


async def test_a_relay_ends_without_an_event_of_ours(client: AsyncClient):
    body = await read(await ask(client, import_module("relays.views").Relay))
    frames = [data_of(frame) for frame in body.split(b"\n\n")[:-1]]
    assert frames == [
        "a text is the data of an event", '{"json":true}', "an event with a name", "[DONE]", "",
    ]  # fmt: skip
    assert re.fullmatch(rb"id: \w+-end", body.split(b"\n\n")[-2])


async def test_a_report_is_rendered(client: AsyncClient, tmp_path: Path, settings: Settings):
    (tmp_path / "reports" / "row.html").write_text("<p>{{ name }}: {{ amount }}</p>")
    backend = "django.template.backends.django.DjangoTemplates"
    settings.TEMPLATES = [{"BACKEND": backend, "DIRS": [tmp_path]}]
    body = await read(await ask(client, import_module("reports.views").Report))
    assert [(event.type, event.data) for event in events(body)] == [
        ("fragment", "<h2>Profit &amp; loss</h2>"),
        ("fragment", "<p>Sales: 1200</p>"),
        ("fragment", "Text of a model, such as &lt;script&gt;, is escaped."),
        ("done", '{"status":"done"}'),
    ]


async def test_an_agent_makes_a_whole_run(client: AsyncClient):
    agent = import_module("agents.views").Agent
    response = await ask(client, agent, threadId="t", runId="r-1")
    events = [json.loads(data_of(frame)) for frame in (await read(response)).split(b"\n\n")[:-1]]
    assert [event["type"].removeprefix("TEXT_MESSAGE_") for event in events] == [
        "RUN_STARTED", "START", "CONTENT", "END", "STATE_SNAPSHOT", "START", "CONTENT", "END",
        "RUN_FINISHED",
    ]  # fmt: skip
    assert events[0] == {"type": "RUN_STARTED", "threadId": "t", "runId": "r-1"}
    again = await ask(client, agent, threadId="t", runId="r-1")
    assert again["X-Resumable-Stream-Epoch"] == response["X-Resumable-Stream-Epoch"]


async def test_rows_are_written_by_a_format_of_the_project(client: AsyncClient):
    class Table(AcquireView):
        format = "csv"

        async def produce(self, request: Any) -> Any:
            return [{"name": "Ada, Countess", "born": 1815}, "bytes and text stay\n"]

    response = await ask(client, Table)
    assert response["Content-Type"] == "text/csv"
    assert await read(response) == b'"Ada, Countess",1815\r\nbytes and text stay\n'


def test_the_table_has_each_format() -> None:
    _, _, table = PAGE.partition("## The formats")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)[:6] == [
        each.name for each in BUILT_IN
    ]
    assert get_format("csv").content_type == "text/csv"
    assert AliasSettings(alias="default").formats == ()
