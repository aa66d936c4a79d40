"""A real Caddy, with a folder of its own and the block of the docs."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from example_project.private_redis import free_port
from tests.tools.serving import until_it_answers

from .blocks import documented
from .nginx import PATH

__all__ = ["caddy", "shows_a_cut"]

GLOBAL = "{\n\tadmin off\n}\n"


def _found() -> str:
    found = shutil.which("caddy", path=PATH)
    assert found, "No Caddy: install it, as with `apt-get install caddy`."
    return found


def shows_a_cut() -> bool:
    """Whether this Caddy breaks off an answer that breaks off before it."""
    said = subprocess.run([_found(), "version"], capture_output=True, text=True, check=True).stdout
    version = re.match(r"v?(\d+)\.(\d+)", said)
    assert version is not None, said
    return (int(version[1]), int(version[2])) >= (2, 8)


@contextmanager
def caddy(server: str, *, folder: Path) -> Iterator[str]:
    """Run Caddy before a server, without TLS; yield its address."""
    url = f"http://127.0.0.1:{free_port()}"
    block = documented("caddyfile").replace("www.example.com {", f"{url} {{")
    block = block.replace("127.0.0.1:8000", server.removeprefix("http://"))
    (folder / "Caddyfile").write_text(GLOBAL + block)
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [_found(), "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
            cwd=folder,
            env={**os.environ, **homes},
            stdout=output,
            stderr=output,
        )
    try:
        until_it_answers(process, url, log)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=15)
