"""The plugin behind `make quick`: it finds the lengthy tests, and holds the others to it.

How long a test takes depends on the machine: only what no machine explains fails a test, and a run
without the lengthy ones lists the rest.
"""

import time
from collections.abc import Iterator

import pytest

from .lengthy import REMEDY, is_lengthy, now

WANTED_SECONDS = 0.05
PROCESSOR_SECONDS = 2.0  # many times as much, of the processor alone

longer: list[tuple[float, str]] = []


def _without_lengthy(config: pytest.Config) -> bool:
    return "not lengthy" in config.option.markexpr


def pytest_itemcollected(item: pytest.Item) -> None:
    if is_lengthy(item):
        item.add_marker("lengthy")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    is_lengthy = item.get_closest_marker("lengthy") is not None
    now.is_quick = _without_lengthy(item.config) and not is_lengthy
    try:
        return (yield)
    finally:
        now.is_quick = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    started = time.process_time()
    result = yield
    seconds = time.process_time() - started
    if now.is_quick and seconds > PROCESSOR_SECONDS:
        pytest.fail(f"It takes {seconds:.1f} seconds of the processor: {REMEDY}.")
    return result


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "lengthy" not in report.keywords and report.duration > WANTED_SECONDS:
        longer.append((report.duration, f"{report.when:<8} {report.nodeid}"))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    if longer and _without_lengthy(config):
        terminalreporter.section("longer than 50 ms (is it the machine?)")
        for seconds, what in sorted(longer, reverse=True)[:20]:
            terminalreporter.write_line(f"{seconds:6.2f}s {what}")
