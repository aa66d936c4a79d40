"""docs/testing.md: its files make a project whose own tests pass, on SQLite and PostgreSQL."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resumable_streams import testing
from tests.postgres import Postgres
from tests.tools.lengthy import starts_a_process

from .pages import DOCS, write_files

PAGE = (DOCS / "testing.md").read_text()
RUNNERS = {"manage.py test": ["manage.py", "test"], "pytest": ["-m", "pytest", "-q"]}

POSTGRESQL = """
from .settings import *
DATABASES = {{"default": {{
    "ENGINE": "django.db.backends.postgresql", "HOST": {host!r}, "USER": "postgres",
    "NAME": "postgres", "TEST": {{"NAME": "testing_page"}}, "OPTIONS": {options},
}}}}
"""
ON_DISK = """
from .settings import *
DATABASES["default"]["TEST"] = {"NAME": BASE_DIR / "tests.sqlite3"}
"""


@pytest.fixture(scope="module")
@starts_a_process
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files of the page on top of what `startproject` makes."""
    path = tmp_path_factory.mktemp("testing")
    start = [sys.executable, "-m", "django", "startproject", "mysite", "."]
    subprocess.run(start, cwd=path, check=True)
    write_files("testing.md", path)
    (ini,) = re.findall(r"```ini\n# pytest.ini\n(.*?)```", PAGE, re.DOTALL)
    (path / "pytest.ini").write_text(ini)
    (path / "mysite" / "on_disk.py").write_text(ON_DISK)
    run(path, "manage.py", "makemigrations", "-v", "0", "mysite")
    return path


def run(project: Path, *arguments: str, settings: str = "settings") -> str:
    """Run Python in the project, warnings as errors; return what it prints."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": f"mysite.{settings}",
        "PYTHONPATH": os.pathsep.join([str(project), str(DOCS.parent)]),  # of this checkout
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def passes(project: Path, runner: str, settings: str) -> None:
    """Run all tests of the project, and look for what a runner says and does not fail for."""
    printed = run(project, *RUNNERS[runner], settings=settings)
    assert "ProducerLeftRunning" not in printed, printed
    assert "being accessed" not in printed, printed
    assert "warning" not in printed.lower(), printed
    wanted = PAGE.count("self.assert"), len(re.findall(r"^ *(?:async )?def test_", PAGE, re.M))
    assert min(wanted) > 10
    expected = wanted[1] if runner == "pytest" else wanted[1] - 3  # those for pytest alone
    assert re.search(rf"Ran {expected} tests|{expected} passed", printed), printed


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("settings", ["settings", "on_disk"])
def test_the_tests_of_the_page_pass_on_sqlite(project: Path, runner: str, settings: str) -> None:
    passes(project, runner, settings)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("options", ["{}", '{"pool": {"min_size": 1, "max_size": 4}}'])
def test_the_tests_of_the_page_pass_on_postgresql(
    project: Path, postgres_server: Postgres, runner: str, options: str
) -> None:
    text = POSTGRESQL.format(host=postgres_server.host, options=options)
    (project / "mysite" / "postgresql.py").write_text(text)
    passes(project, runner, "postgresql")


def test_every_public_name_is_on_the_page() -> None:
    words = set(re.findall(r"\w+", PAGE))
    assert set(testing.__all__) <= words
