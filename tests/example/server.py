"""Real servers of the example, each with a port and a database of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from example_project.private_redis import free_port
from tests.tools.serving import until_it_answers

ROOT = Path(__file__).resolve().parent.parent.parent
STOP_SECONDS = 30

Serve = Callable[..., str]


@contextmanager
def servers(folder: Path) -> Iterator[Serve]:
    """Yield what starts a server, with changes to its environment, and returns its address."""
    running: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> str:
        port = free_port()
        log = folder / f"{port}.log"
        variables = environment_for(folder / f"{port}.sqlite3", **environment)
        manage("migrate", "-v", "0", env=variables).check_returncode()
        with log.open("wb") as output:
            command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
            running.append(
                subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=output)
            )
        address = f"http://127.0.0.1:{port}"
        until_it_answers(running[-1], f"{address}/streams/none/", log)
        return address

    try:
        yield start
    finally:
        for server in running:
            server.kill()  # a polite end waits for the answers that tests leave behind
        for server in running:
            server.wait(STOP_SECONDS)


def environment_for(database: Path, **changes: str) -> dict[str, str]:
    """Return what a process of the example gets: nothing of the demo's settings outside."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DEMO_", "OPENAI_", "REDIS_", "COV_"))
    }
    own = {"DJANGO_SETTINGS_MODULE": "example_project.settings", "DEMO_DB": str(database)}
    return inherited | own | changes


def manage(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the example to its end."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60
    )
