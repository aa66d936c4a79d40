"""Projects that leave out what most have: every command runs, the server starts and streams."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from example_project.private_redis import free_port
from tests.tools.waiting import until

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
for line in sys.argv[1:]:
    execute_from_command_line(["manage.py", *line.split()])
""",
    "settings.py": """
import os

SECRET_KEY = "x" * 50
DEBUG = True
ROOT_URLCONF = "urls"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
RESUMABLE_STREAMS = {
    "default": {
        "BACKEND": "resumable_streams.stores.redis.RedisStore",
        "LOCATION": os.environ["REDIS_URL"],
        "KEY_PREFIX": os.environ["KEY_PREFIX"],
        "OWNER": "owners.owner",
    }
}
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


@dataclass(frozen=True)
class Project:
    """A project in a folder of its own."""

    folder: Path
    environment: dict[str, str]
    has_database: bool

    def run(self, *lines: str) -> str:
        """Run commands in one process; return what they write. All have to succeed."""
        done = subprocess.run(
            self._command(*lines),
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        """Run Django's own server; yield a client of it when it listens."""
        port, log = free_port(), self.folder / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                self._command(f"runserver --noreload {port}"),
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                until(lambda: listens(port) or server.poll() is not None)
                assert server.poll() is None, log.read_text()
                yield client
        finally:
            server.terminate()
            server.wait()

    def _command(self, *lines: str) -> list[str]:
        return [sys.executable, "-W", "error", "manage.py", *lines]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=PROJECTS)
def project(
    request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, key_prefix: str
) -> Project:
    """Write a project down."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    here = PROJECTS[request.param]
    with (tmp_path / "settings.py").open("a") as settings:
        settings.writelines(f"{name} = {value!r}\n" for name, value in here.items())
        settings.write('INSTALLED_APPS += ["resumable_streams"]\n')
    ours = {"PYTHONPATH": str(ROOT), "REDIS_URL": redis_url, "KEY_PREFIX": key_prefix}
    return Project(tmp_path, {**os.environ, **ours}, "DATABASES" not in here)


def test_the_commands_run_and_the_server_streams(project: Project):
    migrate = ["migrate", "makemigrations --check --dry-run"] if project.has_database else []
    done = project.run("check", *migrate)
    assert "0 silenced" in done
    assert ("resumable_streams.0001" in done) == project.has_database
    with project.served() as client:
        ada = {"X-Owner": "ada"}
        started = client.post("/answer/", headers=ada)
        assert (started.status_code, started.content) == (200, b"an answer")
        address = f"/streams/{started.headers['X-Resumable-Stream-Id']}/"
        assert client.get(address, headers=ada).content == b"an answer"
        assert client.get(address, headers={"X-Owner": "bob"}).status_code == 404
        assert client.get(address).status_code == 401
        revoke = "resumable_streams revoke --tenant default --owner ada --yes"
        assert "1 stream" in project.run("resumable_streams audit --all-tenants", revoke)
        assert client.get(address, headers=ada).status_code == 404
