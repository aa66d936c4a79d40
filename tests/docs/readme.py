"""The first stream, done as its page says: the project, the page in a browser, the recipe."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Self

from example_project.private_redis import free_port
from tests.tools.serving import until_it_answers

from .pages import DOCS, write_files

__all__ = ["Site", "recipe"]

START = DOCS / "start.md"
PAGE = "<!-- templates/answer.html -->"


class Site:
    """The project of docs/start.md in a folder, served by `runserver` at an address of its own."""

    def __init__(self, path: Path):
        self._path = path
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "REDIS_URL"},
            "PYTHONPATH": str(DOCS.parent),  # of this checkout
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
        }
        self._where = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self._where}"
        self._server: subprocess.Popen[bytes] | None = None
        self._write()

    def _write(self) -> None:
        """Write it on top of what `startproject` makes."""
        make = [sys.executable, "-m", "django", "startproject", "mysite", "."]
        subprocess.run(make, cwd=self._path, check=True)
        write_files("start.md", self._path)
        (self._path / "templates").mkdir()
        (self._path / "templates" / "answer.html").write_text(_block("html", PAGE))
        self._command("migrate", "-v", "0").wait()

    def _command(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._path / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=self._path,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Serve it, with an empty store."""
        self._server = self._command("runserver", "--noreload", self._where)
        until_it_answers(self._server, self.url, self._path / "log")

    def stop(self) -> None:
        """End it at once, as `runserver` does when a file has changed."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def recipe(server: str) -> str:
    """Return the commands that resume with curl, for a server."""
    return _block("sh", "curl ").replace("http://127.0.0.1:8000", server)


def _block(language: str, begin: str) -> str:
    for found, text in re.findall(r"^```(\w+)\n(.*?)^```$", START.read_text(), re.M | re.S):
        if found == language and text.startswith(begin):
            return str(text)
    raise AssertionError(f"docs/start.md has no {language} that begins with {begin!r}.")
