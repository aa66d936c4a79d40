"""Real servers of the site of this folder."""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from tests.acceptance.servers import Server, launch, migrate
from tests.tools.lengthy import starts_a_process
from tests.tools.serving import PLAIN

APPLICATION = "tests.channels.site:application"
COMMANDS = {
    "daphne": f"-m daphne -b 127.0.0.1 -p {{port}} {APPLICATION}",
    "uvicorn": f"-m uvicorn --host 127.0.0.1 --port {{port}} --log-level warning {APPLICATION}",
}


class Serve(Protocol):
    def __call__(self, kind: str, **environment: str) -> Server: ...


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make the database that all servers of the site share."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.channels.site",
        "DEMO_DB": str(tmp_path_factory.mktemp("database") / "site.sqlite3"),
        "DEMO_DEBUG": "0",
        "KEY_PREFIX": f"test-{uuid.uuid4().hex}",
    }
    migrate(environment)
    return environment


@pytest.fixture
@starts_a_process
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    """Start servers that end with the test."""
    with ExitStack() as servers:
        yield partial(_start, servers, environment, tmp_path)


def _start(
    servers: ExitStack, environment: dict[str, str], folder: Path, kind: str, **more: str
) -> Server:
    log = folder / f"server-{uuid.uuid4().hex}.log"
    command = COMMANDS[kind]
    return servers.enter_context(launch(command, {**os.environ, **environment, **more}, log))


def log_in(server: Server, name: str) -> str:
    """Return the session of a user."""
    answer = httpx.get(f"{server.url}/log-in/{name}", verify=PLAIN, timeout=30).json()
    return str(answer["session"])


def state(server: Server) -> dict[str, Any]:
    """Return what a server says it holds."""
    answer: dict[str, Any] = httpx.get(f"{server.url}/state", verify=PLAIN, timeout=30).json()
    return answer
