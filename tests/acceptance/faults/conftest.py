"""Aliases of one server or several; `elsewhere` is what another process would have."""

import os
from typing import Any

import pytest
from pytest_django import Settings

from tests.tools.streams import REDIS, Configure
from tests.tools.waiting import A_SECOND

from .report import Report

IS_FULL = os.environ.get("FAULTS") == "full"  # `make faults`, which has more time
STREAMS = 100 if IS_FULL else 5
SECONDS = 2.0 if IS_FULL else 0.6  # how long a fault lasts that passes
MARGIN = 1.0 if IS_FULL else A_SECOND  # beside other tests, a process may wait for a processor

REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """Collect what is measured."""
    return pytestconfig.stash.setdefault(REPORT, Report())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Show the table; put it into the page if all is well and the environment asks for that."""
    collected = config.stash.get(REPORT, None)
    if IS_FULL and collected is not None:
        terminalreporter.write_line("\n".join(["", *collected.lines()]))
        wanted = os.environ.get("WRITE_FAULTS_TABLE")
        if exitstatus == pytest.ExitCode.OK and wanted:
            collected.write(keeps_others=wanted == "rows")


@pytest.fixture
def configure(settings: Settings, key_prefix: str, transactional_db: None) -> Configure:
    """Return a function that configures both aliases; `elsewhere` may be at another address."""

    def configure(location: str, *, elsewhere: str | None = None, **entry: Any) -> None:
        options = {"command_timeout": 0.5, "connect_timeout": 0.5, **entry.pop("OPTIONS", {})}
        entry = {
            "BACKEND": REDIS,
            "LOCATION": location,
            "KEY_PREFIX": key_prefix,
            "OPTIONS": options if entry.get("BACKEND", REDIS) == REDIS else {},
            **entry,
        }
        other = {**entry, "LOCATION": elsewhere or location}
        settings.RESUMABLE_STREAMS = {"default": entry, "elsewhere": other}

    return configure
