"""Server processes: when they can be asked."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from .waiting import eventually, until

__all__ = ["PLAIN", "served_here", "until_it_answers"]

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


class _Uvicorn(uvicorn.Server):
    def capture_signals(self) -> Any:
        """Leave the signals to the tests."""
        return nullcontext()


@asynccontextmanager
async def served_here(application: Any) -> AsyncIterator[int]:
    """Serve an application with uvicorn, on this loop; yield its port."""
    config = uvicorn.Config(
        application, host="127.0.0.1", port=0, lifespan="off", log_config=None, access_log=False
    )
    server = _Uvicorn(config)
    serving = asyncio.create_task(server.serve(), name="uvicorn")
    await eventually(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving
