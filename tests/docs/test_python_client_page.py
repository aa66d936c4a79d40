"""docs/python-client.md: its scripts print what the page says, without settings of Django."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from example_project.private_redis import free_port
from resumable_streams import client
from tests.tools.lengthy import starts_a_process
from tests.tools.serving import until_it_answers

from .pages import DOCS, section

PAGE = (DOCS / "python-client.md").read_text()
SCRIPTS = re.findall(r"```python\n# (\w+\.py)\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)

URLS = """
import asyncio
from django.urls import include, path
from resumable_streams.owners import user_or_session
from resumable_streams.views import AcquireView


def owner(request):
    return "ada" if request.headers.get("Authorization") == "Bearer secret" else user_of(request)


def user_of(request):
    return f"user:{request.user.pk}" if request.user.is_authenticated else None


class Answer(AcquireView):
    then = ("se ", "\\N{SLIGHTLY SMILING FACE}")

    async def produce(self, request):
        yield "Becau"
        for one in self.then:
            if isinstance(one, Exception):
                raise one
            await asyncio.sleep(one) if isinstance(one, int) else None
            if isinstance(one, str):
                yield one


urlpatterns = [
    path("ask/", Answer.as_view()),
    path("chat/", Answer.as_view(format="ui_message")),
    path("events/", Answer.as_view(format="sse")),
    path("endless/", Answer.as_view(then=(3_600,))),
    path("failing/", Answer.as_view(then=(ConnectionError(),))),
    path("accounts/", include("django.contrib.auth.urls")),
    path("streams/", include("resumable_streams.urls")),
]
"""
SETTINGS = """
INSTALLED_APPS.append("resumable_streams")
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
RESUMABLE_STREAMS = {"default": {"OWNER": "mysite.urls.owner", "DRAIN_TIMEOUT": 0}}
"""
USER = """
from django.contrib.auth.models import User
User.objects.create_user("ada", password="correct horse battery")
"""


@pytest.fixture(scope="module")
@starts_a_process
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the site of the page."""
    path = tmp_path_factory.mktemp("client")
    run(path, "-m", "django", "startproject", "mysite", ".")
    (path / "mysite" / "urls.py").write_text(URLS)
    with (path / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (path / "templates" / "registration").mkdir(parents=True)
    (path / "templates" / "registration" / "login.html").write_text("{% csrf_token %}")
    run(path, "manage.py", "migrate", "-v", "0")
    run(path, "manage.py", "shell", "-v", "0", "-c", USER)
    return path


@pytest.fixture(scope="module")
def url(project: Path) -> Iterator[str]:
    """Serve it."""
    port, log = free_port(), project / "server.log"
    command = ["-m", "uvicorn", "--port", str(port), "mysite.asgi:application"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=project,
            env=environment(project),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until_it_answers(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def environment(project: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(project), str(DOCS.parent)])}


def run(project: Path, *command: str) -> str:
    """Run Python in the project; return what it prints."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "code", "printed"), SCRIPTS, ids=[name for name, _, _ in SCRIPTS])
def test_a_script_prints_what_the_page_says(
    project: Path, url: str, name: str, code: str, printed: str
) -> None:
    (project / name).write_text(code.replace("https://example.com", url))
    assert run(project, name) == printed


def test_every_script_of_the_page_is_run() -> None:
    assert len(SCRIPTS) == PAGE.count("```python") > 5


@pytest.mark.lengthy
def test_the_client_needs_no_settings(tmp_path: Path) -> None:
    code = """
from django.conf import settings
import resumable_streams.client
print(settings.configured)
"""
    assert run(tmp_path, "-c", code).strip() == "False"


def test_the_table_of_errors_is_whole() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("python-client.md", "Errors"), re.MULTILINE)
    errors = [
        name
        for name in client.__all__
        if isinstance(found := getattr(client, name), type) and issubclass(found, Exception)
    ]
    assert sorted(rows) == sorted(set(errors) - {"ClientError"})
    of_refusal = [name for name in rows if issubclass(getattr(client, name), client.Refusal)]
    assert rows[:9] == of_refusal


@pytest.mark.parametrize("kind", [client.SiteClient, client.AsyncSiteClient])
def test_the_table_of_options_is_that_of_the_signature(kind: type) -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \|", section("python-client.md", "Options"), re.M)
    parameters = inspect.signature(kind).parameters.values()
    options = [(one.name, repr(one.default).replace("'", '"')) for one in parameters]
    assert rows == options


def test_the_tree_of_errors_is_that_of_the_classes() -> None:
    tree = re.findall(r"^ *[│ ]*[├└]── (\w+) ", inspect.getdoc(client.errors) or "", re.MULTILINE)
    assert sorted(tree) == sorted(set(client.errors.__all__) - {"ClientError"})
    assert set(client.errors.__all__) <= set(client.__all__)


def test_the_backoff_of_the_page_is_the_default() -> None:
    assert repr(client.Backoff()) in PAGE
