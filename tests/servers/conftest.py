"""What these tests need beside Python, and the sites of the acceptance tests.

They are no part of a plain run, which needs nothing but Python; their folder has to be named.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import conftest as acceptance
from tests.acceptance.servers import Server

from .adopters import fresh_project
from .nginx import nginx

Proxy = Callable[..., str]
Start = Callable[..., Server]
Node = Callable[..., "subprocess.Popen[str]"]

NPM = Path(__file__).parent.parent / "npm"

empty_database, new_site = acceptance.empty_database, acceptance.new_site
recording = acceptance.recording
site, site_environment = acceptance.site, acceptance.site_environment


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave this folder out unless the command line names it."""
    named = any("tests/servers" in str(argument) for argument in config.invocation_params.args)
    return None if named else True


@pytest.fixture
def start(site: Any, redis_url: str) -> Start:
    """Return what starts a server."""
    module = "tests.acceptance.frames_site"
    return partial(site, "uvicorn", DJANGO_SETTINGS_MODULE=module, REDIS_URL=redis_url)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """Start nginx before some servers; each call returns the address of a new one."""
    with ExitStack() as running:

        def start(*servers: str, block: str) -> str:
            folder = tmp_path / f"nginx-{len(list(tmp_path.glob('nginx-*')))}"
            folder.mkdir()
            return running.enter_context(nginx(*servers, block=block, folder=folder))

        yield start


@pytest.fixture
def node() -> Iterator[Node]:
    """Return what starts a script of tests/npm, with values that it gets as JSON."""
    found = shutil.which("node")
    assert found, "No Node: install it, and put `node` on PATH."
    assert (NPM / "node_modules").is_dir(), f"Run `npm ci` in {NPM} first; `make servers` does."
    with ExitStack() as running:

        def start(script: str, **values: Any) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [found, str(NPM / script), json.dumps(values)], stdout=subprocess.PIPE, text=True
            )
            running.callback(process.wait)
            running.callback(process.kill)
            running.enter_context(process)
            return process

        yield start


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the project of docs/chat.md, and return its address."""
    with fresh_project(tmp_path_factory.mktemp("fresh")) as project:
        yield project.url


@pytest.fixture(params=["example", "fresh"])
def adopter(request: pytest.FixtureRequest) -> str:
    """Return the address of a site that has a page at `/` and a chat."""
    if request.param == "fresh":
        url: str = request.getfixturevalue("fresh")
        return url
    redis_url = request.getfixturevalue("redis_url")
    server = request.getfixturevalue("site")("daphne", REDIS_URL=redis_url, DEMO_RATE="300")
    return str(server.url)
