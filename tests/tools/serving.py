"""Server processes: when they can be asked."""

import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx

from .waiting import until

__all__ = ["PLAIN", "until_it_answers"]

PAUSE_SECONDS = 0.02  # the server needs the processor, too
PLAIN = ssl.create_default_context()
"""What a client of HTTP is given as `verify`, as it would load all certificates for itself."""


def until_it_answers(process: "subprocess.Popen[Any]", url: str, log: Path) -> None:
    """Wait for any answer; fail with what the server has written if it ends before."""

    def answers() -> bool:
        assert process.poll() is None, f"It did not start:\n{log.read_text(errors='replace')}"
        return client.get(url).status_code > 0

    with httpx.Client(timeout=5, verify=PLAIN) as client:
        until(answers, passing=(httpx.TransportError,), seconds=60, pause=PAUSE_SECONDS)
