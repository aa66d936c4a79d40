"""Which tests are lengthy: they start a process, let time pass, or take more than 50 ms.

Those whose fixtures make them so are found (`@starts_a_process`, `@takes_time`); others carry the
marker `lengthy`. What is lengthy and does not say so fails, in every run: `make quick` stays quick.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

__all__ = [
    "REMEDY",
    "allow_passing_time",
    "is_lengthy",
    "now",
    "starts_a_process",
    "takes_time",
    "uses_the_server",
]

F = TypeVar("F", bound=Callable[..., Any])

FOLDERS = {"acceptance", "benchmarks", "browser", "model", "servers", "soak"}
PROCESSES = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
REMEDY = "mark the test with `pytest.mark.lengthy`"


class Now:
    """What runs at the moment."""

    is_quick = False  # a test that is not lengthy, its fixtures included


now = Now()


def starts_a_process(fixture: F) -> F:
    """Mark the function of a fixture: the tests that use it, however indirectly, are lengthy."""
    return takes_time(fixture)


def takes_time(fixture: F) -> F:
    """Mark the function of a fixture with which tests wait for leases, say."""
    fixture.is_lengthy = True  # type: ignore[attr-defined]
    return fixture


def is_lengthy(test: pytest.Item) -> bool:
    """Return whether the test lives with others that are, or a fixture of it makes it so."""
    if not isinstance(test, pytest.Function) or not FOLDERS.isdisjoint(test.path.parts):
        return True
    found = test._fixtureinfo.name2fixturedefs.values()
    return uses_the_server(test) or any(
        hasattr(one.func, "is_lengthy") for fixtures in found for one in fixtures
    )


def uses_the_server(test: pytest.Function) -> bool:
    """Return whether a test asks for the suite's server, or is a case of one that does: `redis`."""
    case = test.callspec.params.values() if hasattr(test, "callspec") else ()
    return "redis_server" in test.fixturenames or "redis" in case


def allow_passing_time() -> None:
    """Refuse to let time pass in a test that is not lengthy."""
    if now.is_quick:
        pytest.fail(f"It lets time pass: {REMEDY}.")


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if now.is_quick and event in PROCESSES:
        raise RuntimeError(f"It starts a process: decorate its fixture, or {REMEDY}.")


sys.addaudithook(_watch)
