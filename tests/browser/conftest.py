"""A real server and a real Chromium, for those who ask for this folder by its name.

The browser is the one that CHROMIUM names, or the first on PATH; without one these tests fail. They
are no part of a plain run, which needs nothing but Python.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.example.server import Serve, servers

REQUESTS_THAT_FAILED = (
    "Failed to load resource",
    "Access to fetch",
    "[object Event]",  # the SSE extension of HTMX logs the error of its EventSource
)
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


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers of the example; each call returns the address of a new one."""
    with servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start the browser."""
    with launched() as browser:
        yield browser


@contextmanager
def launched() -> Iterator[Any]:
    """Start the browser, and close it at the end."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, f"No browser: set CHROMIUM, or put one of {', '.join(BROWSERS)} on PATH."
    with import_module("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium: Any) -> Iterator[Any]:
    """Be one visitor: the tabs of one context share a session. Errors of a page fail the test.

    So do those of its console, but for requests that failed, which tests bring about.
    """
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
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.context.set_default_timeout(15_000)
        self.errors: list[str] = []

    def __enter__(self) -> Any:
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.context.on("console", self._hear)
        return self.context

    def _hear(self, message: Any) -> None:
        if message.type == "error" and not message.text.startswith(REQUESTS_THAT_FAILED):
            self.errors.append(message.text)

    def __exit__(self, *args: object) -> None:
        self.context.close()
        assert self.errors == []
