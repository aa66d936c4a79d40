"""docs/websocket.md: its code is served, its tables are those of the code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resumable_streams.consumers import CloseCode, StreamConsumer
from resumable_streams.http.response import ANSWERS
from resumable_streams.websocket.messages import _OPTIONAL, _REQUIRED, MessageType

from .conftest import Project
from .pages import DOCS, section, write_files

PAGE = "websocket.md"
PACKAGE = DOCS.parent / "resumable_streams"
SOURCE = "".join(
    path.read_text()
    for path in (PACKAGE / "consumers.py", *sorted((PACKAGE / "websocket").glob("*.py")))
)
HTTP_ONLY = {"inside_a_frame", "invalid_page", "no_owner", "shutting_down"}
"""The words of answers to requests for which a socket closes, or which it never needs."""

SETTINGS = """
INSTALLED_APPS += ["resumable_streams"]
RESUMABLE_STREAMS = {"default": {"BACKEND": "resumable_streams.stores.memory.MemoryStore"}}
ALLOWED_HOSTS = ["127.0.0.1"]
"""
SESSION = """
from django.contrib.sessions.backends.db import SessionStore
session = SessionStore()
session["seen"] = 1
session.create()
print(session.session_key)
"""


def rows(title: str) -> list[list[str]]:
    """Return the cells of the rows of a section's first table."""
    lines = re.findall(r"^\|(.*)\|$", section(PAGE, title).partition("\n\n\n")[0], re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in lines[2:]]


def words(cell: str) -> set[str]:
    return set(re.findall(r"`([\w-]+)`", cell))


def test_the_messages_of_clients_are_those_that_are_read() -> None:
    found = {}
    for line in re.findall(r"^\|(.*)\|$", section(PAGE, "What clients send"), re.MULTILINE)[2:]:
        kind, needs, may_have, _ = line.split("|", 3)
        (name,) = words(kind)
        found[name] = (words(needs), words(may_have))
    assert found == {
        str(kind): (set(_REQUIRED.get(kind, ())), set(_OPTIONAL[kind])) for kind in MessageType
    }


def test_the_messages_that_clients_get_are_those_that_are_sent() -> None:
    named = {name for row in rows("What clients get") for name in words(row[0])}
    sent = set(re.findall(r"""(?:type=|"type": )"([a-z-]+)\"""", SOURCE))
    assert named == sent


def test_the_errors_are_those_that_are_sent() -> None:
    named = {word for row in rows("Errors") for word in words(row[0])}
    ours = set(re.findall(r"""(?:_Refused\(|"?error"?[:=] ?)"([a-z_]+)\"""", SOURCE))
    http = {word for _, word in ANSWERS.values()} | {"stream_not_found", "beyond_the_end"}
    assert named == ours | (http | {"too_large"}) - HTTP_ONLY


def test_the_codes_are_those_of_the_class() -> None:
    assert [int(row[0]) for row in rows("Close codes")] == sorted(CloseCode)


def test_the_attributes_have_their_defaults() -> None:
    for name, default, _ in rows("Your consumer")[:7]:
        (attribute,) = words(name)
        value = getattr(StreamConsumer, attribute)
        shown = f'"{value}"' if isinstance(value, str) else re.sub("_", "", default.strip("`"))
        assert default.strip("`") == shown or str(value) == shown


def test_a_socket_takes_five_lines() -> None:
    code = section(PAGE, "A first socket").split("# mysite/sockets.py\n")[1].partition("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) == 5


@pytest.mark.lengthy
def test_the_client_of_the_page_follows_the_consumer_of_the_page(tmp_path: Path) -> None:
    environment = {
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(DOCS.parent)]),
    }
    project = Project(tmp_path, environment, log=tmp_path / "server.log")
    start = [sys.executable, "-m", "django", "startproject", "mysite", "."]
    subprocess.run(start, cwd=tmp_path, check=True)
    assert "mysite/consumers.py" in write_files(PAGE, tmp_path)
    with (tmp_path / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    project.run("manage.py", "migrate", "-v", "0")
    session = project.run("manage.py", "shell", "-v", "0", "-c", SESSION).strip()
    with project.serve("mysite.sockets") as url:
        address = url.replace("http:", "ws:") + "/ws/streams/"
        printed = project.run("client.py", address, url, session, "to be or not")
        assert printed == "to, be, or, not,  done\n"
    asked = "import mysite.asgi, mysite.consumers; print(mysite.consumers.Answers.as_asgi())"
    assert "Answers" in project.run("-c", asked)
