"""A real server and a real Chromium, for those who ask for this folder by its name.

The browser is the one that CHROMIUM names, or the first on PATH; without one these tests fail. They
are no part of a plain run, which needs nothing but Python.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from example_project.private_redis import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave this folder out unless the command line names it."""
    named = any("browser" in str(argument) for argument in config.invocation_params.args)
    return None if named else True


Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers of the example; each call returns the address of a new one."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> str:
        port = free_port()
        variables = os.environ | {
            "DEMO_DB": str(tmp_path / f"{port}.sqlite3"),
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            **environment,
        }
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "-v", "0"], cwd=ROOT, env=variables, check=True)
        command = [*manage, "runserver", "--noreload", f"127.0.0.1:{port}"]
        log = (tmp_path / f"{port}.log").open("wb")
        servers.append(subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log))
        log.close()
        address = f"http://127.0.0.1:{port}"
        _wait_for(address)
        return address

    yield start
    for server in servers:
        server.terminate()
    for server in servers:
        server.wait(timeout=15)


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"{address}/streams/none/", timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start the browser."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, f"No browser: set CHROMIUM, or put one of {', '.join(BROWSERS)} on PATH."
    with import_module("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium: Any) -> Iterator[Any]:
    """Be one visitor: the tabs of one context share a session. Errors of a page fail the test."""
    with new_visitor(chromium) as context:
        yield context


@pytest.fixture
def stranger(chromium: Any) -> Iterator[Any]:
    """Be another visitor, with a session of its own."""
    with new_visitor(chromium) as context:
        yield context


def new_visitor(browser: Any) -> Any:
    """Open a context and close it at the end, then fail for what its pages threw."""
    return _Visitor(browser)


class _Visitor:
    def __init__(self, browser: Any):
        self.context = browser.new_context(viewport={"width": 1000, "height": 800})
        self.context.set_default_timeout(15_000)
        self.errors: list[str] = []

    def __enter__(self) -> Any:
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        return self.context

    def __exit__(self, *args: object) -> None:
        self.context.close()
        assert self.errors == []
