"""docs/chat.md: its project is built and asked, its lines are counted, its tables are true."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.urls import include, path, reverse

from resumable_streams.contrib.chat.models import Message
from resumable_streams.contrib.chat.views import ChatView
from tests.tools.lengthy import starts_a_process
from tests.tools.serving import PLAIN

from .conftest import Project
from .pages import DOCS, commands, section, write_files

PAGE = "chat.md"
MOST_LINES = 15


class Assistant(ChatView):
    def answer(self, conversation, messages):
        return []


urlpatterns = [path("api/", include(Assistant.urls("chat")))]


def rows(title: str) -> list[list[str]]:
    """Return the cells of each row of a section's tables."""
    lines = re.findall(r"^\|(.*)\|$", section(PAGE, title), re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def project_of_the_page(folder: Path) -> Project:
    """Write the project of the page on top of what `startproject` makes."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
        "PYTHONPATH": os.pathsep.join([str(folder), str(DOCS.parent)]),
    }
    made = Project(folder, environment, log=folder / "server.log")
    start = [sys.executable, "-m", "django", "startproject", "mysite", "."]
    subprocess.run(start, cwd=folder, check=True)
    write_files(PAGE, folder)
    templates = folder / "mysite" / "templates"
    templates.mkdir()
    (templates / "chat.html").write_text('{{ chat|json_script:"chat" }}')
    settings = folder / "mysite" / "settings.py"
    text = settings.read_text().replace('"DIRS": []', f'"DIRS": [{str(templates)!r}]')
    settings.write_text(text.replace("'DIRS': []", f"'DIRS': [{str(templates)!r}]"))
    made.run("manage.py", "migrate", "-v", "0")
    return made


@pytest.fixture(scope="module")
@starts_a_process
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Build the project of the page, and serve it."""
    made = project_of_the_page(tmp_path_factory.mktemp("chat"))
    with made.serve() as made.url:
        yield made


def code(file: str) -> list[str]:
    """Return the lines of code of a file of the page."""
    block = re.search(rf"```python\n# {file}\n(.*?)```", (DOCS / PAGE).read_text(), re.DOTALL)
    assert block, file
    return [line for line in block[1].splitlines() if line.strip()]


def test_a_chat_takes_at_most_fifteen_lines() -> None:
    files = ("mysite/settings.py", "mysite/urls.py", "mysite/chat.py")
    assert sum(len(code(file)) for file in files) <= MOST_LINES


def test_the_project_of_the_page_answers_and_remembers(project: Project) -> None:
    question = {"id": "q", "role": "user", "parts": [{"type": "text", "text": "one two"}]}
    with httpx.Client(verify=PLAIN, base_url=project.url, timeout=30) as browser:
        assert '"messages": []' in browser.get("/").text
        browser.headers["X-CSRFToken"] = browser.cookies["csrftoken"]
        answer = browser.post("/api/chat", json={"id": "first", "messages": [question]})
        assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
        page = browser.get("/").text
        chat = json.loads(re.search(r"<script[^>]*>(.*)</script>", page)[1])  # type: ignore[index]
        assert [one["parts"][-1]["text"] for one in chat["messages"]] == ["one two", "one two "]
        assert browser.get("/api/chat").json()["conversations"][0]["title"] == "one two"


def test_the_commands_print_what_the_page_says(project: Project) -> None:
    for command in commands(PAGE):
        assert project.run(*shlex.split(command.line)[1:]).strip() == command.output


@pytest.mark.urls(__name__)
def test_the_table_of_addresses_is_that_of_the_class() -> None:
    found = {
        (row[0].strip("`"), *row[1].strip("`").partition("`")[0].split()[:2])
        for row in rows("Addresses")
        if row[0].startswith("`chat")
    }
    methods = {
        "chat": ("POST", "GET"),
        "chat-stream": ("GET",),
        "chat-stop": ("POST",),
        "chat-detail": ("GET", "PATCH", "DELETE"),
    }
    named = {name: [] if name == "chat" else ["<id>"] for name in methods}
    assert {(name, method, at.partition("?")[0]) for name, method, at in found} == {
        (name, method, reverse(name, args=named[name]).lstrip("/").replace("%3Cid%3E", "<id>"))
        for name in methods
        for method in methods[name]
    }


def test_the_table_of_attributes_is_that_of_the_class() -> None:
    table = {row[0].strip("`"): row[1].strip("`") for row in rows("The class")[2:]}
    assert list(table) == [
        *("using", "on_busy", "save_interval", "max_message_bytes", "max_messages"),
        *("max_history_bytes", "page_size", "ttl", "enqueue"),
    ]
    for name, value in table.items():
        assert eval(value) == getattr(ChatView, name), name


def test_the_statuses_of_the_page_are_those_of_the_model() -> None:
    text = section(PAGE, "Addresses")
    assert all(f"`{status}`" in text for status in Message.Status.values)


def test_the_code_of_the_page_compiles() -> None:
    for block in re.findall(r"```python\n(.*?)```", Path(DOCS / PAGE).read_text(), re.DOTALL):
        compile(block, PAGE, "exec")
