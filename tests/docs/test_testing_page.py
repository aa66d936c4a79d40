"""docs/testing.md: its files make a project whose own tests pass, on SQLite and PostgreSQL."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resumable_streams import testing
from tests.postgres import Postgres
from tests.tools.lengthy import starts_a_process

from .pages import DOCS, write_files

PAGE = (DOCS / "testing.md").read_text()
TEST = re.compile(r"^ *(?:async )?def test_", re.MULTILINE)
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

# Beyond the page: sync sources, and tests without a transaction, in each kind of test.
MORE = """
import pytest
from django.test import TestCase, TransactionTestCase
from resumable_streams import streams
from resumable_streams.testing import AsyncStreamClient, StreamTestMixin

from .models import Answer


def counting():
    for number in range(2):
        Answer.objects.create(question=str(number))
        yield f"{Answer.objects.count()} "


def ask():
    Answer.objects.create(question="of the test")
    return b"".join(streams.run(None, counting, owner="ada"))


async def aask():
    await Answer.objects.acreate(question="of the test")
    reader = await streams.arun(None, counting, owner="ada")
    return b"".join([data async for data in reader])


class Both(StreamTestMixin):
    def test_a_sync_test(self):
        self.assertEqual(ask(), b"2 3 ")

    async def test_an_async_test(self):
        self.assertEqual(await aask(), b"2 3 ")


class SharedTests(Both, TestCase):
    pass


class TransactionTests(Both, TransactionTestCase):
    pass


async def in_an_async_test():
    assert await aask() == b"2 3 "
    reading = await AsyncStreamClient().start("/answer/", {"question": "Hi"})
    assert b"your model" in await reading.read()


@pytest.mark.django_db
async def test_shared(resumable_streams):
    await in_an_async_test()


@pytest.mark.django_db(transaction=True)
async def test_own(resumable_streams):
    await in_an_async_test()
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
    (path / "mysite" / "test_more.py").write_text(MORE)
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
    on_the_page, for_pytest_alone = len(TEST.findall(PAGE)), 5
    assert on_the_page > 10
    expected = on_the_page + 6 - (0 if runner == "pytest" else for_pytest_alone)
    assert re.search(rf"Ran {expected} tests|{expected} passed", printed), printed


@pytest.mark.parametrize(
    ("runner", "settings"),
    [("manage.py test", "settings"), ("pytest", "settings"), ("pytest", "on_disk")],
)
def test_the_tests_of_the_page_pass_on_sqlite(project: Path, runner: str, settings: str) -> None:
    passes(project, runner, settings)


@pytest.mark.parametrize(
    ("runner", "options"),
    [("manage.py test", {}), ("pytest", {"pool": {"min_size": 1, "max_size": 4}})],
)
def test_the_tests_of_the_page_pass_on_postgresql(
    project: Path, postgres_server: Postgres, runner: str, options: dict[str, Any]
) -> None:
    text = POSTGRESQL.format(host=postgres_server.host, options=options)
    (project / "mysite" / "postgresql.py").write_text(text)
    passes(project, runner, "postgresql")


def test_every_public_name_is_on_the_page() -> None:
    words = set(re.findall(r"\w+", PAGE))
    assert set(testing.__all__) <= words
