"""Projects that leave out what most have: every command runs, the server starts and streams."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.servers import free_port

ROOT = Path(__file__).resolve().parents[2]

AUTH = ["django.contrib.auth", "django.contrib.contenttypes"]
SESSIONS = ["django.contrib.sessions"]
PROJECTS: dict[str, dict[str, Any]] = {
    "nothing but streams": {"INSTALLED_APPS": []},
    "no auth and no contenttypes": {"INSTALLED_APPS": SESSIONS},
    "no sessions": {"INSTALLED_APPS": AUTH},
    "no admin": {"INSTALLED_APPS": [*AUTH, *SESSIONS]},
    "no database": {"INSTALLED_APPS": [], "DATABASES": {}},
}
FILES = {
    "manage.py": """
import os, sys
from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
""",
    "settings.py": """
SECRET_KEY = "x" * 50
DEBUG = True
ROOT_URLCONF = "urls"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
RESUMABLE_STREAMS = {"default": {"OWNER": "owners.owner"}}
""",
    "owners.py": """
def owner(request):
    return request.headers.get("X-Owner")
""",
    "urls.py": """
from django.urls import include, path
from resumable_streams.views import AcquireView

class Answer(AcquireView):
    async def produce(self, request):
        yield b"an answer"

urlpatterns = [
    path("answer/", Answer.as_view()),
    path("streams/", include("resumable_streams.urls")),
]
""",
}


@pytest.fixture(params=PROJECTS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a project down; return its folder."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    with (tmp_path / "settings.py").open("a") as settings:
        settings.writelines(f"{k} = {v!r}\n" for k, v in PROJECTS[request.param].items())
        settings.write('INSTALLED_APPS += ["resumable_streams"]\n')
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "manage.py", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(project: Path, *arguments: str) -> str:
    """Run a command, which has to succeed; return what it has written."""
    done = subprocess.run(
        command(*arguments),
        cwd=project,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def served(project: Path) -> Iterator[httpx.Client]:
    """Run Django's own server until it has answered."""
    port, log = free_port(), project / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command("runserver", "--noreload", str(port)),
            cwd=project,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    retries = httpx.HTTPTransport(retries=20)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=retries) as client:
            yield client
    except httpx.ConnectError:
        raise AssertionError(log.read_text()) from None
    finally:
        server.terminate()
        server.wait()


def test_the_commands_run_and_the_server_streams(project: Path):
    assert "0 silenced" in run(project, "check")
    if (project / "settings.py").read_text().count("DATABASES = ") == 1:
        assert "resumable_streams.0001" in run(project, "migrate", "--no-color")
        run(project, "makemigrations", "--check", "--dry-run")
    with served(project) as client:
        started = client.post("/answer/", headers={"X-Owner": "ada"})
        assert (started.status_code, started.content) == (200, b"an answer")
        address = f"/streams/{started.headers['X-Resumable-Stream-Id']}/"
        assert client.get(address, headers={"X-Owner": "ada"}).content == b"an answer"
        assert client.get(address, headers={"X-Owner": "bob"}).status_code == 404
        assert client.get(address).status_code == 401
