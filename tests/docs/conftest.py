"""The project of the guide, written down and served: one for all tests, which differ by tenant."""

import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from example_project.private_redis import free_port
from tests.tools.lengthy import starts_a_process
from tests.tools.serving import PLAIN, until_it_answers

from .pages import DOCS, write_files

PASSWORD = "correct horse battery"
USERS = """
from django.contrib.auth.models import User
for name in ("alice", "bob"):
    User.objects.create_user(name, password={password!r})
"""


@dataclass
class Project:
    """The project of the guide, with a database and a key prefix of its own."""

    path: Path
    environment: dict[str, str]
    url: str = ""
    log: Path = field(default_factory=Path)

    def run(self, *arguments: str, **environment: str) -> str:
        """Run Python in it; return what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.path,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def operate(self, verb: str, *arguments: str) -> str:
        return self.run("manage.py", "resumable_streams", verb, *arguments)

    @contextmanager
    def serve(self, application: str = "mysite.asgi", **environment: str) -> Iterator[str]:
        """Serve it in a process of its own, and yield the address."""
        port = free_port()
        command = f"-m uvicorn --port {port} {application}:application"
        with self.log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command.split()],
                cwd=self.path,
                env={**os.environ, **self.environment, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            until_it_answers(process, f"http://127.0.0.1:{port}", self.log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)

    @contextmanager
    def worker(self, name: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a worker in a process of its own, until the block ends."""
        process = subprocess.Popen(
            [
                sys.executable,
                "manage.py",
                "resumable_streams",
                "worker",
                "--name",
                name,
                *arguments,
            ],
            cwd=self.path,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert "streams at a time" in process.stdout.readline()
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=30)

    def audit_log(self) -> list[dict[str, Any]]:
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture(scope="module")
@starts_a_process
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Any, redis_url: str) -> Project:
    """Write the project of the guide on top of what `startproject` makes."""
    path = tmp_path_factory.mktemp("guide")
    environment = {
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
        "REDIS_URL": redis_url,
        "ENVIRONMENT": uuid.uuid4().hex,
        "PYTHONPATH": os.pathsep.join([str(path), str(DOCS.parent)]),  # of this checkout
    }
    made = Project(path, environment, log=path / "server.log")
    subprocess.run(
        [sys.executable, "-m", "django", "startproject", "mysite", "."], cwd=path, check=True
    )
    write_files("guide.md", path)
    made.run("manage.py", "makemigrations", "-v", "0", "mysite")
    made.run("manage.py", "migrate", "-v", "0")
    made.run("manage.py", "shell", "-c", USERS.format(password=PASSWORD))
    return made


@pytest.fixture(scope="module")
def site(project: Project) -> Iterator[Project]:
    """Serve it; its connections to the store are made before any test counts connections."""
    with project.serve() as project.url:
        with login(project, "alice", "warm-up") as client:
            for address in ("/answer/", "/draft/"):
                ask(client, 1, address)
        yield project


def add_site(project: Project, domain: str) -> None:
    """Have a tenant: the guide looks each up."""
    with closing(sqlite3.connect(project.path / "db.sqlite3")) as database, database:
        query = "INSERT OR IGNORE INTO django_site (domain, name) VALUES (?, ?)"
        database.execute(query, [domain, domain])


@contextmanager
def login(
    project: Project, name: str | None, tenant: str, *, is_tenant: bool = True
) -> Iterator[httpx.Client]:
    """Be a browser at one tenant's address, of a user or of somebody who is not logged in."""
    if is_tenant:
        add_site(project, f"{tenant}.example.com")
    token = "a" * 32
    with httpx.Client(
        verify=PLAIN,
        base_url=project.url,
        timeout=30,
        headers={"Host": f"{tenant}.example.com", "X-CSRFToken": token},
        cookies={"csrftoken": token},
    ) as client:
        if name is not None:
            form = {"username": name, "password": PASSWORD}
            answer = client.post("/accounts/login/", data=form)
            assert answer.status_code == 302, answer.text
            client.cookies = httpx.Cookies({"sessionid": answer.cookies["sessionid"]})
            client.cookies.set("csrftoken", token)
        yield client


def ask(client: httpx.Client, words: int, address: str = "/answer/") -> httpx.Response:
    """Ask the model for that many words; return the whole answer."""
    return client.post(address, json={"question": words})


def stream_id(response: httpx.Response) -> str:
    return response.headers["X-Resumable-Stream-Id"]


def without_date(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [item for item in headers.items() if item[0] != "date"]
