"""Django alone: an environment of its own, without redis and tqdm."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REDIS_STORE = "resumable_streams.stores.redis.RedisStore"
REMEDY = "pip install 'django-resumable-streams[redis]'"

pytestmark = pytest.mark.lengthy

SETTINGS = """
import os

SECRET_KEY = "x" * 50
DEBUG = True
ROOT_URLCONF = "urls"
USE_TZ = True
INSTALLED_APPS = ["resumable_streams"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
RESUMABLE_STREAMS = {"default": {"OWNER": "urls.owner", "BACKEND": os.environ["BACKEND"]}}
"""
URLS = """
from django.urls import include, path
from resumable_streams.views import AcquireView


def owner(request):
    return "ada"


class Answer(AcquireView):
    async def produce(self, request):
        yield b"an answer"


urlpatterns = [
    path("answer/", Answer.as_view()),
    path("streams/", include("resumable_streams.urls")),
]
"""
STREAM = """
import django
django.setup()
from django.conf import settings
from django.test import Client
settings.ALLOWED_HOSTS = ["testserver"]
client = Client()
started = client.post("/answer/")
print(b"".join(started).decode())
resumed = client.get(f"/streams/{started['X-Resumable-Stream-Id']}/?offset=3")
print(b"".join(resumed).decode())
"""

TESTS = """
from django.test import TestCase
from resumable_streams.testing import StreamClient, StreamTestMixin


class AnswerTests(StreamTestMixin, TestCase):
    def test_an_answer(self):
        self.assertEqual(StreamClient().start("/answer/").read(), b"an answer")
"""


def requirements(name: str) -> set[str]:
    """Return the distributions that a distribution needs here, itself included."""
    found = {name}
    for line in distribution(name).requires or ():
        if ";" not in line:
            found |= requirements(re.split(r"[^\w.-]", line)[0])
    return found


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the requirements of this package, and no more."""
    folder = tmp_path_factory.mktemp("without_extras")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for name in {one for line in required for one in requirements(re.split(r"[^\w.-]", line)[0])}:
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top != ".." and not (site_packages / top).exists():
                (site_packages / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return folder / "venv" / "bin" / "python"


def run(interpreter: Path, folder: Path, *arguments: str, backend: str) -> tuple[int, str]:
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "urls.py").write_text(URLS)
    (folder / "stream.py").write_text(STREAM)
    ours = {"PYTHONPATH": f"{ROOT}:{folder}", "DJANGO_SETTINGS_MODULE": "settings"}
    done = subprocess.run(
        [interpreter, *arguments],
        cwd=folder,
        env={**os.environ, **ours, "BACKEND": backend},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout


def test_the_environment_is_without_extras(interpreter: Path, tmp_path: Path):
    find = "from importlib.util import find_spec; print(*map(find_spec, ['redis', 'tqdm']))"
    assert run(interpreter, tmp_path, "-c", find, backend="") == (0, "None None\n")


def test_the_memory_store_needs_django_alone(interpreter: Path, tmp_path: Path):
    backend = "resumable_streams.stores.memory.MemoryStore"
    manage = ("-m", "django")
    for command in (["check"], ["migrate", "-v0"]):
        code, output = run(interpreter, tmp_path, *manage, *command, backend=backend)
        assert code == 0, output
    assert run(interpreter, tmp_path, "stream.py", backend=backend) == (
        0,
        "an answer\nanswer\n",
    )
    records = [*manage, "resumable_streams", "records", "clear", "--older-than", "30d"]
    code, output = run(interpreter, tmp_path, *records, backend=backend)
    assert (code, output[:25]) == (0, "0 stream records deleted,")
    audit = [*manage, "resumable_streams", "audit", "--tenant", "default"]
    code, output = run(interpreter, tmp_path, *audit, backend=backend)
    assert (code, "Traceback" in output) == (1, False)
    assert "lives in the process that serves it" in output


def test_a_redis_store_without_redis_names_the_extra(interpreter: Path, tmp_path: Path):
    code, output = run(interpreter, tmp_path, "-m", "django", "check", backend=REDIS_STORE)
    assert code == 1
    assert "E008" in output
    assert REMEDY in output
    code, output = run(interpreter, tmp_path, "stream.py", backend=REDIS_STORE)
    assert code == 1
    assert "InvalidStoreError" in output
    assert REMEDY in output


def test_the_tests_of_a_site_need_django_alone(interpreter: Path, tmp_path: Path):
    (tmp_path / "tests.py").write_text(TESTS)
    backend = "resumable_streams.stores.memory.MemoryStore"
    code, output = run(interpreter, tmp_path, "-m", "django", "test", "tests", backend=backend)
    assert code == 0, output
    assert "Ran 1 test " in output
