"""client.js in Node and Deno: its own tests, and the code of its page and of docs/clients.md."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.servers import ROOT, Server
from tests.servers.client_site import CHARACTERS

from .conftest import NPM, Node, Start

STATIC = ROOT / "resumable_streams" / "static" / "resumable_streams"
CLIENT = STATIC / "client.js"
PAGE = (ROOT / "docs" / "javascript.md").read_text()


@pytest.fixture
def server(site: Any, redis_url: str) -> Server:
    settings = "tests.servers.client_site"
    started: Server = site("uvicorn", DJANGO_SETTINGS_MODULE=settings, REDIS_URL=redis_url)
    return started


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["client.test.mjs", "every_byte.test.mjs"])
def test_in_node_behind_a_proxy_that_cuts(server: Server, name: str) -> None:
    run(server, found("node"), "--test", "--test-reporter=spec", str(NPM / name))


def test_in_deno_behind_a_proxy_that_cuts(server: Server) -> None:
    deno = NPM / "node_modules" / "deno" / "deno"
    ran = run(server, str(deno), "test", "--allow-all", "--no-check", str(NPM / "deno.test.mjs"))
    assert "ok | 6 passed" in ran


def run(server: Server, *command: str) -> str:
    """Run tests of client.js to their end; return what they print."""
    done = subprocess.run(
        command,
        env={**os.environ, "CLIENT": CLIENT.as_uri(), "SERVER": server.url, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_code_of_the_page(server: Server, node: Node, tmp_path: Path) -> None:
    shutil.copy(CLIENT, tmp_path / "client.js")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(NPM / "node_modules")
    blocks = re.findall(r"^```js\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.mjs").write_text(block)
    running = node(
        "page.mjs",
        folder=tmp_path.as_uri(),
        url=f"{server.url}/ask/?format=ui_message&count=20&every=0.01",
        text="".join(f"{number}{CHARACTERS[number % 5]}" for number in range(20)),
    )
    assert running.stdout is not None
    assert running.stdout.read() == "done\n"


def test_the_scripts_of_the_page_of_clients(start: Start, node: Node, tmp_path: Path) -> None:
    shutil.copy(CLIENT, tmp_path / "client.js")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(NPM / "node_modules")
    for script in (ROOT / "docs" / "code").glob("*.js"):
        shutil.copy(script, tmp_path / f"{script.stem}.mjs")
    url = start(MAX_RESPONSE_SECONDS="1").url
    running = node("by_hand.mjs", folder=tmp_path.as_uri(), url=url, count=20, every=0.1)
    assert running.stdout is not None
    words = [f"{number} " for number in range(20)]
    body = "".join(f"data: {word}\n\n" for word in words)
    assert json.loads(running.stdout.read()) == {
        "followed": body,
        "stoppedByButton": True,
        "readAll": {"text": body, "status": "done"},
        "stoppedByHand": "cancelled",
        "said": "".join(words),
        "aborted": "streaming",
    }


def found(tool: str) -> str:
    path = shutil.which(tool)
    assert path, f"No {tool}: install it, and put it on PATH."
    return path
