"""Server processes: when they can be asked."""

import subprocess
from pathlib import Path
from typing import Any

import httpx

from .waiting import until

__all__ = ["until_it_answers"]


def until_it_answers(process: "subprocess.Popen[Any]", url: str, log: Path) -> None:
    """Wait for any answer; fail with what the server has written if it ends before."""

    def answers() -> bool:
        assert process.poll() is None, f"It did not start:\n{log.read_text(errors='replace')}"
        return httpx.get(url, timeout=5).status_code > 0

    until(answers, passing=(httpx.TransportError,), seconds=60)
