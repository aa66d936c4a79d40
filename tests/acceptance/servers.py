"""Real server processes of the example, and visitors who talk to them over HTTP."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from example_project.private_redis import free_port
from tests.tools.serving import PLAIN, until_it_answers

ROOT = Path(__file__).resolve().parent.parent.parent

APPLICATION = "example_project.asgi:application"
COMMANDS = {
    "daphne": f"-m daphne -b 127.0.0.1 -p {{port}} {APPLICATION}",
    "uvicorn": f"-m uvicorn --host 127.0.0.1 --port {{port}} --log-level warning {APPLICATION}",
    "hypercorn": f"-m hypercorn --bind 127.0.0.1:{{port}} {APPLICATION}",
    "granian": f"-m granian --interface asgi --host 127.0.0.1 --port {{port}} {APPLICATION}",
    "gunicorn": f"-m gunicorn -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{{port}} {APPLICATION}",
}
WSGI = "example_project.wsgi:application"
GUNICORN = "-m gunicorn -b 127.0.0.1:{port} --graceful-timeout 12"
WSGI_COMMANDS = {
    "gunicorn sync": f"{GUNICORN} -w 3 {WSGI}",
    "gunicorn gthread": f"{GUNICORN} -k gthread --threads 8 {WSGI}",
    "gunicorn gthread --preload": f"{GUNICORN} -k gthread --threads 8 --preload {WSGI}",
    "gunicorn gevent": f"{GUNICORN} -k gevent {WSGI}",
    "runserver (WSGI)": "manage.py runserver --noreload 127.0.0.1:{port}",
}


IMPATIENT = "daphne that is impatient"
GUNICORN_ASGI = "gunicorn with its own ASGI worker"
VARIANTS = {
    IMPATIENT: f"{COMMANDS['daphne']} --http-timeout 2",
    GUNICORN_ASGI: f"-m gunicorn -k asgi -b 127.0.0.1:{{port}} {APPLICATION}",
}


@dataclass
class Server:
    """Be one server process; `log` is what it has written."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pids(self) -> list[int]:
        """The process and its workers, where it has some."""
        return _family(self.process.pid)

    def kill(self) -> None:
        """End the process as power loss would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()

    def written(self) -> str:
        return self.log.read_text(errors="replace")


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def migrate(environment: Mapping[str, str]) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--noinput", "-v", "0"],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=True,
    )


@contextmanager
def serve(environment: Mapping[str, str], log: Path, kind: str = "daphne") -> Iterator[Server]:
    """Run the example in a process of its own, on a free port, and stop it at the end."""
    with launch((COMMANDS | WSGI_COMMANDS | VARIANTS)[kind], environment, log) as server:
        yield server


@contextmanager
def launch(command: str, environment: Mapping[str, str], log: Path) -> Iterator[Server]:
    """Run a command of Python that serves at `{port}`, until the block ends."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command.format(port=port).split()],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(url=f"http://127.0.0.1:{port}", process=process, log=log)
    try:
        until_it_answers(process, server.url, log)
        yield server
    finally:
        server.stop()


@contextmanager
def visitor(server: Server) -> Iterator[httpx.Client]:
    """Be a browser session: with cookies, sending the CSRF token of its page."""
    with httpx.Client(verify=PLAIN, base_url=server.url, timeout=30) as client:
        client.get("/")
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        yield client


def warmed_up(server: Server) -> Server:
    """Have a server make its connections, before any test counts those."""
    with visitor(server) as client:
        client.post("/api/raw")
    return server


def at(server: Server, client: httpx.Client) -> httpx.Client:
    """Return the same visitor at another server of the site."""
    return httpx.Client(
        verify=PLAIN,
        base_url=server.url,
        timeout=30,
        cookies=client.cookies,
        headers=dict(client.headers),
    )
